"""Anyone's samples: folders, tables, WebDataset tars and Hugging Face datasets, read one sample after another.

``datasets`` reads tables and ``webdataset`` reads tars. Nothing is decoded here: media stay paths or bytes.
"""

import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, CollectionError
from ..modality import MODALITIES, Modality
from .columns import CAPTIONS, OPTIONAL, RawSample, choose_columns, from_row, modalities_of, modality_of, put

TABLES = {".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}
"""Ending of a table → the reader of ``datasets``."""

HUB_TIMEOUT = 10.0
"""Seconds that the hub has for an answer."""

_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Source:
    """Samples in a fixed order.

    Attributes:
        fingerprint: changes when other samples are read, or the same ones otherwise.
        read: number of samples to leave out at the beginning → the others.
        total: how many there are, if that is known.
    """

    fingerprint: str
    read: Callable[[int], Iterator[RawSample]]
    total: int | None = None


def open_source(source: str, columns: Mapping[str, str] | None = None, split: str | None = None) -> Source:
    """Find out what ``source`` is, and how to read it.

    Args:
        source: a folder, a table, tars (path, glob, braces or URL), or the name of a dataset of the Hugging Face hub.
        columns: {field: column}, for columns that have other names than expected.
        split: of a Hugging Face dataset; by default ``train`` and ``validation``.

    Raises:
        ArgumentError: if it is none of these, or a library that reads it is not installed.
    """
    columns = dict(columns or {})
    known = (*MODALITIES, *OPTIONAL)
    for name in columns:
        if name not in known:
            raise ArgumentError(f"--columns: {name!r} is no field of a sample; choose from {', '.join(known)}")
    if source.startswith("pipe:") or ("://" in source and not source.startswith(("http://", "https://", "hf://"))):
        raise ArgumentError(f"{source}: is not read from there; give a file, or an http or https address")
    path = Path(source)
    if "://" in source or source.endswith((".tar", ".tar.gz", ".tgz")) or re.search(r"[*{]", source):
        return _tars(_expanded(source), columns)
    if path.is_file():
        if path.suffix.lower() not in TABLES:
            raise ArgumentError(f"{source}: is none of {', '.join(TABLES)}, .tar; give such a file, or a folder")
        return _tables({path: None}, columns)
    if path.is_dir():
        return _folder(path, columns, split)
    if _NAME.fullmatch(source) and not path.exists() and len(path.parts) == 2 and not source.startswith("."):
        return _hub(source, columns, split)
    raise ArgumentError(f"{source}: there is no such file or folder; check its name")


def _folder(path: Path, columns: Mapping[str, str], split: str | None) -> Source:
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return _saved(path, columns, split)
    tables: dict[Path, str | None] = {}
    for place in (path, *sorted(each for each in path.iterdir() if each.is_dir())):
        found = [place / f"metadata{suffix}" for suffix in TABLES if (place / f"metadata{suffix}").is_file()]
        tables |= {table: None if place == path else place.name for table in found[:1]}
    if not tables:
        tars = sorted(str(each) for each in path.glob("*.tar*"))
        if tars:
            return _tars(tars, columns)
        single = [each for each in sorted(path.iterdir()) if each.suffix.lower() in TABLES]
        if len(single) > 1:
            raise ArgumentError(f"{path}: holds {len(single)} tables ({single[0].name}, …); give the one that is meant")
        tables = {table: None for table in single}
    return _tables(tables, columns) if tables else _same_names(path, columns)


# ---------------------------------------------------------------------- files of the same name


def _same_names(path: Path, columns: Mapping[str, str]) -> Source:
    """Media with captions in text files of the same name."""
    if columns:
        raise ArgumentError(f"--columns: {path} holds no table; leave it out")
    groups: dict[str, list[Path]] = {}
    for file in sorted(each for each in path.rglob("*") if each.is_file() and not each.name.startswith(".")):
        if file.suffix.lower() in (".txt", ".caption") or modalities_of(file.suffix):
            groups.setdefault(file.relative_to(path).with_suffix("").as_posix(), []).append(file)
    if not groups:
        raise ArgumentError(f"{path}: holds no picture, clip, sound or table; give the folder that does")

    def read(start: int) -> Iterator[RawSample]:
        for name, files in islice(groups.items(), start, None):
            sample = RawSample(name)
            for file in files:
                is_text = file.suffix.lower() in (".txt", ".caption")
                put(sample, Modality.TEXT if is_text else modality_of(file, file.suffix), file)
            yield sample

    listing = [(name, [(file.name, file.stat().st_size) for file in files]) for name, files in groups.items()]
    return Source(_fingerprint("files", listing), read, len(groups))


# ---------------------------------------------------------------------- tables


def _tables(tables: Mapping[Path, str | None], columns: Mapping[str, str]) -> Source:
    """Tables, each with the split that its samples are of; files are relative to the folder of the table."""
    datasets = _library("datasets")
    places = {}
    for table in tables:
        kind, options = TABLES[table.suffix.lower()], {}
        with _reading(table):
            if kind == "csv":  # a caption that looks like a number, or is "NA", stays what it is
                separator = "\t" if table.suffix.lower() == ".tsv" else ","
                with table.open(encoding="utf-8-sig", newline="") as file:
                    header = next(csv.reader(file, delimiter=separator), [])
                features = datasets.Features({name: datasets.Value("string") for name in header})
                options = {"features": features, "keep_default_na": False, "sep": separator}
            made = datasets.load_dataset(kind, data_files=str(table), split="train", streaming=True, **options)
            first = next(iter(_undecoded(made)), None)
        if first is None:
            raise ArgumentError(f"{table}: has no rows; give a table that has some")
        places[table] = made, choose_columns(str(table), list(first), columns)

    def read(start: int) -> Iterator[RawSample]:
        for table, (rows, chosen) in places.items():
            counted = 0
            with _reading(table):
                for number, row in enumerate(_undecoded(rows)):
                    counted += 1
                    if number >= start:
                        name = f"{table.name} row {number + 1}"
                        yield from_row(name, row, chosen, table.parent, tables[table])
            start = max(0, start - counted)

    stats = [(table.name, table.stat().st_size, table.stat().st_mtime_ns) for table in tables]
    return Source(_fingerprint("tables", stats, sorted(columns.items())), read)


# ---------------------------------------------------------------------- tars


def _expanded(source: str) -> list[str]:
    """The tars that a path, glob or address with braces stands for."""
    from glob import glob

    braceexpand = _library("braceexpand").braceexpand
    found = []
    for each in braceexpand(source):
        if "://" in each:
            found.append(each)
            continue
        matching = sorted(glob(each)) if re.search(r"[*?\[]", each) and not Path(each).is_file() else [each]
        missing = [file for file in matching if not Path(file).is_file()]
        if missing or not matching:
            raise ArgumentError(f"{missing[0] if missing else each}: there is no such file; check its name")
        found += matching
    return found


def _tars(tars: Sequence[str], columns: Mapping[str, str]) -> Source:
    webdataset = _library("webdataset")

    def read(start: int) -> Iterator[RawSample]:
        for tar in tars:
            counted = 0
            with _reading(tar):
                samples = webdataset.WebDataset([tar], shardshuffle=False, empty_check=False)
                for sample in samples:
                    counted += 1
                    if counted > start:
                        yield _from_tar(sample, columns)
            start = max(0, start - counted)

    listing = [(tar, Path(tar).stat().st_size if Path(tar).is_file() else None) for tar in tars]
    return Source(_fingerprint("tars", listing, sorted(columns.items())), read)


def _from_tar(sample: Mapping[str, Any], columns: Mapping[str, str]) -> RawSample:
    """Members by their endings (``jpg``, ``wav``, ``txt``); a ``json`` member is a row of further columns."""
    made = RawSample(str(sample["__key__"]))
    members = {name: value for name, value in sample.items() if not name.startswith("__")}
    row: dict[str, Any] = {}
    try:
        row = json.loads(members.pop("json", b"{}"))
        text = members.pop("txt", b"").decode("utf-8")
    except ValueError as error:
        made.problem = f"its json or txt cannot be read ({error})"
        return made
    row = {"txt": text.splitlines(), **(row if isinstance(row, dict) else {})}
    for name in (Modality.TEXT, *OPTIONAL):
        usual = CAPTIONS[::-1] if name == Modality.TEXT else (name,)
        for column in (columns[name],) if name in columns else usual:
            if row.get(column):
                made.fields[name] = row[column]
    wanted = {column: name for name, column in columns.items() if name not in (Modality.TEXT, *OPTIONAL)}
    for ending, value in members.items():
        suffix = "." + ending.rpartition(".")[2]
        if ending in wanted:
            put(made, wanted[ending], value)
        elif modalities_of(suffix) and not wanted.keys() & members.keys():
            named = ending.partition(".")[0]
            put(made, named if named in modalities_of(suffix) else modality_of(value, suffix), value)
    return made


# ---------------------------------------------------------------------- Hugging Face datasets


def _saved(path: Path, columns: Mapping[str, str], split: str | None) -> Source:
    """A folder that ``save_to_disk`` wrote."""
    datasets = _library("datasets")
    with _reading(path):
        loaded = datasets.load_from_disk(str(path))
    found = dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {split or "train": loaded}
    sizes = [(name, len(rows), rows._fingerprint) for name, rows in found.items()]
    return _splits(str(path), found, columns, split, _fingerprint("saved", sizes, sorted(columns.items()), split))


def _hub(name: str, columns: Mapping[str, str], split: str | None) -> Source:
    """A dataset of the hub, streamed.

    Raises:
        ArgumentError: if the hub cannot be reached, or has no such dataset.
    """
    datasets, hub = _library("datasets"), _library("huggingface_hub")
    neither, where = f"{name}: there is no such file or folder, and", hub.constants.ENDPOINT
    try:  # asked first, because ``datasets`` tries again for half a minute where there is no connection
        hub.HfApi().dataset_info(name, timeout=HUB_TIMEOUT)
    except hub.errors.HfHubHTTPError as error:
        raise ArgumentError(
            f"{neither} {where} shows no dataset of that name; check it, or log in with hf auth login if it is closed"
        ) from error
    except Exception as error:  # whatever the network raises
        raise ArgumentError(
            f"{neither} {where} cannot be reached to look for a dataset of that name ({type(error).__name__}); check the "
            "name and the connection"
        ) from error
    try:
        # Casting columns, as tables have it, comes too late for the files of a streamed repository.
        found = {split: rows.decode(False) for split, rows in datasets.load_dataset(name, streaming=True).items()}
    except Exception as error:  # whatever the dataset's files raise
        raise ArgumentError(
            f"{name}: the dataset of that name on {where} cannot be streamed ({_first_line(error)}); fetch it and give its "
            "folder"
        ) from error
    return _splits(name, found, columns, split, _fingerprint("hub", name, sorted(columns.items()), split))


def _splits(
    where: str, found: Mapping[str, Any], columns: Mapping[str, str], split: str | None, fingerprint: str
) -> Source:
    if split is not None and split not in found:
        raise ArgumentError(f"--split: {where} has no split {split!r}; it has {', '.join(found)}")
    chosen = {name: rows for name, rows in found.items() if (name == split if split else name != "test")}

    def read(start: int) -> Iterator[RawSample]:
        for name, rows in chosen.items():
            counted = 0
            with _reading(where):
                places: dict[str, str] = {}
                for number, row in enumerate(_undecoded(rows)):
                    places = places or choose_columns(where, list(row), columns)
                    counted += 1
                    if number >= start:
                        row = {column: _fetched(value) for column, value in row.items()}
                        yield from_row(f"{name} row {number + 1}", row, places, None, None if split else name)
            start = max(0, start - counted)

    return Source(fingerprint, read)


def _undecoded(rows: Any) -> Any:
    """Rows whose media are left as they are stored."""
    datasets = _library("datasets")
    if isinstance(rows, datasets.IterableDataset):
        rows = rows._resolve_features() if rows.features is None else rows
    for column, feature in (rows.features or {}).items():
        if isinstance(feature, datasets.Image | datasets.Audio | datasets.Video):
            rows = rows.cast_column(column, type(feature)(decode=False))
    return rows


def _fetched(value: Any) -> Any:
    """A medium that is stored as an address (``hf://datasets/…``) with its bytes."""
    if not (isinstance(value, Mapping) and value.get("bytes") is None and "://" in str(value.get("path"))):
        return value
    with _library("fsspec").open(value["path"], "rb") as file:
        return {**value, "bytes": file.read()}


# ---------------------------------------------------------------------- common


@contextmanager
def _reading(source: Any) -> Iterator[None]:
    """Around a library that reads a source: whatever it raises becomes one sentence that names the source."""
    try:
        yield
    except ArgumentError:
        raise
    except Exception as error:
        raise CollectionError(
            f"{source}: cannot be read ({_first_line(error.__cause__ or error)}); check it, or fetch it again"
        ) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _library(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise ArgumentError(f"{name} reads such data and is not installed: pip install 'opencodi[train]'") from error


def _fingerprint(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]
