"""Where no style is asked for, one is drawn at random, so that several pictures of one name differ.

With this, features of 16 pictures of one name differ by 77 % as much as those of real drawings (``docs/results/README.md``).
"""

from ..modality import Modality
from ..prompts.condition import Condition
from ..sampling.noise import streams
from ..sampling.request import Call
from .base import Extra


class UnnamedStyle(Extra):
    """Draws a style by ``MannerReader``'s ``unnamed_styles``, from the seed of each sample."""

    needs = ("manner_reader",)

    def prompt(self, condition: Condition, call: Call, negative: bool = False) -> Condition:
        """The prompt with a style. Clips keep none: they are drawn in the one style that clips were trained on."""
        if negative or Modality.VIDEO in call.outputs:
            return condition
        return call.part("manner_reader").in_some_style(condition, streams(call.seeds, "style"))
