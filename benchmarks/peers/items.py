"""The items a peer learns from and is asked about, as arrays: so that its own environment needs nothing of ours.

python benchmarks/peers/items.py --output FOLDER
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from opencodi.collections.stickers.evaluation.collection import Collection
from opencodi.collections.stickers.splits import style_family
from opencodi.data.augment import audio_batch, over_white
from opencodi.latents.audio import AudioAutoencoder
from opencodi.models import resolve

FILE = "items.safetensors"
FAMILY = "fluent"
"""The style family that OpenCoDi draws in."""


def concepts_of(collection: Collection) -> list[str]:
    """Codes of the concepts that a training picture shows and a training sound lets hear, in a fixed order."""
    shown, heard = (
        {collection.records[kind][number]["concept"] for number in collection.training(kind)}
        for kind in ("image", "sound")
    )
    return sorted(shown & heard & set(collection.concepts))


def prepare(
    collection: Collection, autoencoder: AudioAutoencoder, versions: int, seed: int
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Training items of all concepts that can be seen and heard, and their validation items as prompts.

    Args:
        collection: the shards.
        autoencoder: its log-mel front end is the peer's, too.
        versions: of each training sound: as it is, then at other speeds and starts, as our audio diffuser hears them.
        seed: of the versions.

    Returns:
        (tensors, notes). For P pictures, S sounds, V versions: ``train.images`` uint8 [P, 3, 64, 64] over white,
        ``train.image_concepts`` int64 [P], ``train.in_family`` bool [P] (drawn as OpenCoDi draws), ``train.sounds``
        float16 [S, V, T, M] (log-mel of mean 0 and deviation 1), ``train.sound_concepts`` int64 [S]; the same under
        ``prompt`` for validation items, with one version, and their ``image_numbers`` and ``sound_numbers`` in the
        shards. Notes: ``concepts`` (codes; the numbers above are places in this list), ``names``, ``mel_mean``, ``mel_std``.
    """
    codes = concepts_of(collection)
    place, config = {code: number for number, code in enumerate(codes)}, autoencoder.config
    rng = np.random.default_rng(seed)

    def mel(samples: np.ndarray, changed: bool) -> torch.Tensor:
        """int16 [S, samples] → float16 [S, T, M]."""
        waveforms = audio_batch(samples, rng if changed else None, speed=0.2, peak=config.waveform_peak)
        chunks = [autoencoder.mel(chunk).squeeze(1) for chunk in waveforms.split(64)]
        return ((torch.cat(chunks) - config.mel_mean) / config.mel_std).half()

    tensors: dict[str, torch.Tensor] = {}
    for part, numbers_of in (("train", collection.training), ("prompt", collection.validation)):
        for kind, many in (("image", "images"), ("sound", "sounds")):
            records = collection.records[kind]
            numbers = [number for number in numbers_of(kind) if records[number]["concept"] in place]
            media = collection.items(kind, numbers).media
            tensors[f"{part}.{kind}_numbers"] = torch.tensor(numbers)
            tensors[f"{part}.{kind}_concepts"] = torch.tensor([place[records[n]["concept"]] for n in numbers])
            if kind == "image":
                pictures = torch.cat([over_white(chunk) for chunk in np.array_split(media, max(1, len(media) // 256))])
                tensors[f"{part}.{many}"] = ((pictures + 1) * 127.5).round().byte()
                family = [style_family(records[n]["style"]) == FAMILY for n in numbers]
                tensors[f"{part}.in_family"] = torch.tensor(family)
            else:
                count = versions if part == "train" else 1
                tensors[f"{part}.{many}"] = torch.stack([mel(media, version > 0) for version in range(count)], 1)
    notes = {"concepts": codes, "names": [collection.name(code) for code in codes]}
    return tensors, notes | {"mel_mean": config.mel_mean, "mel_std": config.mel_std}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder, outside of version control")
    parser.add_argument("--data", type=Path, help="folder of the shards; by default $OPENCODI_DATA")
    parser.add_argument("--model", default="stickers", help="whose log-mel front end is used")
    parser.add_argument("--versions", type=int, default=6, help="of each training sound")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()

    autoencoder = AudioAutoencoder.from_pretrained(resolve(asked.model) / "audio_autoencoder")
    tensors, notes = prepare(Collection.open(asked.data), autoencoder, asked.versions, asked.seed)
    asked.output.mkdir(parents=True, exist_ok=True)
    save_file(tensors, asked.output / FILE, {key: json.dumps(value) for key, value in notes.items()})
    sizes = Counter({name: len(values) for name, values in tensors.items() if name.endswith(("images", "sounds"))})
    print(f"{asked.output / FILE}: {len(notes['concepts'])} concepts, {dict(sizes)}")


if __name__ == "__main__":
    main()
