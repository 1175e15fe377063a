"""Write WebDataset shards whose bytes depend on nothing but their items, in parts, so that a stopped build can go on."""

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKSUMS = "checksums.json"
PARTS = ".parts"


@dataclass(frozen=True)
class Item:
    """One item of a shard: the media file's bytes, its ending (``webp``, ``ogg``) and the fields of its record."""

    media: bytes
    suffix: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How one shard is made.

    Attributes:
        shard: its name; the file is ``{shard}.tar.gz`` and the keys are ``{shard}-000000`` and on.
        made_from: packages and libraries with their versions. Parts made from others are not used again.
        units: pieces of work, in the order of the shard.
        make: one unit → its items, in order; none if it holds nothing usable.
        units_per_part: how many units are kept at once, and so how much work a stopped build loses at most.
    """

    shard: str
    made_from: tuple[str, ...]
    units: Sequence[Any]
    make: Callable[[Any], Iterable[Item]]
    units_per_part: int = 200

    @property
    def fingerprint(self) -> str:
        """Eight letters that change with what the shard is made from."""
        return hashlib.sha256(json.dumps([self.shard, self.made_from, len(self.units)]).encode()).hexdigest()[:8]


def write_shard(
    plan: Plan, folder: Path, keep: Callable[[dict[str, Any]], bool], advance: Callable[[], None] = lambda: None
) -> int:
    """Make the shard and name it when it is complete; the number of its items.

    Items are numbered before those that ``keep`` (given the fields) refuses are left out, so keys do not depend on what
    is withheld. Finished parts of a stopped build are used again. ``advance`` is called once a unit.
    """
    parts = folder / PARTS / f"{plan.shard}-{plan.fingerprint}"
    parts.mkdir(parents=True, exist_ok=True)
    files = []
    for start in range(0, len(plan.units), plan.units_per_part):
        units = plan.units[start : start + plan.units_per_part]
        file = parts / f"{start:06d}.tar"
        if file.is_file():
            for _ in units:
                advance()
        else:
            _write_part(file, _made(plan, units, advance), keep)
        files.append(file)
    count = _join(files, folder / f"{plan.shard}.tar.gz", plan.shard)
    shutil.rmtree(parts)
    return count


def is_finished(plan: Plan, folder: Path) -> bool:
    """Whether the shard is there, made from the same packages, and its bytes are those that were written."""
    known = read_checksums(folder).get(f"{plan.shard}.tar.gz", {})
    file = folder / f"{plan.shard}.tar.gz"
    return known.get("made_from") == plan.fingerprint and file.is_file() and sha256(file) == known.get("sha256")


def read_checksums(folder: Path) -> dict[str, dict[str, Any]]:
    """File name → its ``sha256`` and, for shards, ``items`` and ``made_from``; empty if there is no such file yet."""
    file = folder / CHECKSUMS
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def record_checksum(folder: Path, name: str, **known: Any) -> None:
    """Note the checksum of a file that is complete, beside what else is known of it."""
    checksums = read_checksums(folder) | {name: {"sha256": sha256(folder / name), **known}}
    write_text(folder / CHECKSUMS, json.dumps(dict(sorted(checksums.items())), indent=1) + "\n")


def sha256(file: Path) -> str:
    """Of the whole file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_text(file: Path, text: str) -> None:
    """Write under a temporary name, then rename."""
    temporary = file.with_name(f".{file.name}.partial")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, file)


def read_items(shard: Path) -> Iterator[tuple[str, str, bytes, bytes]]:
    """(key, suffix, media bytes, record bytes) of a shard whose members are KEY.suffix, KEY.json in turn.

    Raises:
        tarfile.TarError, EOFError, OSError, zlib.error: if it is damaged.
    """
    with tarfile.open(shard) as archive:
        while (media := archive.next()) is not None:
            key, _, suffix = media.name.partition(".")
            data = archive.extractfile(media).read()
            record = archive.next()
            if record is None or record.name != f"{key}.json":
                raise tarfile.ReadError(f"{key} has no record")
            yield key, suffix, data, archive.extractfile(record).read()


def _made(plan: Plan, units: Iterable[Any], advance: Callable[[], None]) -> Iterator[Item]:
    for unit in units:
        yield from plan.make(unit)
        advance()


def _write_part(file: Path, items: Iterable[Item], keep: Callable[[dict[str, Any]], bool]) -> None:
    """Kept items under their number within the part; the member ``made`` tells how many there were with the withheld."""
    temporary = file.with_suffix(".partial")
    made = 0
    with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as archive:
        for item in items:
            if keep(item.fields):
                _add(archive, f"{made}.{item.suffix}", item.media)
                _add(archive, f"{made}.json", json.dumps(item.fields, ensure_ascii=False).encode())
            made += 1
        _add(archive, "made", str(made).encode())
    os.replace(temporary, file)


def _join(parts: Iterable[Path], file: Path, shard: str) -> int:
    """All parts in one compressed shard, numbered through; the number of items in it."""
    temporary = file.with_name(f".{file.name}.partial")
    first = count = 0
    with (
        temporary.open("wb") as raw,
        # no name and no time in the gzip header: the same items are the same bytes
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for part in parts:
            with tarfile.open(part) as pieces:
                for member in pieces:
                    data = pieces.extractfile(member).read()
                    number, _, suffix = member.name.partition(".")
                    if number == "made":
                        first += int(data)
                        continue
                    _add(archive, f"{shard}-{first + int(number):06d}.{suffix}", data)
                    count += suffix == "json"
    os.replace(temporary, file)
    return count


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))
