"""From what a row or a file says to a sample: which column holds what, and which modality a file is of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from ..modality import MODALITIES, Modality

CAPTIONS = ("text", "caption", "captions", "txt")
"""Columns that captions are looked for in."""

FILES = ("file_name", "file", "path")
"""Columns whose files may be of any modality; their ending says which."""

OPTIONAL = ("name", "concept", "split")
"""Fields that a sample may have beside its modalities."""

_HELD = {"validation", "valid", "val", "dev"}
_ANY = "any"


@dataclass
class RawSample:
    """What a source says of one sample.

    Attributes:
        name: how the sample is called in messages.
        fields: {modality or optional field: value}. Captions are strings or lists of strings; media are a ``Path`` or bytes.
        problem: why it cannot be used; None: nothing is known against it.
    """

    name: str
    fields: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None


def modalities_of(suffix: str) -> list[str]:
    """The modalities as which a file with this ending may be read; text is none of them."""
    return [
        name
        for name, record in MODALITIES.items()
        if name != Modality.TEXT and record.read and suffix.lower() in record.read_suffixes
    ]


def modality_of(file: Path | bytes, suffix: str) -> str:
    """The modality of a medium: a GIF, WebP or PNG that moves is a clip."""
    found = modalities_of(suffix)
    if Modality.IMAGE in found and Modality.VIDEO in found:
        return Modality.VIDEO if _moves(file) else Modality.IMAGE
    return found[0]


def _moves(file: Path | bytes) -> bool:
    from PIL import Image

    try:
        opened = BytesIO(file) if isinstance(file, bytes) else file
        with Image.open(opened, formats=["GIF", "WEBP", "PNG"]) as image:
            return getattr(image, "n_frames", 1) > 1
    except Exception:  # whatever is wrong with it is told when it is decoded
        return False


def put(sample: RawSample, modality: str, value: Any) -> None:
    """Give a sample a text or a file of one modality; a second one is noted as the sample's problem."""
    if modality in sample.fields:
        sample.problem = f"has two files of {modality}"
    sample.fields[modality] = value


def choose_columns(where: str, present: Sequence[str], wanted: Mapping[str, str]) -> dict[str, str]:
    """{field: column}, of which those in ``wanted`` are as they say and the others have one of the usual names.

    Raises:
        ArgumentError: if a wanted column is missing, or none holds media.
    """
    for column in wanted.values():
        if column not in present:
            raise ArgumentError(f"--columns: {where} has no column {column!r}; it has {', '.join(present)}")
    chosen = dict(wanted)
    usual = {Modality.TEXT: CAPTIONS, **{name: (name,) for name in OPTIONAL}}
    usual |= {m: (m, f"{m}_file_name", f"{m}_path") for m in MODALITIES if m != Modality.TEXT}
    for name, candidates in usual.items():
        found = next((column for column in candidates if column in present), None)
        if name not in chosen and found and found not in wanted.values():
            chosen[name] = found
    found = next((column for column in FILES if column in present and column not in chosen.values()), None)
    if found:
        chosen[_ANY] = found
    if not any(name in chosen for name in (*MODALITIES, _ANY) if name != Modality.TEXT):
        media = ", ".join(m for m in MODALITIES if m != Modality.TEXT)
        raise ArgumentError(
            f"{where}: no column is called file_name, {media}; name it with --columns image=…: it has {', '.join(present)}"
        )
    return chosen


def from_row(
    name: str, row: Mapping[str, Any], chosen: Mapping[str, str], folder: Path | None, split: str | None
) -> RawSample:
    """A sample from a row of a table: {column: value}."""
    sample = RawSample(name, {} if split is None else {"split": split})
    for field_name, column in chosen.items():
        value = row.get(column)
        if value is None or value == "" or value == []:
            continue
        if field_name in (Modality.TEXT, *OPTIONAL):
            sample.fields[field_name] = value
            continue
        suffix = Path(value).suffix if isinstance(value, str) else ""
        medium, problem = _medium(value, folder)
        if problem:
            sample.problem = f"{column} {problem}"
        elif field_name == _ANY and not modalities_of(suffix):
            sample.problem = f"{column}: {value!r} has no ending of a picture, clip or sound"
        else:
            put(sample, modality_of(medium, suffix) if field_name == _ANY else field_name, medium)
    if str(sample.fields.get("split")) == "test":
        sample.problem = "is of the test split"
    return sample


def _medium(value: Any, folder: Path | None) -> tuple[Path | bytes | None, str | None]:
    """(medium, None), or (None, what is wrong with it)."""
    if isinstance(value, Mapping):  # as ``datasets`` stores media
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes | bytearray):
        return bytes(value), None
    if not isinstance(value, str):
        return None, f"holds {type(value).__name__}, not a file"
    if "://" in value:
        return None, f"is an address ({value[:80]}): fetch it first"
    return (Path(value) if folder is None else folder / value), None


def is_held(split: Any) -> bool:
    """Whether a split of that name is for validation."""
    return str(split).lower() in _HELD
