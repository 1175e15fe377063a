"""Short slices of what the shipped model makes, and the command that records them.

``python -m tests.golden_slices`` writes ``tests/goldens/stickers.json`` anew. Run it only when the results are meant to
change, and say so in the commit.
"""

import json
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from PIL import Image

from opencodi import AnyToAnyPipeline, Audio, Video

HERE = Path(__file__).parent
FILE = HERE / "goldens" / "stickers.json"
VALUES = 8
"""Numbers of each slice."""


def _member(shard: str, suffix: str) -> bytes:
    """The first file with that ending in a shard of the sample collection."""
    with tarfile.open(HERE / "data" / f"{shard}.tar.gz") as tar:
        return tar.extractfile(next(each for each in tar if each.name.endswith(suffix))).read()


def picture() -> Image.Image:
    """A 64x64 sticker over white."""
    sticker = Image.open(BytesIO(_member("images", ".webp"))).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", sticker.size, "white"), sticker).convert("RGB")


def clip() -> Video:
    """A clip of 16 frames of 64x64 pixels at 8 frames per second, over white."""
    stacked = Image.open(BytesIO(_member("videos", ".webp"))).convert("RGBA")
    opaque = Image.alpha_composite(Image.new("RGBA", stacked.size, "white"), stacked).convert("RGB")
    return Video(np.asarray(opaque).reshape(16, 64, 64, 3), 8.0)


def sound() -> Audio:
    """A recording, mono."""
    samples, rate = soundfile.read(BytesIO(_member("sounds", ".ogg")), dtype="float32")
    return Audio(samples, rate)


CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "text to text": lambda: {"text": "a rooster", "outputs": "text"},
    "text to image": lambda: {"text": "a rooster", "outputs": "image"},
    "text to video": lambda: {"text": "a rooster, bouncing", "outputs": "video"},
    "text to audio": lambda: {"text": "the sound of a rooster", "outputs": "audio"},
    "image to text": lambda: {"image": picture(), "outputs": "text"},
    "image to image": lambda: {"image": picture(), "outputs": "image"},
    "image to video": lambda: {"image": picture(), "outputs": "video"},
    "image to audio": lambda: {"image": picture(), "outputs": "audio"},
    "audio to text": lambda: {"audio": sound(), "outputs": "text"},
    "audio to image": lambda: {"audio": sound(), "outputs": "image"},
    "audio to video": lambda: {"audio": sound(), "outputs": "video"},
    "audio to audio": lambda: {"audio": sound(), "outputs": "audio"},
    "clip to image": lambda: {"video": clip(), "outputs": "image"},
    "text and image mixed": lambda: {
        "text": "openmoji style, spinning",
        "image": picture(),
        "weights": {"text": 1, "image": 0.5},
        "outputs": "image",
    },
    "all from text": lambda: {"text": "an animal", "outputs": "all"},
    "all from nothing": lambda: {"outputs": "text,image,audio"},
    "attending to itself": lambda: {"text": "a vehicle", "outputs": "image,audio", "exchange": "self"},
    "negative prompt": lambda: {"text": "a fruit", "negative_prompt": "an apple", "outputs": "image"},
    "a batch": lambda: {"text": ["a rooster", "a guitar"], "outputs": "image,text"},
    "candidates": lambda: {"text": "a bell", "outputs": "image", "num_candidates": 3},
}


def compute(pipe: AnyToAnyPipeline, case: str) -> dict[str, Any]:
    """Latents and decoded values of one case: ``{modality: {"latents": …, "media": …}}``, text decoded as it is."""
    call = CASES[case]()
    exchange = call.pop("exchange", "others")
    if exchange != pipe.config.exchange:
        pipe = AnyToAnyPipeline.from_pretrained("stickers", exchange=exchange)
    finished, media = (
        pipe(**call, output_type=kind, generator=torch.Generator().manual_seed(0)) for kind in ("latent", "np")
    )
    made = {name: (finished[name], media[name]) for name in ("text", "image", "video", "audio")}
    return {
        name: {"latents": _slice(latents.numpy()), "media": value if name == "text" else _slice(value)}
        for name, (latents, value) in made.items()
        if value is not None
    }


def _slice(array: np.ndarray) -> list[float]:
    """Evenly spread values of an array, then its mean and its standard deviation."""
    flat = array.astype(np.float64).ravel()
    picks = np.linspace(0, flat.size - 1, VALUES + 2).astype(int)[1:-1]
    return [round(float(value), 5) for value in (*flat[picks], flat.mean(), flat.std())]


if __name__ == "__main__":
    torch.set_num_threads(1)
    loaded = AnyToAnyPipeline.from_pretrained("stickers")
    FILE.write_text(json.dumps({case: compute(loaded, case) for case in CASES}, indent=1) + "\n", encoding="utf-8")
