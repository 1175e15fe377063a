"""What the files of a model folder must look like, with upper limits: ``model_index.json``, ``config.json``, headers.

A model folder may come from anywhere. Each file is bounded before it is read and checked before it is used, and what is
wrong with it is said in one sentence. Imports no torch.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, JsonValue, TypeAdapter, ValidationError, model_validator

from ..errors import ConfigurationError

MAX_JSON_BYTES = 16 * 2**20
"""Of an index or a config: ours have 5 kB."""
MAX_HEADER_BYTES = 100 * 2**20
"""Of a safetensors file, as in the safetensors library."""
MAX_NUMBER = 1e9
"""No size, rate or count in a config is larger."""
MAX_ENTRIES = 256
"""Entries of a ``model_index.json``."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]
ModulePath = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$", max_length=128)]
ClassName = Annotated[str, Field(pattern=r"^[A-Z]\w*$", max_length=128)]
Reference = tuple[ModulePath, ClassName]
"""Module and class of a part, as ``model_index.json`` names them."""


@dataclass(frozen=True)
class ModelIndex:
    """A ``model_index.json``.

    Attributes:
        pipeline: name of the pipeline's class, if it says so.
        parts: name → module and class, or None for a part that the model does without.
        settings: what the pipeline is told beside its parts.
    """

    pipeline: str | None
    parts: dict[str, tuple[str, str] | None]
    settings: dict[str, Any]


class Tensor(BaseModel):
    """One entry of a safetensors header."""

    dtype: Annotated[str, Field(max_length=16)]
    shape: Annotated[list[Annotated[int, Field(ge=0, le=2**40)]], Field(max_length=16)]
    data_offsets: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]

    @model_validator(mode="after")
    def _in_order(self) -> "Tensor":
        if self.data_offsets[0] > self.data_offsets[1]:
            raise ValueError("its data end before they begin")
        return self

    @property
    def count(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


_TENSORS = TypeAdapter(dict[str, Tensor])
_OBJECT = TypeAdapter(dict[str, JsonValue])
_REFERENCE = TypeAdapter(Reference)
_NAME = TypeAdapter(Name)
_SHARDS = TypeAdapter(dict[str, Annotated[str, Field(pattern=r"^[\w.-]+\.safetensors$", max_length=255)]])


def read_model_index(file: Path, parts: frozenset[str] = frozenset(), settings: frozenset[str] = frozenset()) -> ModelIndex:
    """The ``model_index.json`` of a model folder.

    Args:
        file: to read.
        parts: names that are parts whatever their entry looks like, so that a bad entry is not taken for a setting.
        settings: names that are settings, such as a list of two words.

    Raises:
        ConfigurationError: if the file is missing, not JSON, or an entry is of no known form.
    """
    raw = read_object(file)
    if len(raw) > MAX_ENTRIES:
        raise ConfigurationError(f"{file} has {len(raw)} entries, but at most {MAX_ENTRIES} are read; restore it")
    pipeline = raw.get("_class_name")
    if pipeline is not None and not isinstance(pipeline, str):
        raise ConfigurationError(f"{file}: _class_name must be the name of a class; restore it")
    index = ModelIndex(pipeline=pipeline, parts={}, settings={})
    for name, entry in raw.items():
        if name.startswith("_"):
            continue
        _checked(_NAME, name, file, f"the name {name[:64]!r}")
        if name in parts or (name not in settings and _names_a_class(entry)):
            index.parts[name] = None if entry in (None, [None, None]) else _reference(entry, file, name)
        else:
            _bounded(entry, file, name)
            index.settings[name] = entry
    return index


def read_config(file: Path) -> dict[str, Any]:
    """The ``config.json`` of a part.

    Raises:
        ConfigurationError: if it is missing, not a JSON object, or holds a number beyond ``MAX_NUMBER``.
    """
    config = read_object(file)
    for name, value in config.items():
        _bounded(value, file, name)
    return config


def read_header(weights: Path) -> tuple[dict[str, Tensor], int]:
    """What a safetensors file says of its tensors, and where their data begin: 8 bytes of length, JSON, data.

    Raises:
        ConfigurationError: if it is not a readable safetensors file.
    """
    try:
        with weights.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = file.read(length) if length <= MAX_HEADER_BYTES else b""
        tensors = _OBJECT.validate_python(_loads(header))
        tensors.pop("__metadata__", None)
        return _TENSORS.validate_python(tensors), 8 + length
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ConfigurationError(f"{weights} is not a readable safetensors file; restore it") from error


def read_shards(file: Path) -> set[str]:
    """The weight files that a ``*.safetensors.index.json`` names.

    Raises:
        ConfigurationError: if it cannot be read.
    """
    return set(_checked(_SHARDS, read_object(file).get("weight_map"), file, "weight_map").values())


def read_object(file: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        ConfigurationError: if the file is missing, too large, or holds something else.
    """
    if not file.is_file():
        raise ConfigurationError(f"{file} is missing; restore it")
    try:
        if file.stat().st_size > MAX_JSON_BYTES:
            raise ConfigurationError(f"{file} is larger than {MAX_JSON_BYTES} bytes; restore it")
        value = _loads(file.read_bytes())
    except RecursionError as error:
        raise ConfigurationError(f"{file} is nested too deeply; restore it") from error
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file} cannot be read: {one_line(error)}; restore it") from error
    return _checked(_OBJECT, value, file, "its content")


def one_line(error: Exception, limit: int = 200) -> str:
    """The first sentence or so of what an error says, without line breaks and without a full stop."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return (text if len(text) <= limit else text[: limit - 1] + "…").rstrip(".;: ")


def _loads(data: bytes) -> Any:
    return json.loads(data.decode("utf-8"), parse_constant=_no_constant)


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is no number in JSON")


def _checked(kind: TypeAdapter, value: Any, file: Path, what: str) -> Any:
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]["msg"]
        raise ConfigurationError(f"{file}: {what} is damaged ({problem}); restore it") from error
    except RecursionError as error:
        raise ConfigurationError(f"{file} is nested too deeply; restore it") from error


def _reference(entry: Any, file: Path, name: str) -> Reference:
    try:
        return _REFERENCE.validate_python(entry)
    except ValidationError as error:
        raise ConfigurationError(
            f'{file}: the entry of {name} must be its module and its class, such as ["opencodi.denoisers.unet", "UNet"], '
            f"or two nulls, not {json.dumps(entry)[:80]}; restore it"
        ) from error


def _names_a_class(entry: Any) -> bool:
    """Whether an entry looks like ``["opencodi.denoisers.unet", "UNet"]`` and not like a list of two words."""
    try:
        _REFERENCE.validate_python(entry)
    except ValidationError:
        return False
    return True


def _bounded(value: Any, file: Path, name: str) -> None:
    """Refuse numbers beyond ``MAX_NUMBER``, however deep they are."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            _bounded(each, file, name)
    elif isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:
        raise ConfigurationError(f"{file}: {name} is {value:.3g}, but at most {MAX_NUMBER:g} is read; restore it")
