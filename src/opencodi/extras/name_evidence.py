"""Outputs made together agree through what their noisy latents say about a list of names.

Where it is decided what is shown, the first model's environment tokens know the thing in 3 to 23 %, while its latents tell it
in 19 to 97 %. This extra reads the latents. At every step it adds up, for each known name, how likely the noisy latents of
all outputs and the prompt make it. The mean embedding under that distribution is every output's prompt, unless the prompt
names a thing already. Names are the bridge, so this is no part of the paper, but all outputs are denoised at once. It
replaces making them in turn.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from ..modality import Modality
from ..prompts.condition import Condition
from ..sampling.plans import ExchangePlan, Samples, Together
from ..sampling.request import Call, Request
from ..sampling.sample import Latents
from ..sampling.trajectory import Trajectory
from .base import Extra

UNKNOWN = -1e4
"""Log-likelihood of a name that a modality has no template for."""

NAMED = 0.85
"""Cosine to a name from which a prompt says which thing it means. Such a prompt stays as it is."""

SETTLED = 1e-3
"""A prompt that changes by less stays as it is, with all that denoisers computed from it."""

TEXT_SPAN = 0.35
"""Texts walk their schedule in this share of the ticks: they can be read only at lower noise than pictures."""


class NameEvidence(ModelMixin, ConfigMixin):
    """Names, and what the latents of each look like: templates μ of a Gaussian reading of noisy latents.

    A latent x at ᾱ gives a name the log-likelihood (√ᾱ x·μ − ᾱ|μ|²/2) / ((1 − ᾱ) + ᾱ r), with the residual variance r of
    the latents around their templates.

    Args:
        num_names: N.
        embedding_dim: D, of the shared space.
        readings: modality → ``{"count": names with a template, "size": numbers of a template, "residual_variance": r,
            "calibration": [[timestep, weight of the template, weight of the environment token], …] or None}``.
        prior_scale: inverse temperature of the prompt's cosines to names.
        prior_ceiling: cosines count up to this share of the largest, so that kin of the nearest name stay possible.
    """

    @register_to_config
    def __init__(
        self,
        num_names: int,
        embedding_dim: int,
        readings: Mapping[str, Mapping[str, Any]],
        prior_scale: float = 20.0,
        prior_ceiling: float = 0.8,
    ):
        super().__init__()
        self.embeddings = nn.Parameter(torch.zeros(num_names, embedding_dim), requires_grad=False)
        self.templates, self.places = nn.ParameterDict(), nn.ParameterDict()
        for name, each in readings.items():
            self.templates[name] = nn.Parameter(torch.zeros(each["count"], each["size"]), requires_grad=False)
            self.places[name] = nn.Parameter(torch.zeros(each["count"], dtype=torch.int16), requires_grad=False)

    def log_likelihood(self, modality: str, latents: Tensor, alphas: Tensor, timestep: float, tokens: Tensor) -> Tensor:
        """Log-probabilities [B, N] of the names, given noisy latents alone.

        Args:
            modality: of the latents; a clip is read as the mean of its frames.
            latents: [B, ...] at ᾱ ``alphas``.
            alphas: scalar ᾱ of the noise schedule.
            timestep: of the schedule, for the calibration.
            tokens: environment tokens [B, n, D] of these latents.
        """
        kind = Modality.IMAGE if modality == Modality.VIDEO else modality
        settings, templates = self.config.readings[kind], self.templates[kind].float()
        noisy = (latents.mean(2) if modality == Modality.VIDEO else latents).flatten(1).float()
        alphas = alphas.clamp(max=0.99).to(noisy)
        energy = alphas.sqrt() * noisy @ templates.T - alphas * templates.square().sum(1) / 2
        read = energy / ((1 - alphas) + alphas * settings["residual_variance"])
        places = self.places[kind].long()
        if settings["calibration"]:
            by_template, by_token = interpolated(settings["calibration"], timestep)
            mean = F.normalize(tokens.float().mean(1), dim=-1)
            read = by_template * read + by_token * mean @ self.embeddings[places].float().T
        known = torch.full((len(noisy), len(self.embeddings)), UNKNOWN, device=read.device)
        known[:, places] = read
        return known.log_softmax(1)

    def prior(self, prompts: Tensor) -> Tensor:
        """What prompts [B, D] say of the names, [B, N]; zeros say nothing."""
        cosines = F.normalize(prompts.float(), dim=-1) @ self.embeddings.float().T
        ceiling = self.config.prior_ceiling * cosines.amax(1, keepdim=True).clamp(min=0)
        return self.config.prior_scale * torch.minimum(cosines, ceiling)

    def nearest(self, prompts: Tensor) -> Tensor:
        """The cosine [B] of each prompt [B, D] to the name nearest to it."""
        return (F.normalize(prompts.float(), dim=-1) @ self.embeddings.float().T).amax(1)

    def without_template(self, modality: str) -> Tensor:
        """Which names [N] a modality has no template for."""
        lacks = torch.ones(len(self.embeddings), dtype=torch.bool, device=self.device)
        lacks[self.places[modality].long()] = False
        return lacks


def interpolated(calibration: Sequence[Sequence[float]], timestep: float) -> tuple[float, float]:
    """The two weights at a timestep, from rows of ``[timestep, weight, weight]``."""
    rows = sorted(calibration)
    below = max((row for row in rows if row[0] <= timestep), default=rows[0])
    above = min((row for row in rows if row[0] >= timestep), default=rows[-1])
    share = 0.0 if above[0] == below[0] else (timestep - below[0]) / (above[0] - below[0])
    return tuple(low + share * (high - low) for low, high in zip(below[1:], above[1:]))


class SummedEvidence(Extra):
    """Several outputs are made together, each prompted by what all their latents and the prompt say."""

    needs = ("name_evidence",)

    def plan(self, plan: ExchangePlan, call: Call) -> ExchangePlan:
        """Together, in place of any order in turn."""
        return Together({Modality.TEXT: TEXT_SPAN}) if len(call.outputs) > 1 else plan

    def sampler(self, sampler: Samples, call: Call) -> Samples:
        """The sampler, with prompts that follow the evidence."""
        return _WithEvidence(sampler) if len(call.outputs) > 1 else sampler


@dataclass(frozen=True)
class _WithEvidence:
    inner: Samples

    def __call__(self, request: Request, given: Latents | None = None, joint: bool | None = None) -> Latents:
        """Make ``request.outputs``; the alignment sub-layers rest, since the prompt says what they would."""
        if len(request.outputs) == 1:
            return self.inner(request, given, joint)
        return self.inner(replace(request, prompts_of_tick=_Prompts(request)), given, False)

    def num_ticks(self, request: Request) -> int:
        """As many as without evidence."""
        return self.inner.num_ticks(request)


class _Prompts:
    """The prompt of every output at each tick."""

    def __init__(self, request: Request):
        self.request, self.evidence = request, request.call.part("name_evidence")
        prompts = request.condition.tokens[:, 0].repeat_interleave(request.draws, 0).to(self.evidence.device)
        self.prompts: dict[str, Condition] = dict.fromkeys(request.outputs, request.condition.repeated(request.draws))
        self.prior, self.is_open = self.evidence.prior(prompts), self.evidence.nearest(prompts) < NAMED
        for modality in request.outputs:
            kind = Modality.IMAGE if modality == Modality.VIDEO else modality
            if kind == Modality.AUDIO:
                self.prior = self.prior.masked_fill(self.evidence.without_template(kind), -math.inf)

    def __call__(self, trajectories: Mapping[str, Trajectory], environment: Any) -> dict[str, Condition]:
        if not self.is_open.any():
            return self.prompts
        read = {m: self._read(m, trajectory, environment) for m, trajectory in trajectories.items()}
        swapped = "swapped_partners" in self.request.call.extras
        for modality, condition in self.prompts.items():
            # One's own evidence counts as well. In the control, the others' is that of another sample.
            parts = [each.roll(1, 0) if swapped and m != modality else each for m, each in read.items()]
            posterior = (sum(parts) + self.prior).softmax(1)
            mean = F.normalize(posterior @ self.evidence.embeddings.float(), dim=-1).to(condition.tokens)
            mean = torch.where(self.is_open[:, None].to(mean.device), mean, condition.tokens[:, 0])
            if (mean - condition.tokens[:, 0]).abs().max() > SETTLED:
                tokens = torch.cat([mean[:, None], condition.tokens[:, 1:]], dim=1)
                self.prompts[modality] = replace(condition, tokens=tokens)
        return self.prompts

    def _read(self, modality: str, trajectory: Trajectory, environment: Any) -> Tensor:
        latents, timesteps = trajectory.current()
        timestep = float(timesteps[0])
        alphas = trajectory.scheduler.alphas_cumprod[int(timestep)] if not trajectory.is_finished else torch.ones(())
        tokens = (
            environment(modality) if self.evidence.config.readings.get(modality, {}).get("calibration") else latents
        )
        return self.evidence.log_likelihood(modality, latents, alphas, timestep, tokens)
