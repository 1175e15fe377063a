"""What the watermark is measured on: outputs of the bundled model, made once and kept, and real items of its collection."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from opencodi import AnyToAnyPipeline
from opencodi.collections.stickers.evaluation.collection import KIND_OF, Collection, clip
from opencodi.collections.stickers.evaluation.judging import known_concepts
from opencodi.collections.stickers.judges.networks import Judges
from opencodi.data.shards import load_videos
from opencodi.media import Audio, Media, Video
from opencodi.modality import Modality

MADE = (Modality.IMAGE, Modality.AUDIO, Modality.VIDEO)
CLIP_FPS = 8.0
SOUND_RATE = 16_000
BATCH = 16
OPTIONS: dict[Modality, dict[str, Any]] = {
    Modality.AUDIO: {"num_candidates": 1, "num_inference_steps": 6},
    Modality.VIDEO: {"num_inference_steps": 3, "num_frames": 8},
}
"""What differs from a plain call, to spare time. Marks do not depend on it, but for fewer frames: they are harder to find."""
CLIP_SHARDS = ("videos", "videos-skin-tones")


def to_array(media: Media) -> np.ndarray:
    """A picture, clip or sound as the array it is kept as."""
    if isinstance(media, Audio):
        return np.round(media.samples * 32767).astype(np.int16)
    return media.frames if isinstance(media, Video) else np.asarray(media)


def to_media(modality: Modality, array: np.ndarray) -> Media:
    """The same, back."""
    if modality == Modality.AUDIO:
        return Audio(array.astype(np.float32) / 32768, SOUND_RATE)
    return Video(array, CLIP_FPS) if modality == Modality.VIDEO else Image.fromarray(array)


def make(folder: Path, modality: Modality, count: int, collection: Collection, judges: Judges) -> None:
    """Make ``count`` pictures, sounds or clips of things the judges know, ``BATCH`` a file; those that exist are kept."""
    known = sorted(set(known_concepts(judges, modality)) & set(collection.concepts))
    rng, pipeline = np.random.default_rng(0), None
    concepts = np.concatenate([rng.permutation(known) for _ in range(1 + count // len(known))])[:count]
    for start in range(0, count, BATCH):
        path = folder / f"{modality}-{start:05}.npz"
        if path.is_file():
            continue
        if pipeline is None:
            pipeline = AnyToAnyPipeline.from_pretrained("stickers")
            pipeline.set_progress_bar_config(disable=True)
        chosen = concepts[start : start + BATCH]
        made = pipeline(
            text=[collection.name(str(code)) for code in chosen],
            outputs=[modality],
            generator=[torch.Generator().manual_seed(start + place) for place in range(len(chosen))],
            **OPTIONS.get(modality, {}),
        )
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, media=np.stack([to_array(item) for item in made[modality]]), concepts=chosen)
        partial.rename(path)
        print(f"made {start + len(chosen)} of {count} {modality}", flush=True)


def made(folder: Path, modality: Modality) -> tuple[list[Media], list[str]]:
    """What was made, and the concept of each."""
    media: list[Media] = []
    concepts: list[str] = []
    for path in sorted(folder.glob(f"{modality}-?????.npz")):
        with np.load(path) as stored:
            media += [to_media(modality, array) for array in stored["media"]]
            concepts += [str(code) for code in stored["concepts"]]
    return media, concepts


def real(collection: Collection, modality: Modality, count: int, chunk: int = 400) -> Iterator[list[Media]]:
    """``count`` real items (all, if there are fewer), in chunks. Of clips those with skin tones too, and the first frames."""
    if modality == Modality.VIDEO:
        clips = load_videos(collection.folder, CLIP_SHARDS).media[:, : OPTIONS[modality]["num_frames"]]
        yield [clip(frames) for frames in clips[np.random.default_rng(1).permutation(len(clips))[:count]]]
        return
    kind = KIND_OF[modality]
    total = len(collection.records[kind])
    numbers = np.random.default_rng(1).permutation(total)[:count].tolist()
    for start in range(0, len(numbers), chunk):
        yield collection.media(kind, sorted(numbers[start : start + chunk]))
