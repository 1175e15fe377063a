"""One line of a prompts file: what it may say, and whether it can be made. Imports no torch."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..argument_rules import collect_weights
from ..bounds import NUMBERS, WHOLE_NUMBERS, check_seeds, finite_number, plain_text, positive_integer
from ..errors import ArgumentError, OpenCoDiError
from ..modality import MODALITIES, parse_modalities

KEYS = ("id", "to", "weights", "negative", "steps", "guidance", "candidates", "seed")
"""What a line may say besides its inputs; named as the options of ``opencodi generate``."""

WHOLE = {"steps": "num_inference_steps", "candidates": "num_candidates"}
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Item:
    """What one line asks for.

    Attributes:
        id: of the line, and the name of its folder.
        request: what the line says, with the defaults of the run, as JSON values.
        inputs: {modality: texts and files}.
        outputs: modalities to make.
        error: what is wrong with the line; None: nothing.
    """

    id: str
    request: Mapping[str, Any]
    inputs: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    error: str | None = None

    @property
    def kind(self) -> str:
        """Equal for items that one call can make together."""
        told = {name: self.request.get(name) for name in ("weights", "steps", "guidance", "candidates")}
        counts = {modality: len(items) for modality, items in self.inputs.items()}
        negative = self.request.get("negative")
        # Without inputs a call takes one negative text.
        steered = negative is not None if self.inputs else negative
        return json.dumps([self.outputs, counts, told, steered], sort_keys=True)


def read_items(path: Path, defaults: Mapping[str, Any]) -> Iterator[Item]:
    """The items of a JSON Lines file, in order; a line that cannot be made is one with an ``error``.

    Args:
        path: a line of JSON for each item, such as ``{"text": "a rooster", "to": "image"}``. Files are named relative to its
            folder. Empty lines are skipped.
        defaults: what holds for lines that do not say it, by the same keys.
    """
    seen: dict[str, int] = {}
    with path.open("rb") as lines:
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            item = _item(line, f"{number:06d}", path.parent, defaults)
            if item.id in seen:
                what = f"id: {item.id!r} is that of line {seen[item.id] + 1}, too; give every line another one"
                item = Item(f"line-{number + 1}", item.request, error=what)
            seen[item.id] = number
            yield item


def _item(line: bytes, name: str, folder: Path, defaults: Mapping[str, Any]) -> Item:
    told: dict[str, Any] = {}
    try:
        told = _values(line)
        name = _name(told.get("id", name))
        told = {**{key: value for key, value in defaults.items() if value is not None}, **told}
        outputs = tuple(parse_modalities(told.get("to", ()), argument="to"))
        inputs = {modality: _inputs(modality, told[modality], folder) for modality in MODALITIES if modality in told}
        _check(told, inputs)
    except OpenCoDiError as error:
        return Item(name, told, error=str(error))
    return Item(name, told, inputs, outputs)


def _values(line: bytes) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"the line is not JSON ({error}); write {{\"text\": …}}") from error
    if not isinstance(told, dict):
        raise ArgumentError('the line is not a JSON object; write {"text": …}')
    known = (*KEYS, *map(str, MODALITIES))
    for key in told:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known)}"
            raise ArgumentError(f"unknown key {key!r}; {hint}")
    return told


def _name(given: Any) -> str:
    if not isinstance(given, str | int) or isinstance(given, bool) or not _ID.fullmatch(str(given)):
        raise ArgumentError(f"id: {str(given)[:40]!r} names no folder; use up to 100 letters, digits, '-', '_' and '.'")
    return str(given)


def _inputs(modality: str, given: Any, folder: Path) -> tuple[Any, ...]:
    """Texts as they are, files as paths."""
    listed = given if isinstance(given, list) else [given]
    if not listed or not all(isinstance(each, str) for each in listed):
        raise ArgumentError(f"{modality}: give a string, or a list of them")
    for each in listed:
        plain_text(modality, each)
    if modality == "text":
        return tuple(listed)
    files = [folder / each for each in listed]
    for file in files:
        if not file.is_file():
            raise ArgumentError(f"{modality}: {file}: there is no such file; paths are relative to the prompts file")
    return tuple(files)


def _check(told: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
    """Refuse what the pipeline would refuse, before anything is loaded."""
    for key, argument in WHOLE.items():
        if told.get(key) is not None:
            positive_integer(key, told[key], WHOLE_NUMBERS[argument])
    if told.get("guidance") is not None:
        finite_number("guidance", told["guidance"], NUMBERS["guidance_scale"])
    if told.get("negative") is not None:
        plain_text("negative", told["negative"])
    if told.get("seed") is not None:
        check_seeds("seed", told["seed"], 1)
    collect_weights(told.get("weights"), {modality: [[each] for each in items] for modality, items in inputs.items()})
