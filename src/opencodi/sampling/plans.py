"""In which order the outputs of a call are denoised."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from ..denoisers.exchange import Exchange
from ..errors import ArgumentError
from ..modality import MODALITIES, Modality
from .request import Request
from .sample import Latents, interleave, sample
from .trajectory import num_timesteps

CAPTION_BANK = "caption_bank"
"""Component under which evidence becomes a prompt."""

EVIDENCE_SPANS = {Modality.TEXT: 0.35}
"""Texts walk their schedule in this share of the ticks: they can be read only at lower noise than pictures and sounds."""


class Samples(Protocol):
    """What a plan samples with: ``Sampler``, or an extra around one."""

    def __call__(self, request: Request, given: Latents | None = None, joint: bool | None = None) -> Latents:
        """Make all of ``request.outputs`` at once, beside the finished latents ``given``."""

    def num_ticks(self, request: Request) -> int:
        """How many ticks that takes: how often the callback is called."""


class ExchangePlan(Protocol):
    """How the outputs of a call are made."""

    def run(self, sampler: Samples, request: Request) -> Latents:
        """Latents [B, ...] of ``request.outputs``."""

    def num_ticks(self, sampler: Samples, request: Request) -> int:
        """How often the callback is called."""

    def made(self, request: Request) -> tuple[str, ...]:
        """The modalities that are denoised, hidden ones included."""


@dataclass(frozen=True)
class Sampler:
    """``sample`` with the denoisers and the scheduler of a model.

    Attributes:
        denoiser_of: modality, and whether several are made → denoiser.
        scheduler: any diffusers scheduler.
        exchange: see ``opencodi.denoisers.exchanged``.
        place: device and dtype in which denoisers run.
        side_by_side: whether they may run in several threads on a CPU.
    """

    denoiser_of: Callable[[str], Any]
    scheduler: Any
    exchange: Exchange
    place: Mapping[str, torch.device | torch.dtype]
    side_by_side: bool = False

    def __call__(self, request: Request, given: Latents | None = None, joint: bool | None = None) -> Latents:
        """Make all of ``request.outputs`` at once, beside the finished latents ``given``."""
        given = given or {}
        condition, unconditional = (
            each.repeated(request.draws).to(**self.place) for each in (request.condition, request.unconditional)
        )
        noise = {m: request.noise.draw(m, request.draws).to(**self.place) for m in request.outputs}
        return sample(
            {m: self.denoiser_of(m) for m in (*request.outputs, *given)},
            dict.fromkeys(request.outputs, self.scheduler),
            noise,
            condition,
            unconditional,
            num_inference_steps=request.num_inference_steps,
            guidance=request.guidance,
            exchange=self.exchange,
            given={m: x.repeat_interleave(request.draws, 0) for m, x in given.items()},
            joint=joint,
            generator=request.generator,
            callback=request.callback,
            interrupted=request.interrupted,
            prompts_of_tick=request.prompts_of_tick,
            spans=request.spans,
            side_by_side=self.side_by_side,
            bank=None if joint is False else request.bank,
        )

    def num_ticks(self, request: Request) -> int:
        """As many as the longest schedule has timesteps."""
        return len(
            interleave(
                {m: num_timesteps(self.scheduler, request.num_inference_steps[m]) for m in request.outputs},
                request.spans,
            )
        )


class Together:
    """All outputs are denoised at once and see one another at every step: the paper.

    Args:
        spans: share of the ticks in which a modality walks its schedule; 1 where not named. None: with evidence, texts are
            ahead (``EVIDENCE_SPANS``).
        evidence: whether outputs exchange evidence (``EvidenceExchange``) in place of environment tokens. None: if the model
            has a ``caption_bank`` and an evidence encoder for each of them.
    """

    def __init__(self, spans: Mapping[str, float] | None = None, evidence: bool | None = None):
        self.spans, self.evidence = None if spans is None else dict(spans), evidence

    def run(self, sampler: Samples, request: Request) -> Latents:
        """Latents [B, ...] of ``request.outputs``.

        Raises:
            ArgumentError: if evidence is asked for and the model lacks a part of it.
        """
        exchanges = self._exchanges(request)
        bank = request.call.part(CAPTION_BANK) if exchanges else None
        return sampler(replace(request, spans=self._spans(exchanges), bank=bank))

    def num_ticks(self, sampler: Samples, request: Request) -> int:
        """How often the callback is called."""
        return sampler.num_ticks(replace(request, spans=self._spans(self._exchanges(request))))

    def _spans(self, exchanges: bool) -> Mapping[str, float]:
        return (EVIDENCE_SPANS if exchanges else {}) if self.spans is None else self.spans

    def _exchanges(self, request: Request) -> bool:
        """Whether the outputs of this request exchange evidence."""
        if len(request.outputs) < 2 or self.evidence is False:
            return False
        needed = [CAPTION_BANK, *(MODALITIES[m].evidence for m in request.outputs)]
        missing = [str(name) for name in needed if name is None or not request.call.has(name)]
        if missing and self.evidence:
            raise ArgumentError(f"evidence: this model has no {missing[0]}; leave evidence out")
        return not missing

    def made(self, request: Request) -> tuple[str, ...]:
        """All of ``request.outputs``."""
        return request.outputs


class InTurn:
    """One output after another; the later ones see the earlier ones finished.

    Args:
        order: modalities; those that are not named come last.
    """

    def __init__(self, order: Sequence[str] = ()):
        self.order = tuple(order)

    def run(self, sampler: Samples, request: Request) -> Latents:
        """Latents [B, ...] of ``request.outputs``."""
        made: Latents = {}
        joint = len(request.outputs) > 1
        for modality in self.made(request):
            made |= sampler(replace(self.prompted(request, made), outputs=(modality,)), made, joint)
        return {modality: made[modality] for modality in request.outputs}

    def prompted(self, request: Request, made: Mapping[str, Tensor]) -> Request:
        """The request of the next output, once others are made; here it stays as it is."""
        return request

    def num_ticks(self, sampler: Samples, request: Request) -> int:
        """How often the callback is called."""
        return sum(sampler.num_ticks(replace(request, outputs=(modality,))) for modality in request.outputs)

    def made(self, request: Request) -> tuple[str, ...]:
        """``request.outputs`` in the order in which they are made."""
        rank = {modality: place for place, modality in enumerate(self.order)}
        return tuple(sorted(request.outputs, key=lambda modality: rank.get(modality, len(rank))))
