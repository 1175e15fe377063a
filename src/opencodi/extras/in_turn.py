"""Outputs are made one after another instead of together, so that the later ones see the earlier ones finished.

The first model uses it where a hidden text comes first (``text_bridge``). What it buys stands in ``docs/results/extras.json``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..sampling.plans import ExchangePlan, InTurn
from ..sampling.request import Call
from .base import Extra


class OutputsInTurn(Extra):
    """The plan ``InTurn`` in place of ``Together``.

    Args:
        order: modalities in the order in which they are made.
    """

    def __init__(self, order: Sequence[str] = ("text", "audio", "image", "video")):
        self.order = list(order)

    def plan(self, plan: ExchangePlan, call: Call) -> ExchangePlan:
        """One output after another."""
        return InTurn(self.order)

    def settings(self) -> Mapping[str, Any]:
        """The order."""
        return {"order": self.order}
