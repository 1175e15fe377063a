"""Classifier-free guidance: towards the prompt, and towards the partners of a joint run, each with a scale of its own.

    ε(∅, ∅) + s_p [ε(p, ∅) − ε(∅, ∅)] + s_m [ε(p, y) − ε(p, ∅)]

with the prompt p (``guidance_scale`` s_p, Ho & Salimans 2022) and the partners y (``modality_scale`` s_m, as in LTX-2).
The passes that a step needs run as one batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..denoisers import Context
from ..prompts import Condition


class Pass(NamedTuple):
    """What one pass of a denoiser sees."""

    prompt: bool
    partners: bool


@dataclass(frozen=True)
class Guidance:
    """How one output is guided.

    Attributes:
        guidance_scale: s_p, towards the prompt; 1 is the plain conditional prediction, at half the cost.
        guidance_interval: which part of the steps is guided towards the prompt, ``(start, end)`` of 1 from noise to
            result; the others have scale 1 (Kynkäänniemi et al. 2024).
        modality_scale: s_m, towards the partners. None: every pass sees the partners, as in the published code.
        modality_interval: which part of the steps is guided towards the partners.
    """

    guidance_scale: float = 1.0
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    modality_scale: float | None = None
    modality_interval: tuple[float, float] = (0.0, 1.0)

    @property
    def is_guided(self) -> bool:
        """Whether any step needs the unconditional prompt."""
        return self.guidance_scale != 1

    def terms(self, progress: float, is_prompted: bool = True, has_partners: bool = False) -> dict[Pass, float]:
        """The passes of a step, each with its factor in the sum.

        Args:
            progress: the share of the steps that are done.
            is_prompted: whether the prompt differs from the unconditional one.
            has_partners: whether there is anything to attend to.
        """
        towards_prompt = self._scale_now(self.guidance_scale, self.guidance_interval, progress)
        if has_partners and self.modality_scale is not None:
            towards_partners = self._scale_now(self.modality_scale, self.modality_interval, progress)
            factors = {
                Pass(False, False): 1 - towards_prompt,
                Pass(True, False): towards_prompt - towards_partners,
                Pass(True, True): towards_partners,
            }
        else:
            factors = {Pass(False, has_partners): 1 - towards_prompt, Pass(True, has_partners): towards_prompt}
        if not is_prompted:  # both prompts give the same prediction, so that their factors add up
            merged: dict[Pass, float] = {}
            for each, factor in factors.items():
                merged[Pass(False, each.partners)] = merged.get(Pass(False, each.partners), 0.0) + factor
            factors = merged
        return {each: factor for each, factor in factors.items() if factor != 0}

    @staticmethod
    def _scale_now(scale: float, interval: tuple[float, float], progress: float) -> float:
        start, end = interval
        return scale if start <= progress < end else 1.0


class Prompts:
    """The prompt of a whole trajectory, prepared once for each combination of passes.

    Args:
        denoiser: the network that will attend to it.
        condition: the mixed prompt, tokens [B, N, D].
        unconditional: the negative or empty prompt [B, M, D], or None.
        dtype: of the latents.
    """

    def __init__(self, denoiser: Any, condition: Condition, unconditional: Condition | None, dtype: torch.dtype):
        self.denoiser, self.condition, self.dtype = denoiser, condition, dtype
        self.conditions = {True: condition, False: condition if unconditional is None else unconditional}
        self.is_prompted = unconditional is None or not condition.equals(unconditional)
        self._contexts: dict[tuple[Pass, ...], Context] = {}

    def context(self, passes: tuple[Pass, ...]) -> Context:
        """The prompts of these passes, one below the other: [len(passes) * B, N, D]."""
        if passes not in self._contexts:
            conditions = [self.conditions[each.prompt] for each in passes]
            length = max(condition.tokens.shape[1] for condition in conditions)
            missing = [length - condition.tokens.shape[1] for condition in conditions]
            tokens = [F.pad(c.tokens.to(self.dtype), (0, 0, 0, pad)) for c, pad in zip(conditions, missing)]
            masks = [F.pad(c.mask, (0, pad)) for c, pad in zip(conditions, missing)]
            attributes = stacked_attributes(conditions, self.dtype)
            self._contexts[passes] = self.denoiser.context(torch.cat(tokens), torch.cat(masks), attributes)
        return self._contexts[passes]


def stacked_attributes(conditions: list[Condition], dtype: torch.dtype) -> dict[str, Tensor]:
    """The attributes of several conditions one below the other, with zeros where a condition lacks one."""
    known = {name: value for condition in conditions for name, value in condition.attributes.items()}
    return {
        name: torch.cat([c.attributes.get(name, torch.zeros_like(value)).to(dtype) for c in conditions])
        for name, value in known.items()
    }


def guided_prediction(
    denoiser: Any,
    sample: Tensor,
    timesteps: Tensor,
    prompts: Prompts,
    terms: Mapping[Pass, float],
    environment: Context | None = None,
) -> Tensor:
    """The weighted sum of the predictions of several passes, from one batched pass.

    Args:
        denoiser: the network.
        sample: noisy latents [B, ...].
        timesteps: [B].
        prompts: of the trajectory.
        terms: passes and their factors, from ``Guidance.terms``.
        environment: tokens [B, n, E] of the partners, or None.

    Returns:
        Prediction [B, ...].
    """
    passes = tuple(terms)
    count = len(passes)
    if not any(each.partners for each in passes):
        environment = None
    elif environment is not None and count > 1:
        environment = environment.stacked(tuple(each.partners for each in passes))
    batch, times = torch.cat([sample] * count), torch.cat([timesteps] * count)
    predictions = denoiser(batch, times, prompts.context(passes), environment).chunk(count)
    return sum(factor * prediction for factor, prediction in zip(terms.values(), predictions))
