"""A prepared folder: WebDataset tars of samples, and beside each a list that says where each medium lies in it.

``docs/data.md`` has the table of all fields.
"""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..errors import CollectionError, MediaError
from ..media import DEFAULT_LIMITS, Limits, Media, read
from ..modality import MODALITIES, Modality
from .columns import is_held

DATASET = "dataset.json"
"""Says what the folder holds; written last."""

FORMAT, VERSION = "opencodi samples", 1
VALIDATION_SHARE = 0.02


class PreparedFolder:
    """The samples of a folder that ``opencodi data prepare`` made.

    Args:
        path: the folder.
        validation_share: of the samples, which are held out where none says its ``split``.

    Attributes:
        info: the values of ``dataset.json``.
        records: of all samples, in order: what the lists beside the tars say, with ``tar``, the file that holds the media.
        starts: position of the first sample of each tar, and the number of all samples.

    Raises:
        CollectionError: if the folder is not prepared, or is incomplete or damaged.
    """

    def __init__(self, path: str | Path, validation_share: float = VALIDATION_SHARE):
        self.path, self.validation_share = Path(path), validation_share
        self.info = read_info(self.path)
        if not self.info.get("complete"):
            raise CollectionError(f"{self.path}: is not complete; give opencodi data prepare again, which goes on")
        self.records: list[dict[str, Any]] = []
        self.starts = [0]
        for shard in self.info["shards"]:
            self.records += [
                each | {"tar": f"{shard}.tar"} for each in read_list(self.path, shard) if "bad" not in each
            ]
            self.starts.append(len(self.records))

    def __len__(self) -> int:
        return len(self.records)

    @property
    def shards(self) -> list[str]:
        """Names of the tars without their ending."""
        return list(self.info["shards"])

    @cached_property
    def held(self) -> list[bool]:
        """Of each sample, whether it is for validation: as its ``split`` says, else a fixed share.

        Samples of one concept, or with the same medium, are on one side. A small set holds out at least one.
        """
        places = [1.0 if "split" in each else _place(each) for each in self.records]
        limit = self.validation_share
        told = any(is_held(each.get("split")) for each in self.records)
        if not told and places and min(places) >= limit:
            limit = min(places) + 1e-9
        return [
            is_held(each["split"]) if "split" in each else not told and place < limit
            for each, place in zip(self.records, places)
        ]

    def media(self, position: int, modality: str, limits: Limits = DEFAULT_LIMITS) -> Media | list[str]:
        """The medium of a sample, decoded; of text the list of its captions.

        Raises:
            CollectionError: if it is damaged, or its tar is missing.
        """
        record = self.records[position]
        if modality == Modality.TEXT:
            return list(record[Modality.TEXT])
        entry = record[modality]
        try:
            return read_bytes(self.content(position, modality), modality, Path(entry["file"]).suffix, limits)
        except MediaError as error:
            raise CollectionError(f"{self.path / record['tar']}: {entry['file']}: {error}; prepare it again") from error

    def content(self, position: int, modality: str) -> bytes:
        """The bytes of a medium as they are stored."""
        record = self.records[position]
        place, entry = self.path / record["tar"], record[modality]
        try:
            with place.open("rb") as file:
                file.seek(entry["offset"])
                content = file.read(entry["size"])
        except OSError as error:
            raise CollectionError(f"{place}: cannot be read ({error.strerror}); prepare the folder again") from error
        if len(content) != entry["size"]:
            raise CollectionError(f"{place}: is truncated; prepare the folder again")
        return content

    def is_intact(self, position: int, modality: str) -> bool:
        """Whether a medium still has the bytes that it was stored with."""
        return sha256(self.content(position, modality)).hexdigest() == self.records[position][modality]["sha256"]


def is_prepared(folder: Path) -> bool:
    """Whether ``opencodi data prepare`` made, or is making, this folder."""
    return (folder / DATASET).is_file()


def read_info(folder: Path) -> dict[str, Any]:
    """``dataset.json`` of a prepared folder.

    Raises:
        CollectionError: if it is missing, damaged, or of another version.
    """
    path = folder / DATASET
    if not path.is_file():
        raise CollectionError(f"{folder}: is not prepared; give opencodi data prepare {folder} --output FOLDER first")
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        known = info["format"] == FORMAT and info["version"] == VERSION and isinstance(info["shards"], list)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise CollectionError(f"{path}: is damaged; prepare the folder again") from error
    if not known:
        raise CollectionError(f"{path}: is of another version of the format; prepare the folder again")
    return info


def read_list(folder: Path, shard: str) -> list[dict[str, Any]]:
    """The lines beside a tar: samples, and those that were left out (``bad`` says why).

    Raises:
        CollectionError: if the list is missing or damaged.
    """
    path = folder / f"{shard}.jsonl"
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if not all(isinstance(line, dict) and ("bad" in line or "key" in line) for line in lines):
            raise ValueError
    except (ValueError, OSError) as error:
        raise CollectionError(f"{path}: is missing or damaged; prepare the folder again") from error
    return lines


def modalities_in(record: Mapping[str, Any]) -> list[str]:
    """The modalities that a record has."""
    return [name for name in MODALITIES if record.get(name)]


def having(records: Sequence[Mapping[str, Any]], modality: str) -> list[int]:
    """Positions of the records that have this modality."""
    return [position for position, record in enumerate(records) if record.get(modality)]


def read_bytes(content: bytes, modality: str, suffix: str, limits: Limits = DEFAULT_LIMITS) -> Media:
    """A medium from the bytes of its file, which is read as every file is (``opencodi.media``).

    Raises:
        MediaError: one of its kinds, without a file's name.
    """
    handle, name = tempfile.mkstemp(suffix=suffix)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        return read(modality, name, limits)
    except MediaError as error:
        raise type(error)(str(error).replace(f"{name}: ", "", 1)) from error
    finally:
        os.unlink(name)


def _place(record: Mapping[str, Any]) -> float:
    """Where a sample falls in [0, 1): a hash of its concept, else of its first medium."""
    media = [record[name]["sha256"] for name in modalities_in(record) if name != Modality.TEXT]
    group = str(record.get("concept") or media[0])
    return int.from_bytes(sha256(group.encode()).digest()[:4], "big") / 2**32
