"""How large the numbers of a call may be, and the checks that hold them to it. Imports no library.

The upper limits are far above what is useful. They turn a slip of the keyboard into a sentence instead of hours of work or a
machine without memory. Numbers of numpy count as numbers; strings and booleans do not.
"""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from .errors import ArgumentError

WHOLE_NUMBERS: dict[str, tuple[int, int]] = {
    "num_inference_steps": (1, 1000),  # the models' noise schedules have 1,000 steps
    "num_candidates": (1, 256),
    "num_outputs_per_prompt": (1, 1024),
    "height": (1, 4096),
    "width": (1, 4096),
    "num_frames": (1, 3600),
    "seed": (0, 2**64 - 1),
}
"""Argument → smallest and largest value."""

NUMBERS: dict[str, tuple[float, float]] = {
    "guidance_scale": (-100.0, 100.0),
    "modality_scale": (-100.0, 100.0),
    "seconds": (0.001, 600.0),
    "weights": (0.0, 1000.0),
}
"""Argument → smallest and largest value."""

CHARACTERS = 10_000
"""Of one prompt in words."""

PIXELS = 2**28
"""Height x width x frames of one picture or clip."""


def positive_integer(argument: str, value: Any, limit: tuple[int, int] | None = None) -> int:
    """A whole number of at least 1, or within the limits of that argument.

    Raises:
        ArgumentError: if it is anything else.
    """
    least, most = limit or WHOLE_NUMBERS.get(argument, (1, 2**31 - 1))
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= value <= most:
        raise ArgumentError(
            f"{argument}: must be a whole number of at least {least} and at most {most:,}, got {short(value)}"
        )
    return int(value)


def finite_number(argument: str, value: Any, limit: tuple[float, float] | None = None) -> float:
    """A finite number, within the limits of that argument if it has any.

    Raises:
        ArgumentError: if it is anything else.
    """
    least, most = limit or NUMBERS.get(argument, (-1e9, 1e9))
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or (not isinstance(value, Integral) and not math.isfinite(value)):
        raise ArgumentError(f"{argument}: must be a finite number of at most {most:g}, got {short(value)}")
    if value > most:
        raise ArgumentError(f"{argument}: {short(value)} is too large; give at most {most:g}")
    if not value >= least:
        raise ArgumentError(f"{argument}: {short(value)} is too small; give at least {least:g}")
    return float(value)


def optional_number(argument: str, value: Any) -> float | None:
    """A finite number within the limits of that argument, or None.

    Raises:
        ArgumentError: if it is anything else.
    """
    return None if value is None else finite_number(argument, value)


def interval(argument: str, value: Any) -> tuple[float, float]:
    """A part ``(start, end)`` of the steps, as fractions: 0 <= start < end <= 1.

    Raises:
        ArgumentError: if it is anything else.
    """
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
        raise ArgumentError(f"{argument}: must be two numbers, start and end, got {short(value)}")
    start, end = (finite_number(argument, bound) for bound in value)
    if not 0 <= start < end <= 1:
        raise ArgumentError(f"{argument}: must satisfy 0 <= start < end <= 1, got {short(value)}")
    return start, end


def one_of(argument: str, value: Any, choices: Sequence[str]) -> str:
    """One of a few names.

    Raises:
        ArgumentError: if it is anything else.
    """
    if not isinstance(value, str) or value not in choices:
        raise ArgumentError(f"{argument}: {short(value)} is not one of {', '.join(choices)}")
    return value


def plain_text(argument: str, value: Any) -> str:
    """A prompt in words: a string of valid characters, not longer than ``CHARACTERS``.

    Raises:
        ArgumentError: if it is anything else.
    """
    if not isinstance(value, str):
        raise ArgumentError(f"{argument}: expected text, got {type(value).__name__}")
    if len(value) > CHARACTERS:
        raise ArgumentError(f"{argument}: has {len(value):,} characters; give at most {CHARACTERS:,}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ArgumentError(f"{argument}: {short(value)} is not valid UTF-8 text; check its encoding") from None
    return value


def check_seeds(argument: str, seed: int, number: int) -> None:
    """See that ``seed``, ``seed + 1``, … for ``number`` results are all seeds.

    Raises:
        ArgumentError: if one of them is too large or negative.
    """
    least, most = WHOLE_NUMBERS["seed"]
    if seed < least or seed + number - 1 > most:
        raise ArgumentError(
            f"{argument}: {seed} is out of range; give a number from {least} to {most - number + 1}"
            + (f", so that all {number} seeds fit" if number > 1 else "")
        )


def short(value: Any) -> str:
    """What was given, in at most about 60 characters of one line."""
    if isinstance(value, Integral) and not isinstance(value, bool) and abs(int(value)) > 10**30:
        return "a number of more than 30 digits"
    shown = " ".join(repr(value).split())
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
