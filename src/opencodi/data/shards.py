"""Read the WebDataset shards of a collection into memory: one array of media and one list of records per kind.

Everything is small (64x64 pixels, two seconds), so decoding once at the start is faster than decoding in every epoch.
"""

import io
import json
import os
import tarfile
import zlib
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from ..errors import OpenCoDiError, TrainingError
from ..media import Audio, resample

SAMPLE_RATE = 16_000
AUDIO_SAMPLES = 32_768
"""Audio items are cut or zero-padded to this many samples: 2.048 s at 16 kHz."""


PICTURES, SOUNDS = ("webp", "png", "jpg", "jpeg"), ("ogg", "wav", "flac")
"""Endings of the files of an item."""


@dataclass
class Items:
    """Media of one kind and what is known of each.

    Attributes:
        media: images uint8 [N, H, W, 4]; videos uint8 [N, frames, H, W, 4]; audio int16 [N, AUDIO_SAMPLES] at 16 kHz.
        records: the N json records of the shard, each with its ``shard`` name added.
    """

    media: np.ndarray
    records: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.records)

    def subset(self, indices: Sequence[int] | np.ndarray) -> "Items":
        """The items at these positions."""
        return Items(self.media[np.asarray(indices, dtype=int)], [self.records[i] for i in indices])


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Around what reads a file of a collection: whatever goes wrong there is one sentence that names the file.

    Raises:
        TrainingError: if the file is truncated, or holds what cannot be decoded.
    """
    try:
        yield
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, KeyError, RuntimeError) as error:
        if isinstance(error, OpenCoDiError):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainingError(f"{path} is damaged ({reason}): fetch or build it again") from error


def read_records(path: Path) -> list[dict[str, Any]]:
    """The json records of a shard in its order; no media are decoded.

    Raises:
        TrainingError: if the shard is damaged.
    """
    with reading(path), tarfile.open(path) as archive:
        read = (archive.extractfile(member) for member in archive if member.name.endswith(".json"))
        return [json.load(file) for file in read if file]


def find_data(folder: str | Path | None = None) -> Path:
    """The folder of shards: the argument, or the environment variable ``OPENCODI_DATA``.

    Raises:
        TrainingError: if neither is given or the folder has no ``concepts.jsonl``.
    """
    chosen = folder or os.environ.get("OPENCODI_DATA")
    if not chosen:
        raise TrainingError("no training data: give the folder of shards with --data or in OPENCODI_DATA")
    path = Path(chosen)
    if not (path / "concepts.jsonl").is_file():
        raise TrainingError(
            f"{path} has no concepts.jsonl: give the folder of the stickers collection, or, for data of your own, prepare it "
            "(opencodi data prepare) and use the recipes of recipes/own"
        )
    return path


def load_concepts(folder: Path) -> dict[str, dict[str, Any]]:
    """``concepts.jsonl`` as {code: record}; a record has name, keywords, group, subgroup, emoji and styles."""
    path = folder / "concepts.jsonl"
    with reading(path):
        return {record["code"]: record for record in map(json.loads, path.read_text(encoding="utf-8").splitlines())}


def load_images(
    folder: Path, shards: Sequence[str] = ("images", "images-skin-tones"), keep: Container[int] | None = None
) -> Items:
    """Every picture of the shards, uint8 RGBA [N, 64, 64, 4].

    Here as in the others, ``keep`` reads only the items at these places in their shard.
    """
    return _load(folder, shards, PICTURES, _decode_image, keep)


def load_videos(
    folder: Path,
    shards: Sequence[str] = ("videos", "videos-skin-tones"),
    num_frames: int = 16,
    keep: Container[int] | None = None,
) -> Items:
    """Every clip of the shards, uint8 RGBA [N, num_frames, 64, 64, 4]; frames are stacked top to bottom in the files."""

    def decode(data: bytes) -> np.ndarray:
        strip = _decode_image(data)
        return strip.reshape(num_frames, strip.shape[0] // num_frames, *strip.shape[1:])

    return _load(folder, shards, PICTURES, decode, keep)


def load_audio(folder: Path, shards: Sequence[str] = ("sounds", "speech"), keep: Container[int] | None = None) -> Items:
    """Every recording of the shards, int16 [N, AUDIO_SAMPLES] at 16 kHz, zero-padded at the end."""
    return _load(folder, shards, SOUNDS, _decode_audio, keep)


def concepts_in(folder: Path, shard: str, least: int = 1) -> set[str]:
    """Codes of the concepts that a shard has at least ``least`` items of; only its records are read, no media."""
    counts = Counter(str(record.get("concept")) for record in read_records(_existing(folder, shard)))
    return {concept for concept, count in counts.items() if count >= least}


def _existing(folder: Path, shard: str) -> Path:
    path = folder / f"{shard}.tar.gz"
    if not path.is_file():
        raise TrainingError(
            f"{path} is missing: the recipe asks for the shard {shard!r}; fetch it or take it out of the recipe"
        )
    return path


def _load(folder: Path, shards: Sequence[str], suffixes: Sequence[str], decode, keep: Container[int] | None) -> Items:
    try:
        import webdataset
    except ImportError as error:
        raise TrainingError("training data needs webdataset: pip install 'opencodi[train]'") from error

    media, records = [], []
    for shard in shards:
        path = _existing(folder, shard)
        with reading(path):
            for place, sample in enumerate(_samples(webdataset, path)):
                if keep is not None and place not in keep:
                    continue
                suffix = next((each for each in suffixes if each in sample), None)
                if suffix is None:
                    raise TrainingError(f"{path}: {sample['__key__']} has no file that ends in {', '.join(suffixes)}")
                media.append(decode(sample[suffix]))
                records.append({**json.loads(sample["json"]), "shard": shard})
    if not records:
        raise TrainingError(f"{folder} holds no items in {', '.join(shards)}; fetch the shards again")
    return Items(np.stack(media), records)


def _samples(webdataset: ModuleType, path: Path) -> Iterator[dict[str, Any]]:
    """The samples of a shard. Each of several processes that train together reads all: what it learns from is drawn later."""
    return iter(webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False, nodesplitter=iter))


def _decode_image(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGBA"))


def _decode_audio(data: bytes) -> np.ndarray:
    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    mono = samples.mean(axis=1).clip(-1, 1)  # lossy codecs overshoot
    mono = resample(Audio(mono, rate), SAMPLE_RATE).samples[:AUDIO_SAMPLES]
    padded = np.zeros(AUDIO_SAMPLES, np.int16)
    padded[: len(mono)] = np.clip(mono * 32767, -32768, 32767)
    return padded
