"""Texts are corrected by what the frozen sentence encoder understands.

The projection into the shared space learned from captions alone and misreads free wording. With this correction and
``prompt_anchors``, wording that no caption has gives a sensible picture in 64 % (``docs/results/README.md``).
"""

from dataclasses import replace

from ..modality import Modality
from ..sampling.request import Call
from .base import Extra, PromptInput


class UnderstoodWording(Extra):
    """Replaces what the projection misreads by what ``PromptAnchors.understood`` makes of the sentence embedding."""

    needs = ("prompt_anchors",)

    def inputs(self, inputs: list[PromptInput], call: Call) -> list[PromptInput]:
        """Texts with a corrected embedding; other inputs as they are."""
        anchors = call.part("prompt_anchors")
        return [
            replace(
                each,
                condition=anchors.understood(each.condition.to(anchors.device), each.features.to(anchors.device)),
            )
            if each.modality == Modality.TEXT and each.features is not None
            else each
            for each in inputs
        ]
