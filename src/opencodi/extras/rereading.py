"""A finished output counts as one more input of those that follow it.

It is decoded and read by the prompt encoder of its modality, as any input is. What it buys stands in
``docs/results/extras.json``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ArgumentError
from ..modality import MODALITIES, Modality
from ..prompts.condition import Condition
from ..sampling.plans import ExchangePlan, InTurn
from ..sampling.request import Call, Request
from .base import Extra


class Rereading(Extra):
    """Finished outputs join the prompt of a plan that makes outputs in turn.

    Args:
        weight: of all finished outputs together, beside the 1 of the prompt.
    """

    reads = True

    def __init__(self, weight: float = 6.0):
        self.weight = weight

    def plan(self, plan: ExchangePlan, call: Call) -> ExchangePlan:
        """The plan in which outputs are read again; a plan that makes them together stays as it is."""
        return RereadInTurn(plan.order, self.weight) if isinstance(plan, InTurn) else plan

    def settings(self) -> Mapping[str, Any]:
        """The weight."""
        return {"weight": self.weight}


class RereadInTurn(InTurn):
    """``InTurn`` with a prompt that finished outputs join."""

    def __init__(self, order: Sequence[str], weight: float):
        super().__init__(order)
        self.weight = weight

    def prompted(self, request: Request, made: Mapping[str, Tensor]) -> Request:
        """The request with what finished outputs show in its prompt; outputs that no encoder reads do not count."""
        call = request.call
        shown = [
            self._shown(modality, latents, call)
            for modality, latents in made.items()
            if all(map(call.has, readers(modality)))
        ]
        anchors = call.part("prompt_anchors").move if "anchored_exchange" in call.extras else None
        return replace(request, condition=joined_by(request.condition, shown, self.weight, anchors))

    def _shown(self, modality: str, latents: Tensor, call: Call) -> Tensor:
        read = call.read(modality, call.decode(modality, latents))
        if "prompt_anchors" in call.extras:
            anchors = call.part("prompt_anchors")
            read = anchors(read.to(anchors.device), only_text=modality == Modality.TEXT)
        return read.tokens.roll(1, 0) if "swapped_partners" in call.extras else read.tokens


def readers(modality: str) -> list[str]:
    """The components that reading a modality takes."""
    record = MODALITIES[modality]
    return [record.prompt_encoder, *record.prompt_encoder_parts.values()]


def joined_by(
    condition: Condition, shown: Sequence[Tensor], weight: float, anchors: Callable[[Tensor], Tensor] | None = None
) -> Condition:
    """A prompt with what finished outputs show as further inputs.

    Args:
        condition: the mixed prompt, tokens [B, N, D]; the first is the aligned embedding, zeros if there is none.
        shown: tokens [B, n, D] of each finished output, in the space of prompts.
        weight: of them together, beside the 1 of the prompt.
        anchors: moves the first token afterwards; None leaves it.

    Returns:
        The prompt with its first token moved, of length 1.

    Raises:
        ArgumentError: if these tokens and prompts differ in width: they are not of one space then.
    """
    if not shown or not weight:
        return condition
    widths = condition.tokens.shape[-1], shown[0].shape[-1]
    if widths[0] != widths[1]:
        raise ArgumentError(
            f"rereading: prompts have width {widths[0]} and outputs are read with width {widths[1]}; leave this extra out"
        )
    together = torch.stack([tokens.mean(1).to(condition.tokens) for tokens in shown]).mean(0)
    first = F.normalize(condition.tokens[:, 0] + weight * F.normalize(together, dim=-1), dim=-1)
    moved = first[:, None] if anchors is None else anchors(first[:, None])
    return replace(condition, tokens=torch.cat([moved, condition.tokens[:, 1:]], dim=1))
