"""How far two collections lie apart: item by item, in pixels and samples."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from .shards import read_items


@dataclass(frozen=True)
class Comparison:
    """One shard in two collections.

    Attributes:
        name: of the shard.
        items, others: how many the first and the second hold.
        keys: how many keys are in both.
        records: of these, how many have the same record.
        media: of these, how many have the same bytes.
        difference: mean absolute difference of the decoded media over all common keys: of premultiplied RGBA in levels
            (0–255), of samples in thousandths of full scale.
        worst: the greatest such difference of one item.
    """

    name: str
    items: int
    others: int
    keys: int
    records: int
    media: int
    difference: float
    worst: float


def compare(folder: Path, other: Path) -> Iterator[Comparison]:
    """Every shard that both folders have, by name."""
    for file in sorted(folder.glob("*.tar.gz")):
        if (other / file.name).is_file():
            yield compare_shards(file, other / file.name)


def compare_shards(file: Path, other: Path) -> Comparison:
    """Read both shards whole."""
    known = {key: (suffix, data, json.loads(record)) for key, suffix, data, record in read_items(other)}
    items, records, media, differences = 0, 0, 0, []
    for key, suffix, data, record in read_items(file):
        items += 1
        if key not in known:
            continue
        _, other_data, other_record = known[key]
        records += json.loads(record) == other_record
        media += data == other_data
        differences.append(0.0 if data == other_data else DIFFERENCES[suffix](data, other_data))
    mean, worst = (float(f(differences)) if differences else float("nan") for f in (np.mean, np.max))
    name = file.name.removesuffix(".tar.gz")
    return Comparison(name, items, len(known), len(differences), records, media, mean, worst)


def picture_difference(one: bytes, other: bytes) -> float:
    """Of premultiplied RGBA, in levels: what stands in clear pixels cannot be seen and does not count."""
    arrays = []
    for data in (one, other):
        with Image.open(io.BytesIO(data)) as picture:
            arrays.append(np.asarray(picture.convert("RGBA").convert("RGBa"), dtype=float))
    return float(np.abs(arrays[0] - arrays[1]).mean())


def sound_difference(one: bytes, other: bytes) -> float:
    """In thousandths of full scale; the shorter sound is padded with silence."""
    waves = [soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0].mean(axis=1) for data in (one, other)]
    padded = np.zeros((2, max(map(len, waves))))
    for row, wave in zip(padded, waves):
        row[: len(wave)] = wave
    return float(1000 * np.abs(padded[0] - padded[1]).mean())


DIFFERENCES = {"webp": picture_difference, "ogg": sound_difference}
"""Ending of a media file → how far two of them lie apart."""
