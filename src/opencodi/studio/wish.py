"""What a visitor asks for: the form as plain values, read once and checked at the door."""

import math
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, OpenCoDiError
from ..modality import MODALITIES, Modality

NAMES = {"image": "picture", "video": "clip", "audio": "sound", "text": "caption"}
"""What the page calls the modalities."""

FILES = (Modality.IMAGE, Modality.VIDEO, Modality.AUDIO)
MAX_NUMBER = 6
MAX_STEPS = 200


@dataclass(frozen=True)
class Wish:
    """One filled form.

    Attributes:
        text: the prompt in words; empty for none.
        files: modality → file that was uploaded or recorded.
        weights: modality → weight, of the inputs that are there.
        outputs: what to make.
        negative: what to steer away from; empty for nothing.
        steps, guidance, partner_guidance: None for the model's own.
        seed: of the first result; the next have the next seeds.
        number: of results.
        model: its name.
    """

    text: str = ""
    files: dict[str, str] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    outputs: tuple[str, ...] = ("image",)
    negative: str = ""
    steps: int | None = None
    guidance: float | None = None
    partner_guidance: float | None = None
    seed: int = 0
    number: int = 1
    model: str = "stickers"

    @property
    def inputs(self) -> list[str]:
        """The modalities that are given."""
        return (["text"] if self.text else []) + list(self.files)

    def summary(self) -> str:
        """It in a few words."""
        others = " + ".join(NAMES[name] for name in self.files)
        said = " + ".join(part for part in (self.text, others) if part)
        return said or "nothing in particular"


def read_wish(values: dict[str, Any]) -> Wish:
    """The form's values as a wish; a seed is drawn if none is given.

    Raises:
        ArgumentError: if no output is ticked, or a number makes no sense.
    """
    outputs = tuple(name for name in MODALITIES if name in (values.get("outputs") or ()))
    if not outputs:
        raise ArgumentError("Tick at least one thing to make: a picture, a clip, a sound or a caption.")
    text = (values.get("text") or "").strip()
    files = {name: str(values[name]) for name in FILES if values.get(name)}
    given = ([Modality.TEXT] if text else []) + list(files)
    weights = {str(name): _number(values.get(f"{name}_weight", 1.0), f"The weight of {name}", 0, 10) for name in given}
    if weights and not any(weights.values()):
        raise ArgumentError("All weights are 0: give at least one input some weight.")
    seed = _whole(values.get("seed"), "The seed", 0, 2**63 - MAX_NUMBER)
    return Wish(
        text=text,
        files={str(name): path for name, path in files.items()},
        weights=weights,
        outputs=outputs,
        negative=(values.get("negative") or "").strip(),
        steps=_whole(values.get("steps"), "The number of steps", 1, MAX_STEPS),
        guidance=_number(values.get("guidance"), "Guidance", 0, 30),
        partner_guidance=_number(values.get("partner_guidance"), "Partner guidance", 0, 30),
        seed=secrets.randbelow(2**31) if seed is None else seed,
        number=_whole(values.get("number"), "The number of results", 1, MAX_NUMBER) or 1,
        model=str(values.get("model") or "stickers"),
    )


def read_file(modality: str, path: str) -> Any:
    """A file as a media object.

    Raises:
        MediaError: its message names the file, but not the folder that the server keeps it in.
    """
    from ..media import read

    try:
        return read(modality, path)
    except OpenCoDiError as error:
        raise type(error)(str(error).replace(str(path), Path(path).name)) from error


def _number(value: Any, name: str, least: float, most: float) -> float | None:
    """A number, or its digits; nothing is None."""
    try:
        number = None if value is None or not str(value).strip() else float(str(value).replace(",", "."))
    except ValueError:
        number = math.nan
    if number is not None and not least <= number <= most:  # nan, too
        raise ArgumentError(f"{name} must be a number from {least:g} to {most:g}.")
    return number


def _whole(value: Any, name: str, least: int, most: int) -> int | None:
    """A whole number, or its digits; nothing is None."""
    said = "" if value is None else str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()
    if not said:
        return None
    if not said.isdecimal() or len(said) > 20 or not least <= int(said) <= most:
        raise ArgumentError(f"{name} must be a whole number from {least:,} to {most:,}.")
    return int(said)
