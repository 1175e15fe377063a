"""Several results are made, and the one is kept that its prompt encoder reads nearest to the prompt.

As Ramesh et al. 2021 do with CLIP and Liu et al. 2023 with CLAP. What it buys
stands in ``docs/results/extras.json``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import check_keys, positive_integer
from ..errors import ArgumentError
from ..modality import MODALITIES
from ..sampling.plans import Samples
from ..sampling.request import Call, Request
from ..sampling.sample import Latents
from .base import Extra


class Candidates(Extra):
    """Makes several of each output.

    Outputs made together are kept together, so that candidates are whole results. There are several of these only if the
    call asks for them.

    Args:
        num_candidates: how many of an output that is made alone, for all outputs or for each: ``{"audio": 2}``. A call may
            say otherwise.
    """

    arguments = ("num_candidates",)
    reads = True

    def __init__(self, num_candidates: int | Mapping[str, int] = 1):
        self.num_candidates = num_candidates

    def check(self, call: Call) -> None:
        """Refuse numbers that make no sense, and outputs that the model cannot read.

        Raises:
            ArgumentError: if a number is not a positive integer, or a prompt encoder is missing.
        """
        for modality in call.outputs:
            name = MODALITIES[modality].prompt_encoder
            if self._number(modality, call) > 1 and not call.has(name):
                raise ArgumentError(
                    f"this model has no {name}, which it needs to choose among candidates of {modality}"
                )
        given = call.options.get("num_candidates")
        if isinstance(given, Mapping):
            check_keys("num_candidates", given, call.outputs, "which is not among the outputs")

    def sampler(self, sampler: Samples, call: Call) -> Samples:
        """The sampler that makes several and keeps one."""
        return _Choosing(sampler, self)

    def settings(self) -> Mapping[str, Any]:
        """How many."""
        return {"num_candidates": self.num_candidates}

    def _number(self, modality: str, call: Call) -> int:
        given, usual = call.options.get("num_candidates"), self.num_candidates
        usual = usual.get(modality, 1) if isinstance(usual, Mapping) else usual
        number = given.get(modality, usual) if isinstance(given, Mapping) else usual if given is None else given
        return positive_integer("num_candidates", number)


@dataclass(frozen=True)
class _Choosing:
    inner: Samples
    extra: Candidates

    def __call__(self, request: Request, given: Latents | None = None, joint: bool | None = None) -> Latents:
        """Make ``request.outputs`` several times and keep the nearest of each sample."""
        call = request.call
        numbers = {m: self.extra._number(m, call) for m in request.outputs if m not in request.noise.given}
        if len(request.outputs) > 1 and "num_candidates" not in call.options:
            numbers = {}
        draws = max(numbers.values(), default=1)
        if draws == 1:
            return self.inner(request, given, joint)
        made = self.inner(replace(request, draws=draws), given, joint)
        prompts = request.condition.tokens[:, 0]
        nearness = sum(
            cosines(call.read(m, call.decode(m, made[m])).tokens[:, 0], prompts)
            for m, number in numbers.items()
            if number > 1
        )
        return {modality: chosen(latents, nearness) for modality, latents in made.items()}

    def num_ticks(self, request: Request) -> int:
        """Candidates are made side by side, in the same ticks."""
        return self.inner.num_ticks(request)


def cosines(embeddings: Tensor, prompts: Tensor) -> Tensor:
    """Cosines [B, n] of embeddings [B * n, D], those of a sample in a row, to prompts [B, D]; 0 where there is none."""
    each = F.normalize(embeddings.float(), dim=-1).unflatten(0, (len(prompts), -1))
    return torch.einsum("bnd,bd->bn", each, F.normalize(prompts.to(each), dim=-1))


def chosen(candidates: Tensor, nearness: Tensor) -> Tensor:
    """Of candidates [B * n, ...] the nearest of each sample [B, ...]; of equal ones the first. ``nearness``: [B, n]."""
    best = nearness.argmax(1).to(candidates.device)
    return candidates.unflatten(0, tuple(nearness.shape))[torch.arange(len(best), device=best.device), best]
