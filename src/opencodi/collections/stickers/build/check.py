"""Look at a collection: are its files whole, and does it hold what the collection should hold?"""

import hashlib
import json
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ....errors import CollectionError
from .shards import read_checksums, read_items, sha256
from .withheld import Withheld

REFERENCE = Path(__file__).with_name("reference.json")
"""Shard → ``items``, ``records`` and ``media`` (see ``Digest``) of the collection that the stickers model learned from."""

LARGE = "at 128 pixels"
"""Where the reference has the ``records`` and ``media`` of a shard built with ``--size 128``."""


@dataclass(frozen=True)
class Digest:
    """What is in a shard: the number of items, checksums of keys with records and of keys with media, withheld keys."""

    items: int
    records: str
    media: str
    withheld: tuple[str, ...] = ()


@dataclass(frozen=True)
class ShardReport:
    """One shard of a collection.

    Attributes:
        name: of the shard.
        items: how many it holds; None if it is missing or damaged.
        expected: how many the reference collection holds; None for a shard that it does not have.
        state: ``ok`` (as when it was written), ``no checksum``, ``missing`` (never made), or
            ``damaged: …``.
        records: whether keys and records are the reference's: ``same`` or ``differ``.
        media: whether every picture or sound is the reference's, byte for byte: ``same`` or ``differ``. Lossy media that
            another version of an encoder wrote differ in bytes; ``compare`` tells by how much.
        withheld: keys of items that should have been withheld.
    """

    name: str
    items: int | None
    expected: int | None
    state: str
    records: str = ""
    media: str = ""
    withheld: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether one can train on it."""
        return self.state in ("ok", "no checksum") and not self.withheld


def check(folder: Path) -> Iterator[ShardReport]:
    """A report of every shard that is there, or noted as written, or part of the reference; one after the other.

    Raises:
        CollectionError: if the folder holds no collection at all.
    """
    checksums = read_checksums(folder)
    there = {file.name.removesuffix(".tar.gz") for file in folder.glob("*.tar.gz")}
    if not there and not checksums:
        raise CollectionError(f"{folder} holds no shards (*.tar.gz); make them with opencodi data build stickers")
    noted = {name.removesuffix(".tar.gz") for name in checksums if name.endswith(".tar.gz")}
    for name in [*reference(), *sorted((there | noted) - reference().keys())]:
        yield _report(folder / f"{name}.tar.gz", name, checksums.get(f"{name}.tar.gz", {}))


def damaged_lists(folder: Path) -> list[str]:
    """Names of the small files (concepts, splits, licences) whose bytes are not those that were written."""
    lists = {name: known for name, known in read_checksums(folder).items() if not name.endswith(".tar.gz")}
    return [n for n, known in lists.items() if not (folder / n).is_file() or sha256(folder / n) != known["sha256"]]


@cache
def reference() -> dict[str, dict[str, Any]]:
    """Shard → what the reference collection holds."""
    return json.loads(REFERENCE.read_text(encoding="utf-8"))


def digest(shard: Path, name: str) -> Digest:
    """Read a whole shard.

    Raises:
        tarfile.TarError, EOFError, OSError, zlib.error, ValueError: if it is damaged.
    """
    withheld, found = Withheld.load(), []
    records, media = hashlib.sha256(), hashlib.sha256()
    count = 0
    for key, suffix, data, record in read_items(shard):
        fields = json.loads(record)
        records.update(f"{key} {json.dumps(fields, sort_keys=True, ensure_ascii=False)}\n".encode())
        media.update(f"{key}.{suffix} {hashlib.sha256(data).hexdigest()}\n".encode())
        count += 1
        if not withheld.keeps(name, fields):
            found.append(key)
    return Digest(count, records.hexdigest(), media.hexdigest(), tuple(found))


def _report(file: Path, name: str, known: dict[str, Any]) -> ShardReport:
    wanted = reference().get(name, {})
    expected = wanted.get("items")
    if not file.is_file():
        return ShardReport(name, None, expected, "damaged: the file is gone" if known else "missing")
    if known and sha256(file) != known["sha256"]:
        return ShardReport(name, None, expected, "damaged: not the bytes that were written")
    try:
        held = digest(file, name)
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError) as error:
        return ShardReport(name, None, expected, f"damaged: {error}")
    same = {}
    for part in ("records", "media"):
        known_digests = {at[part] for at in (wanted, wanted.get(LARGE, {})) if part in at}
        same[part] = ("same" if getattr(held, part) in known_digests else "differ") if wanted else ""
    return ShardReport(name, held.items, expected, "ok" if known else "no checksum", withheld=held.withheld, **same)
