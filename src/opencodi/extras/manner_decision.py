"""Of several styles, and of several motions, that inputs ask for, one is drawn: a mixture of styles is none."""

from ..prompts.condition import Condition
from ..sampling.request import Call
from .base import Extra


class MannerDecision(Extra):
    """Leaves the style and the motion that lead, each fully (``MannerReader.decided``)."""

    needs = ("manner_reader",)

    def prompt(self, condition: Condition, call: Call, negative: bool = False) -> Condition:
        """The prompt with at most one style and one motion."""
        return call.part("manner_reader").decided(condition)
