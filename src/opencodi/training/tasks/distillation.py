"""Stage 4 by distillation: alignment sub-layers learn to hear evidence, in place of environment tokens (paper §3.3).

The prompt path is the one that denoisers follow best. So the teacher is the same denoiser, prompted by the joint posterior of
all evidence; the student sees a vague prompt or none, and the evidence through its sub-layers. Its states are noised real
pairs, and states of its own joint trajectories, since what helps on the first alone was measured not to make outputs agree.
"""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field

from ...data.joint import JointItems
from ...denoisers import AlignmentAdapter, CaptionBank, ComposedDenoiser, Evidence, EvidenceEncoder, TemporalAdapter
from ...errors import ConfigurationError
from ...modality import MODALITIES, Modality, parse_modalities
from ...prompts import Condition
from ...sampling import Guidance, sample
from ...sampling.evidence import evidence_context
from ...sampling.plans import CAPTION_BANK, EVIDENCE_SPANS
from ..components import ModelFolder, build_network
from ..composed import DENOISERS, changed
from ..objective import blurred, draw_noise, draw_within, is_flow, make_scheduler, noised
from ..recipe import Values
from ..task import Task

LEVELS = (950, 850, 750, 500)
"""Thousandths of the schedule at which losses are measured."""

BEAT_LEVELS = (990, 970)
"""More of them for pairs that have time."""

OTHER_BEAT = 5
"""By so many beats a partner is moved to be off the beat."""

MOST_HELD = 32

States = tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]
"""Noisy latents and timesteps [B] of both modalities."""


class DistillationTask(Task):
    """One pair of modalities."""

    class Settings(Values):
        """Which pair learns from what.

        Attributes:
            pair: the two modalities that are denoised together.
            train: those of the two whose sub-layers learn.
            network: {component: config values} of alignment adapters that are new, or that gain layers.
            scheduler: as in the diffusers' recipes.
            prompt_share: share of the pairs with a text prompt, blurred by ``condition_noise``.
            condition_noise: as the diffusers' ``condition_noise``; the more, the vaguer.
            mixture_share: share of the pairs whose prompt is the posterior already, as in sampling: there sub-layers learn what
                is missing still, such as the beat.
            window: timesteps in which it is decided what is made.
            window_share: share of the real pairs whose timestep lies there; the others are anywhere.
            ahead: {modality: log-SNR by which it is ahead of the other}. Texts can be read only at lower noise.
            own_share: share of each batch that are states of own joint trajectories.
            own_steps: {modality: steps of such a trajectory}.
            own_ticks: ticks after which it is left, at most.
            own_guidance: guidance scale towards the prompt on the way.
            denoising_weight: of the denoising loss on real pairs, beside the distance to the teacher. What a prompt cannot say
                (when something happens) is learned from this alone.
        """

        pair: tuple[str, ...]
        train: tuple[str, ...]
        network: dict[str, Any]
        scheduler: dict[str, Any]
        prompt_share: float = 0.3
        condition_noise: float = 0.1
        mixture_share: float = 0.3
        window: tuple[float, float] = (750, 950)
        window_share: float = 0.7
        ahead: dict[str, float] = Field(default_factory=dict)
        own_share: float = 0.5
        own_steps: dict[str, int] = Field(default_factory=dict)
        own_ticks: int = 8
        own_guidance: float = 3.0
        denoising_weight: float = 0.5

    def __init__(self, settings: Settings, data: tuple[JointItems, JointItems], parts: ModelFolder):
        super().__init__()
        self.settings = settings
        self.items, self.held = data
        self.pair = [str(m) for m in parse_modalities(settings.pair, "pair")]
        self.learning = [str(m) for m in parse_modalities(settings.train, "train")]
        if len(self.pair) != 2 or not set(self.learning) <= set(self.pair):
            raise ConfigurationError("pair: give two modalities, and in train one or both of them")
        if settings.own_share and not set(self.pair) <= set(settings.own_steps):
            raise ConfigurationError(f"own_steps: give steps of {' and '.join(self.pair)}, or make own_share 0")
        if not set(settings.ahead) <= set(self.pair):
            raise ConfigurationError(f"ahead: is for {' and '.join(self.pair)}, the modalities of the pair")
        self.scheduler = make_scheduler(settings.scheduler, parts.scheduler_config())
        if settings.ahead and is_flow(self.scheduler):
            raise ConfigurationError("ahead: needs a diffusion scheduler; leave it empty for a flow")
        self.bank = parts.load(CaptionBank, CAPTION_BANK)
        self.trained: dict[str, torch.nn.Module] = {}
        self.networks = torch.nn.ModuleDict({modality: self._compose(modality, parts) for modality in self.pair})

    def _compose(self, modality: str, parts: ModelFolder) -> ComposedDenoiser:
        record = MODALITIES[modality]
        if record.evidence is None or record.alignment is None:
            raise ConfigurationError(f"pair: {modality} has no evidence or no alignment; choose other modalities")
        denoiser = parts.load(DENOISERS[record.denoiser], record.denoiser)
        temporal = None if record.temporal is None else parts.load(TemporalAdapter, record.temporal)
        values = self.settings.network.get(record.alignment, {})
        if parts.has(record.alignment) or modality not in self.learning:
            alignment = changed(parts.load(AlignmentAdapter, record.alignment), values)
        else:
            alignment = build_network(AlignmentAdapter.for_denoiser, values, denoiser)
        if modality in self.learning:
            self.trained[record.alignment] = alignment.requires_grad_(True)
        evidence = parts.load(EvidenceEncoder, record.evidence)
        return ComposedDenoiser(denoiser, temporal, alignment, evidence=evidence)

    @property
    def denoisers(self) -> Mapping[str, ComposedDenoiser]:
        """The two networks by modality."""
        return {modality: self.networks[modality] for modality in self.pair}

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> dict[str, torch.Tensor]:
        """Latents of both modalities, condition [B, N, D] (zeros: no prompt) and mask [B, N]."""
        return self.items.draw(rng, batch_size, self.settings.prompt_share)

    # ------------------------------------------------------------------ states

    def forward(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Distances to the teacher on all states, and denoising losses on those of real pairs."""
        settings, count = self.settings, len(batch["condition"])
        condition = self._vague(Condition(batch["condition"], batch["mask"]), generator)
        times = draw_within(self.scheduler, count, generator, self.device, settings.window, settings.window_share)
        noisy, times, targets = self._real(batch, self._mapped(times), generator)
        own = round(settings.own_share * count) if self.training else 0
        if own:
            states, reached = self._own(_rows(condition, slice(own)), generator)
            noisy = {m: torch.cat([states[m], x[own:]]) for m, x in noisy.items()}
            times = {m: torch.cat([reached[m].to(t), t[own:]]) for m, t in times.items()}
        heard = self._heard(noisy, times)
        mixed = self._mixture(condition, heard)
        told = torch.rand(count, generator=generator, device=self.device) < settings.mixture_share
        seen = Condition(torch.where(told[:, None, None], mixed.tokens, condition.tokens), condition.mask)
        losses: dict[str, torch.Tensor] = {}
        total = torch.zeros((), device=self.device)
        for modality in self.learning:
            with torch.no_grad():
                teacher = self._predict(modality, noisy, times, mixed).float()
            student = self._predict(modality, noisy, times, seen, heard, condition).float()
            losses[modality] = F.mse_loss(student, teacher)
            total = total + losses[modality]
            if settings.denoising_weight and own < count:
                losses[f"{modality}_denoising"] = F.mse_loss(student[own:], targets[modality][own:])
                total = total + settings.denoising_weight * losses[f"{modality}_denoising"]
        return {"loss": total, **losses}

    def _vague(self, condition: Condition, generator: torch.Generator) -> Condition:
        if not (self.training and self.settings.condition_noise):
            return condition
        prompted = condition.tokens.norm(dim=-1, keepdim=True) > 0
        return Condition(blurred(condition.tokens, self.settings.condition_noise, generator) * prompted, condition.mask)

    def _mapped(self, times: torch.Tensor) -> dict[str, torch.Tensor]:
        """Timesteps [B] of both modalities that belong to those of one that is not ahead."""
        mapped = dict.fromkeys(self.pair, times)
        for modality, shift in self.settings.ahead.items():
            alphas = self.scheduler.alphas_cumprod.to(times.device)
            # From noise to data, so that it rises; a margin keeps the ends finite.
            ratio = (alphas.clamp(1e-8, 1 - 1e-8) / (1 - alphas.clamp(1e-8, 1 - 1e-8))).log().flip(0).contiguous()
            places = torch.searchsorted(ratio, ratio[len(ratio) - 1 - times] + shift).clamp(max=len(ratio) - 1)
            mapped[modality] = len(ratio) - 1 - places
        return mapped

    def _real(
        self, batch: Mapping[str, torch.Tensor], times: dict[str, torch.Tensor], generator: torch.Generator
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """(noisy latents, timesteps, targets) of real pairs."""
        noisy, targets = {}, {}
        for modality in self.pair:
            latents = batch[modality]
            noise = draw_noise(latents.shape, self.networks[modality], generator, latents.device)
            noisy[modality], targets[modality] = noised(self.scheduler, latents, noise, times[modality])
        return noisy, times, targets

    @torch.no_grad()
    def _own(self, condition: Condition, generator: torch.Generator) -> States:
        """States of joint trajectories of the model as it is, left after some ticks."""
        count, settings = len(condition.tokens), self.settings
        ticks = int(torch.randint(1, settings.own_ticks + 1, (), generator=generator, device=self.device))
        steps = dict.fromkeys(self.pair, 0)

        def note(timesteps: Mapping[str, torch.Tensor], _: Any) -> None:
            for modality in timesteps:
                steps[modality] += 1
            left.pop()

        left = [None] * ticks
        shapes = {m: (count, *self.items.sets[Modality(m)].latents.shape[1:]) for m in self.pair}
        noise = {m: draw_noise(shapes[m], self.networks[m], generator, self.device) for m in self.pair}
        nothing = Condition.zeros(count, condition.tokens.shape[-1], like=condition.tokens)
        latents = sample(
            self.denoisers,
            dict.fromkeys(self.pair, self.scheduler),
            noise,
            condition,
            nothing,
            num_inference_steps=settings.own_steps,
            guidance=dict.fromkeys(self.pair, Guidance(settings.own_guidance)),
            bank=self.bank,
            callback=note,
            interrupted=lambda: not left,
            spans={m: share for m, share in EVIDENCE_SPANS.items() if m in self.pair},
        )
        return latents, {m: self._reached(m, steps[m]).expand(count) for m in self.pair}

    def _reached(self, modality: str, steps: int) -> torch.Tensor:
        """The timestep after so many steps of an own trajectory; 0 at its end."""
        scheduler = copy.deepcopy(self.scheduler)
        scheduler.set_timesteps(self.settings.own_steps[modality], device=self.device)
        if steps >= len(scheduler.timesteps):
            return torch.zeros(1, dtype=scheduler.timesteps.dtype, device=self.device)
        return scheduler.timesteps[steps][None]

    # ------------------------------------------------------------------ teacher and student

    @torch.no_grad()
    def _heard(self, noisy: Mapping[str, torch.Tensor], times: Mapping[str, torch.Tensor]) -> dict[str, Evidence]:
        return {m: self.networks[m].evidence(noisy[m], times[m]) for m in self.pair}

    @torch.no_grad()
    def _mixture(self, condition: Condition, heard: Mapping[str, Evidence]) -> Condition:
        """The condition with the joint posterior as its first token."""
        total = sum(each.content[:, 0] for each in heard.values())
        first = self.bank.mixture(condition.tokens[:, 0], total)[:, None].to(condition.tokens.dtype)
        return Condition(torch.cat([first, condition.tokens[:, 1:]], dim=1), condition.mask)

    def _predict(
        self,
        modality: str,
        noisy: Mapping[str, torch.Tensor],
        times: Mapping[str, torch.Tensor],
        condition: Condition,
        heard: Mapping[str, Evidence] | None = None,
        asked: Condition | None = None,
    ) -> torch.Tensor:
        """The prediction of one modality; with ``heard``, through its sub-layers, beside the prompt ``asked``."""
        denoiser, sample_ = self.networks[modality], noisy[modality]
        environment = None
        if heard is not None:
            said = self.bank.as_evidence((asked or condition).tokens[:, 0])
            environment = evidence_context(list(heard.values()), said, denoiser.duration(sample_), sample_.dtype)
        prompt = denoiser.context(condition.tokens.to(sample_.dtype), condition.mask)
        return denoiser(sample_, times[modality], prompt, environment)

    # ------------------------------------------------------------------ measures

    @torch.no_grad()
    def validate(self, generator: torch.Generator) -> dict[str, float]:
        """Denoising losses on withheld pairs at a grid of timesteps, with the same noise: without a prompt, beside the ``true``
        partner, a ``wrong`` one and ``none`` (one's own evidence alone); ``told``: as in sampling, the posterior as the prompt
        as well. Where both have time, ``off_beat``: the true partner, moved along time.
        """
        count = min(len(self.held), MOST_HELD)
        if not count:
            return {}
        batch = {name: value.to(self.device) for name, value in self.held.first(np.arange(count)).items()}
        nothing = Condition.zeros(count, batch["condition"].shape[-1], like=batch["condition"])
        timed = all(self.networks[m].evidence_encoder.beat_head is not None for m in self.pair)
        found: dict[str, float] = {}
        for level in (*(BEAT_LEVELS if timed else ()), *LEVELS):
            time = int(level * self.scheduler.config.num_train_timesteps / 1000)
            times = self._mapped(torch.full((count,), time, device=self.device))
            noisy, times, targets = self._real(batch, times, generator)
            heard = self._heard(noisy, times)
            for m in self.learning:
                other = next(each for each in self.pair if each != m)
                ways = {
                    "true": (nothing, heard),
                    "wrong": (nothing, {m: heard[m], other: heard[other].roll(1)}),
                    "none": (nothing, {m: heard[m]}),
                    "told": (self._mixture(nothing, heard), heard),
                }
                if timed:
                    ways["off_beat"] = nothing, {m: heard[m], other: _moved(heard[other])}
                for name, (condition, evidence) in ways.items():
                    predicted = self._predict(m, noisy, times, condition, evidence, nothing).float()
                    found[f"{m}_{name}_at_{level}"] = float(F.mse_loss(predicted, targets[m]))
        return found

    def components(self) -> dict[str, Any]:
        """The alignment adapters that learned."""
        return dict(self.trained)


def _rows(condition: Condition, rows: slice) -> Condition:
    return Condition(condition.tokens[rows], condition.mask[rows])


def _moved(evidence: Evidence) -> Evidence:
    return Evidence(evidence.content, evidence.beats.roll(OTHER_BEAT, 1))
