"""Environment encoders: what the other modalities see of a noisy latent (CoDi §3.3, SPEC §3)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import TimeEmbedding
from .layers import FlatLayers, Layers, MapLayers
from .temporal import temporal_block

LATENTS = ("map", "sequence", "tokens", "vector")
"""Shapes of latents: [B, C, h, w] (or clips [B, C, F, h, w]), [B, C, T], [B, N, C] and [B, C]."""


class EnvironmentBlock(nn.Module):
    """A residual part, with time for clips, or a step to the next level."""

    def __init__(
        self, residual: nn.Module | None = None, temporal: nn.Module | None = None, resample: nn.Module | None = None
    ):
        super().__init__()
        self.residual, self.temporal, self.resample = residual, temporal, resample

    def forward(self, x: Tensor, time_embedding: Tensor, num_frames: int | None) -> Tensor:
        """``x`` [B, C, h, w], frames folded into the batch, or [B, C * tokens] -> the next feature."""
        if self.resample is not None:
            return self.resample(x)
        x = self.residual(x, time_embedding)
        return x if self.temporal is None or num_frames is None else self.temporal(x, num_frames)


class EnvironmentEncoder(nn.Module):
    """A small network from noisy latents and their timesteps to tokens of unit length.

    Args:
        latents: their shape, one of ``LATENTS``.
        in_channels: channels of the latents.
        environment_dim: size of a token.
        channels: widths of the levels; the entry has half the first.
        num_res_blocks: residual blocks of each level.
        tokens_per_feature: for ``"vector"``, as in ``FlatUNet``.
        time_channels: of the sinusoid of the timestep.
        time_embedding_dim: width of the time embedding.
        norm_num_groups: groups of every group norm.
        temporal: sizes of the temporal blocks for clips (arguments of ``temporal_block`` after ``channels``); None: no clips.
    """

    def __init__(
        self,
        latents: str,
        in_channels: int,
        environment_dim: int,
        channels: Sequence[int],
        num_res_blocks: int,
        tokens_per_feature: int | None,
        time_channels: int,
        time_embedding_dim: int,
        norm_num_groups: int,
        temporal: Sequence[float] | None = None,
    ):
        super().__init__()
        self.latents = latents
        layers: Layers = MapLayers(time_embedding_dim, norm_num_groups)
        if latents == "vector":
            layers = FlatLayers(time_embedding_dim, norm_num_groups, tokens_per_feature or 1)
        self.time_embedding = TimeEmbedding(time_channels, time_embedding_dim)
        width = channels[0] // 2
        parts: list[nn.Module] = [layers.entry(in_channels, width)]
        for level, next_width in enumerate(channels):
            if level > 0:
                parts.append(EnvironmentBlock(resample=layers.down(width)))
            for _ in range(num_res_blocks):
                along_time = None if temporal is None else temporal_block(next_width, *temporal)
                parts.append(EnvironmentBlock(layers.residual(width, next_width), along_time))
                width = next_width
        parts.append(layers.head(width, environment_dim))
        self.layers = nn.ModuleList(parts)

    def forward(self, sample: Tensor, timesteps: Tensor, count: int) -> Tensor:
        """Latents and timesteps [B] → ``count`` tokens [B, count, environment_dim] along time."""
        x = self.features(sample, timesteps)
        if count == 1:
            return F.normalize(x.flatten(2).mean(dim=2), dim=-1)[:, None]
        # The time axis is the frames or, without any, the first of the positions.
        along_time = x.mean(dim=(3, 4)) if sample.ndim == 5 else x.squeeze(2).mean(dim=3)
        return F.normalize(F.adaptive_avg_pool1d(along_time, count).transpose(1, 2), dim=-1)

    def features(self, sample: Tensor, timesteps: Tensor) -> Tensor:
        """Latents and timesteps [B] → what each position says, [B, environment_dim, frames or 1, *positions]."""
        x, num_frames = self._as_maps(sample)
        time_embedding = self.time_embedding(timesteps, sample.dtype)
        if num_frames is not None:
            time_embedding = time_embedding.repeat_interleave(num_frames, dim=0)
        entry, *blocks, head = self.layers
        x = entry(x.contiguous())
        for block in blocks:
            x = block(x, time_embedding, num_frames)
        return head(x).unflatten(0, (sample.shape[0], -1)).transpose(1, 2)

    def _as_maps(self, sample: Tensor) -> tuple[Tensor, int | None]:
        """What the layers take, and the number of frames folded into its batch."""
        if self.latents == "sequence":
            return sample[..., None], None
        if self.latents == "tokens":
            return sample.transpose(1, 2)[..., None], None
        if sample.ndim == 5:
            return sample.transpose(1, 2).flatten(0, 1), sample.shape[2]
        return sample, None


def time_length(sample: Tensor, latents: str) -> int:
    """Positions along time of latents of that shape."""
    return sample.shape[1] if latents in ("tokens", "vector") else sample.shape[2]


def no_time(device: torch.device) -> Tensor:
    """When one token is that is about all of a sample: seconds [1], NaN."""
    return torch.full((1,), torch.nan, device=device)
