"""What the paper does not have, one file per idea. The core runs without any of it (``extras=()``, ``--plain``).

A model folder lists the extras that it is used with, and their settings, under ``extras`` in ``model_index.json``.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from ..errors import ArgumentError
from .anchored_exchange import AnchoredExchange
from .audible_names import AudibleNames
from .base import Extra, PromptInput
from .candidates import Candidates
from .in_turn import OutputsInTurn
from .manner import MannerReader, ReadManner
from .manner_decision import MannerDecision
from .motion_renderer import MotionRenderer
from .name_evidence import NameEvidence, SummedEvidence
from .prompt_anchors import AnchoredPrompts, PromptAnchors
from .proofreading import Proofreading
from .rereading import Rereading
from .swapped_partners import SwappedPartners
from .text_bridge import TextBridge
from .understood_wording import UnderstoodWording
from .unnamed_style import UnnamedStyle

EXTRAS: dict[str, type[Extra]] = {
    "understood_wording": UnderstoodWording,
    "manner": ReadManner,
    "prompt_anchors": AnchoredPrompts,
    "manner_decision": MannerDecision,
    "unnamed_style": UnnamedStyle,
    "in_turn": OutputsInTurn,
    "rereading": Rereading,
    "text_bridge": TextBridge,
    "summed_evidence": SummedEvidence,
    "audible_names": AudibleNames,
    "candidates": Candidates,
    "proofreading": Proofreading,
    "anchored_exchange": AnchoredExchange,
    "motion_renderer": MotionRenderer,
    "swapped_partners": SwappedPartners,
}
"""Name → class, in the order in which they apply."""


def build(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Extra]:
    """The extras of these names with their settings, in the order in which they apply.

    Raises:
        ArgumentError: if a name or a setting is unknown.
    """
    check_names(settings)
    built = {}
    for name in (name for name in EXTRAS if name in settings):
        try:
            built[name] = EXTRAS[name](**settings[name])
        except TypeError as error:
            raise ArgumentError(f"extras: {name} cannot be made with {dict(settings[name])}: {error}") from error
    return built


def check_names(names: Iterable[str]) -> None:
    """Refuse a name that is no extra.

    Raises:
        ArgumentError: naming the nearest one.
    """
    for name in names:
        if name not in EXTRAS:
            near = get_close_matches(str(name), EXTRAS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(EXTRAS)}"
            raise ArgumentError(f"extras: {name!r} is unknown; {hint}")


def call_arguments() -> dict[str, str]:
    """Argument of a call → name of the extra that it belongs to."""
    return {argument: name for name, kind in EXTRAS.items() for argument in kind.arguments}


__all__ = [
    "EXTRAS",
    "Extra",
    "MannerReader",
    "NameEvidence",
    "PromptAnchors",
    "PromptInput",
    "build",
    "call_arguments",
    "check_names",
]
