"""LoRA weights on the command line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..bounds import finite_number
from ..errors import ArgumentError
from .edge import shown


def parse_loras(given: Sequence[str] | None) -> list[tuple[Path, float]]:
    """``FILE`` or ``FILE:0.8`` → files, or folders, and their weights.

    Raises:
        ArgumentError: if one is not there, or its weight is no number.
    """
    found = []
    for each in given or ():
        file, colon, weight = each.rpartition(":")
        if not colon or Path(each).exists():
            file, weight = each, "1"
        try:
            number = float(weight)
        except ValueError:
            raise ArgumentError(f"--lora: {weight!r} is no number; write FILE:0.8") from None
        finite_number("--lora", number, (-10.0, 10.0))
        if not Path(file).exists():
            raise ArgumentError(f"--lora: {shown(file)}: there is no such file; give one of LoRA weights, or its folder")
        found.append((Path(file), number))
    return found


def add_loras(pipeline: Any, adapters: Sequence[tuple[Path, float]]) -> None:
    """Load LoRA weights and mix them."""
    names = [pipeline.load_lora_weights(file, f"lora_{place}") for place, (file, _) in enumerate(adapters)]
    if names:
        pipeline.set_adapters(names, [weight for _, weight in adapters])
