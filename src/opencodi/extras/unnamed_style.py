"""Where no style is asked for, one is drawn by chances."""

from collections.abc import Mapping
from typing import Any

from ..modality import Modality
from ..prompts.condition import Condition
from ..sampling.noise import streams
from ..sampling.request import Call
from .base import Extra


class UnnamedStyle(Extra):
    """Draws a style from the seed of each sample.

    Args:
        chances: of each style, ``{name: chance}``; the rest, up to 1, is none. None: those of the model's ``MannerReader``.
    """

    needs = ("manner_reader",)

    def __init__(self, chances: Mapping[str, float] | None = None):
        self.chances = chances

    def prompt(self, condition: Condition, call: Call, negative: bool = False) -> Condition:
        """The prompt of a picture with a style.

        Clips keep none: they are drawn in the one style that clips were trained on. Outputs made together keep none
        either: their latents are read by templates that have none (``summed_evidence``).
        """
        if negative or not call.seeds or Modality.VIDEO in call.outputs or len(call.outputs) > 1:
            return condition
        return call.part("manner_reader").in_some_style(condition, streams(call.seeds, "style"), self.chances)

    def settings(self) -> Mapping[str, Any]:
        """The chances."""
        return {} if self.chances is None else {"chances": self.chances}
