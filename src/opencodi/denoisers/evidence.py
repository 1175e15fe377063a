"""Evidence: what a noisy latent says about what is being made, as vectors whose inner products are log-likelihoods.

An environment encoder of the paper gives tokens of unit length. Where it is decided what is shown, such a token knows little
and does not say so. Evidence is not normalised: its inner product with a text's embedding is that text's log-likelihood (up
to a constant), its length is certainty, and the evidence of several modalities adds up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from .alignment import TEMPORAL
from .configuration import check_divides
from .environment import EnvironmentEncoder

LONGEST = 64.0
"""Length that evidence approaches where sub-layers attend to it: late in a run its true length has no bound."""


@dataclass(frozen=True)
class Evidence:
    """What was read from a noisy latent.

    Attributes:
        content: [B, K, D]: of the whole caption first, then of single things in any order.
        beats: [B, T], for each equal part of the sample's time the log-likelihood ratio of "something happens" and "nothing
            does"; None for what has no time.
    """

    content: Tensor
    beats: Tensor | None = None

    def roll(self, shift: int) -> Self:
        """That of other samples of the batch."""
        return type(self)(self.content.roll(shift, 0), None if self.beats is None else self.beats.roll(shift, 0))


class Reading(NamedTuple):
    """``Evidence`` before calibration."""

    content: Tensor
    beats: Tensor | None


class EvidenceEncoder(ModelMixin, ConfigMixin):
    """Noisy latents and their timesteps → evidence. A new one says nothing: its evidence is zero.

    A linear reading of the latent (with templates μ of each text, the ideal reading of Gaussian latents is linear) and a small
    network of convolutions add up.

    Args:
        latents: shape of the latents, see ``environment.LATENTS``.
        in_channels: of the latents.
        embedding_dim: D, of the shared space.
        num_tokens: K, one for the whole and others for things.
        channels: widths of the levels; the entry has half the first.
        num_res_blocks: residual blocks of each level.
        num_heads: of the attention that collects what the positions say.
        template_size: numbers of a latent (of a frame for clips) for the linear reading; latents of another size go without.
            None: no linear reading.
        tokens_per_feature: for ``"vector"``, as in ``FlatUNet``.
        time_channels, time_embedding_dim: of the timestep.
        norm_num_groups: groups of every group norm; must divide every width.
        beats: T, how many equal parts of the sample's time are read; 0: none.
        beats_per_position: how many of them each position along time reads, after all levels.
        temporal: sizes of temporal blocks, ``{name: value}`` of ``alignment.TEMPORAL``, for clips; None: no clips.
        calibration: rows ``[timestep, factor]``, by which evidence of content is multiplied; between them it is interpolated.

    Raises:
        ConfigurationError: if values do not fit together.
    """

    @register_to_config
    def __init__(
        self,
        latents: str = "map",
        in_channels: int = 8,
        embedding_dim: int = 256,
        num_tokens: int = 4,
        channels: tuple[int, ...] = (64, 128),
        num_res_blocks: int = 1,
        num_heads: int = 4,
        template_size: int | None = None,
        tokens_per_feature: int | None = None,
        time_channels: int = 64,
        time_embedding_dim: int = 256,
        norm_num_groups: int = 16,
        beats: int = 0,
        beats_per_position: int = 1,
        temporal: Mapping[str, float] | None = None,
        calibration: tuple[tuple[float, float], ...] = (),
    ):
        super().__init__()
        width = channels[-1]
        check_divides("num_heads", num_heads, [width])
        check_divides("norm_num_groups", norm_num_groups, [channels[0] // 2, *channels])
        self.trunk = EnvironmentEncoder(
            latents,
            in_channels,
            width,
            channels,
            num_res_blocks,
            tokens_per_feature,
            time_channels,
            time_embedding_dim,
            norm_num_groups,
            None if temporal is None else [*(temporal[name] for name in TEMPORAL), norm_num_groups],
        )
        self.queries = nn.Parameter(torch.randn(num_tokens, width) / width**0.5)
        self.collect = nn.MultiheadAttention(width, num_heads, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.out = nn.Parameter(torch.zeros(num_tokens, width, embedding_dim))
        self.template = None
        if template_size:
            self.template = nn.Linear(template_size, num_tokens * embedding_dim, bias=False)
            nn.init.zeros_(self.template.weight)
            self.gain = nn.Linear(time_embedding_dim, num_tokens)
            nn.init.zeros_(self.gain.weight)
            nn.init.ones_(self.gain.bias)
        self.beat_head, self.beat_prior = None, None
        if beats:
            self.beat_head = nn.Conv1d(width, beats_per_position, 3, padding=1)
            nn.init.zeros_(self.beat_head.weight)
            nn.init.zeros_(self.beat_head.bias)
            self.beat_prior = nn.Parameter(torch.tensor(-2.0))

    def forward(self, sample: Tensor, timesteps: Tensor) -> Reading:
        """Latents [B, ...] and timesteps [B] → what they say, not calibrated; see ``Evidence``."""
        x = self.trunk.features(sample, timesteps)
        positions = x.flatten(2).transpose(1, 2)
        queries = self.queries.expand(len(sample), -1, -1).to(positions.dtype)
        collected = self.collect(queries, positions, positions, need_weights=False)[0]
        collected = collected + self.mlp(self.norm(collected))
        content = torch.einsum("bkw,kwd->bkd", collected, self.out.to(collected.dtype))
        if self.template is not None:
            content = content + self._by_template(sample, timesteps)
        return Reading(content.float(), self._beats(x, sample.ndim == 5))

    def _by_template(self, sample: Tensor, timesteps: Tensor) -> Tensor:
        flat = (sample.mean(2) if sample.ndim == 5 else sample).flatten(1)
        if flat.shape[1] != self.config.template_size:
            return torch.zeros((), device=sample.device)
        gain = self.gain(self.trunk.time_embedding(timesteps, sample.dtype))
        return self.template(flat).unflatten(1, (self.config.num_tokens, -1)) * gain[..., None]

    def _beats(self, x: Tensor, is_clip: bool) -> Tensor | None:
        if self.beat_head is None:
            return None
        along_time = x.mean(dim=(3, 4)) if is_clip else x.squeeze(2).mean(dim=3)
        read = self.beat_head(along_time).transpose(1, 2).flatten(1)
        return F.interpolate(read[:, None], self.config.beats, mode="linear")[:, 0].float()

    def evidence(self, sample: Tensor, timesteps: Tensor) -> Evidence:
        """Calibrated evidence of latents [B, ...] at timesteps [B]."""
        read = self(sample, timesteps)
        return Evidence(read.content * self.factor(timesteps)[:, None, None], read.beats)

    def factor(self, timesteps: Tensor) -> Tensor:
        """By what the evidence at these timesteps [B] is multiplied, [B]."""
        rows = sorted(self.config.calibration)
        if not rows:
            return torch.ones(len(timesteps), device=timesteps.device)
        places, factors = torch.tensor(rows, device=timesteps.device, dtype=torch.float32).T.contiguous()
        times = timesteps.float().clamp(places[0], places[-1])
        after = torch.searchsorted(places, times).clamp(1, max(1, len(rows) - 1)).clamp(max=len(rows) - 1)
        before = (after - 1).clamp(min=0)
        width = (places[after] - places[before]).clamp(min=1e-6)
        share = ((times - places[before]) / width).clamp(0, 1)
        return factors[before] + share * (factors[after] - factors[before])


class CaptionBank(ModelMixin, ConfigMixin):
    """Embeddings of many captions and names, under which evidence becomes a prompt: its posterior mean embedding.

    Args:
        num_texts: K.
        embedding_dim: D, of the shared space.
        num_names: the first so many texts are plain names of things.
        prior_scale: inverse temperature of the prompt's cosines to the texts; also the length of a prompt as evidence.
        prior_ceiling: cosines count up to this share of the largest, so that kin of the nearest text stay possible.
        spread: how far evidence moves a prompt, as a share of how far it moves the posterior mean.
    """

    @register_to_config
    def __init__(
        self,
        num_texts: int,
        embedding_dim: int,
        num_names: int = 0,
        prior_scale: float = 20.0,
        prior_ceiling: float = 0.8,
        spread: float = 0.5,
    ):
        super().__init__()
        self.embeddings = nn.Parameter(torch.zeros(num_texts, embedding_dim), requires_grad=False)

    @classmethod
    def of(cls, embeddings: Tensor, num_names: int, **values: Any) -> Self:
        """A bank of these embeddings [K, D], names first."""
        bank = cls(*embeddings.shape, num_names, **values)
        bank.embeddings.data = F.normalize(embeddings.float(), dim=-1)
        return bank.to(embeddings.device)

    def prior(self, prompts: Tensor) -> Tensor:
        """Unnormalised log-probabilities [B, K] of the texts under prompts [B, D]; zeros say nothing."""
        cosines = F.normalize(prompts.float(), dim=-1) @ self.embeddings.float().T
        ceiling = self.config.prior_ceiling * cosines.amax(1, keepdim=True).clamp(min=0)
        return self.config.prior_scale * torch.minimum(cosines, ceiling)

    def mixture(self, prompts: Tensor, evidence: Tensor) -> Tensor:
        """Prompts [B, D] (zeros: none) moved by evidence [B, D]: the embeddings that the next step is prompted by, [B, D].

        A prompt moves as the posterior mean does. Without a prompt it is the posterior mean, as long as the correlation of a
        Gaussian channel that carries as much information: evidence that says nothing prompts by nothing.
        """
        texts, prior = self.embeddings.float(), self.prior(prompts)
        before, after = prior.log_softmax(1), (prior + evidence.float() @ texts.T).log_softmax(1)
        mean = after.exp() @ texts
        information = (after.exp() * (after - before)).sum(1, keepdim=True).clamp(min=0)
        moved = F.normalize(prompts.float() + self.config.spread * (mean - before.exp() @ texts), dim=-1)
        alone = F.normalize(mean, dim=-1) * (1 - (-2 * information).exp()).clamp(min=0).sqrt()
        return torch.where(prompts.norm(dim=-1, keepdim=True) > 0, moved, alone).to(prompts.dtype)

    def as_evidence(self, prompts: Tensor) -> Tensor:
        """Prompts [B, D] as evidence [B, D]."""
        return self.config.prior_scale * prompts.float()


def summed_beats(readings: Sequence[Evidence]) -> Tensor | None:
    """What all that have time say of when something happens, [B, T]; None if none has."""
    known = [each.beats for each in readings if each.beats is not None]
    return sum(known) if known else None


def as_tokens(total: Tensor, things: Tensor, beats: Tensor | None) -> Tensor:
    """What alignment sub-layers attend to: summed evidence [B, D], that of things [B, K, D], and beats [B, T] as tokens of one
    fixed direction: [B, 1 + K + T, D].
    """
    parts = [total[:, None], things]
    if beats is not None:
        direction = torch.ones(total.shape[-1], device=total.device)
        direction[1::2] = -1
        parts.append(beats[..., None] * F.normalize(direction, dim=0))
    tokens = torch.cat(parts, dim=1)
    return tokens / (1 + tokens.norm(dim=-1, keepdim=True) / LONGEST)
