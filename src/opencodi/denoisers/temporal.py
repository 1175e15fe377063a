"""What turns an image network into a video network: attention, feed-forward and shift along time (SPEC §2.2)."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Self

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from torch import Tensor, nn

from ..errors import ArgumentError, ConfigurationError
from .adapter import Adapter, Call, Hook, check_names
from .blocks import attend, zero_init
from .context import Context
from .topology import residual_widths


def normalise(x: Tensor, dim: int, eps: float = 1e-5) -> Tensor:
    """Zero mean and unit biased variance along ``dim``; the variance is clamped at ``eps``, not increased by it."""
    centred = x - x.mean(dim, keepdim=True)  # torch.var_mean takes several times as long on a CPU
    return centred * centred.square().mean(dim, keepdim=True).clamp(min=eps).rsqrt()


def shift_later(x: Tensor, frames: int, dim: int) -> Tensor:
    """Move ``x`` ``frames`` later along ``dim``; the first frames become zero, the last are dropped."""
    length = x.shape[dim]
    if frames == 0:
        return x
    if frames >= length:
        return torch.zeros_like(x)
    kept = x.narrow(dim, 0, length - frames)
    return torch.cat([torch.zeros_like(x.narrow(dim, 0, frames)), kept], dim=dim)


class RelativePositionBias(nn.Module):
    """One logit per head for each pair of frames, from the signed logarithm of their distance."""

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(1, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, num_heads)
        )

    def forward(self, num_frames: int, device: torch.device | None = None) -> Tensor:
        """-> [heads, frames (query), frames (key)], computed on ``device``: offloaded weights cannot tell where."""
        frames = torch.arange(num_frames, device=device)
        distances = torch.arange(1 - num_frames, num_frames, device=device, dtype=self.net[0].weight.dtype)
        bias = self.net((distances.sign() * (distances.abs() + 1).log())[:, None])
        return bias[frames[:, None] - frames[None, :] + num_frames - 1].permute(2, 0, 1)


class TemporalAttention(nn.Module):
    """Attention among the frames of one position, both ways in time.

    Its norm runs over the *time* axis (SPEC §0.5), so it sees how a channel changes and not how large it is.
    """

    def __init__(self, channels: int, width: int, num_heads: int, max_frames: int, frame_rate: int):
        super().__init__()
        self.num_heads, self.max_frames, self.frame_rate = num_heads, max_frames, frame_rate
        self.position_embedding = nn.Parameter(torch.randn(1, max_frames, channels) * 0.02)
        self.frame_rate_embedding = nn.Parameter(torch.randn(1, max_frames, channels) * 0.02)
        self.norm_weight = nn.Parameter(torch.ones(channels))
        self.to_q = nn.Linear(channels, width, bias=False)
        self.to_k = nn.Linear(channels, width, bias=False)
        self.to_v = nn.Linear(channels, width, bias=False)
        self.to_out = zero_init(nn.Linear(width, channels, bias=False))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """``x`` [B, frames, positions, C], ``bias`` [heads, frames, frames] -> like ``x``, before the residual."""
        num_frames, positions = x.shape[1:3]
        embedding = self.position_embedding[0, :num_frames] + self.frame_rate_embedding[0, self.frame_rate - 1]
        normed = normalise(x + embedding[:, None], dim=1) * self.norm_weight
        query, key, value = (
            rearrange(layer(normed), "b f n (h d) -> (b n) h f d", h=self.num_heads)
            for layer in (self.to_q, self.to_k, self.to_v)
        )
        attended = attend(query, key, value, bias=bias.to(query.dtype)[None])
        return self.to_out(rearrange(attended, "(b n) h f d -> b f n (h d)", n=positions))


class TemporalFeedForward(nn.Module):
    """A gated feed-forward whose second half of hidden channels comes from the frame before."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.proj_in = nn.Linear(channels, 2 * width, bias=False)
        self.norm_weight = nn.Parameter(torch.ones(width))
        self.proj_out = zero_init(nn.Linear(width, channels, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [B, frames, positions, C] -> like ``x``, before the residual."""
        hidden, gate = self.proj_in(x).chunk(2, dim=-1)
        now, before = (hidden * F.gelu(gate)).chunk(2, dim=-1)
        hidden = torch.cat([now, shift_later(before, 1, dim=1)], dim=-1)
        return self.proj_out(normalise(hidden, dim=-1) * self.norm_weight)


class FrameShift(nn.Module):
    """A convolution within each frame; chunk ``i`` of 8 of its channels is then moved ``i`` frames later."""

    def __init__(self, channels: int, norm_num_groups: int, num_chunks: int = 8):
        super().__init__()
        self.num_chunks = num_chunks
        self.norm = nn.GroupNorm(norm_num_groups, channels, eps=1e-5)
        self.conv = zero_init(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """``x`` [B * frames, C, h, w] -> like ``x``, before the residual."""
        frames = self.conv(F.silu(self.norm(x))).unflatten(0, (-1, num_frames))
        return self.shift(frames).flatten(0, 1)

    def shift(self, frames: Tensor) -> Tensor:
        """``frames`` [B, frames, C, h, w] -> like it, chunk ``i`` of the channels moved ``i`` frames later."""
        shifted, (length, channels) = torch.zeros_like(frames), frames.shape[1:3]
        size = -(-channels // self.num_chunks)
        for later, start in enumerate(range(0, channels, size)):
            if later < length:
                place = slice(start, start + size)
                shifted[:, later:, place] = frames[:, : length - later, place]
        return shifted


class TemporalBlock(nn.Module):
    """Temporal attention, feed-forward and frame shift, each a residual branch that starts as an identity.

    Args:
        channels: channels of the feature map.
        num_heads: heads of the temporal attention.
        attention_mult: width of the attention, as a multiple of ``channels`` (2 in the reference).
        feed_forward_mult: width of the feed-forward, as a multiple of ``channels`` (8/3 in the reference).
        max_frames: longest video; rows of the position table (30 in the reference).
        frame_rate: row of the frame-rate table that is used, counted from 1 (always 4 in the reference).
        norm_num_groups: groups of the frame shift's norm.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        attention_mult: float,
        feed_forward_mult: float,
        max_frames: int,
        frame_rate: int,
        norm_num_groups: int,
    ):
        super().__init__()
        self.position_bias = RelativePositionBias(channels // 2, num_heads)
        self.attention = TemporalAttention(channels, int(attention_mult * channels), num_heads, max_frames, frame_rate)
        self.feed_forward = TemporalFeedForward(channels, int(feed_forward_mult * channels))
        self.frame_shift = FrameShift(channels, norm_num_groups)

    def forward(self, x: Tensor, num_frames: int, prompt: Context | None = None) -> Tensor:
        """``x`` [B * frames, C, h, w] -> like ``x``. ``prompt``, if given, keeps the position bias for the next call.

        Raises:
            ArgumentError: if the video has more frames than the position table has rows.
        """
        if num_frames > self.attention.max_frames:
            raise ArgumentError(f"num_frames: {num_frames} frames, but this model makes {self.attention.max_frames}")
        height = x.shape[2]
        # Linear layers on a strided view multiply position by position, with copies that cost more than the products.
        tokens = rearrange(x, "(b f) c h w -> b f (h w) c", f=num_frames).contiguous()
        tokens = tokens + self.attention(tokens, self._bias(num_frames, x.device, prompt))
        tokens = tokens + self.feed_forward(tokens)
        maps = rearrange(tokens, "b f (h w) c -> (b f) c h w", h=height).contiguous()
        return maps + self.frame_shift(maps, num_frames)

    def _bias(self, num_frames: int, device: torch.device, prompt: Context | None) -> Tensor:
        if prompt is None:
            return self.position_bias(num_frames, device)
        return prompt.kept((self, num_frames), lambda: self.position_bias(num_frames, device))


class TemporalAdapter(Adapter):
    """What a video has beyond an image: temporal blocks after named modules of an image network (CoDi §3.2).

    As diffusers' ``MotionAdapter`` is to a UNet. Frames are folded into the batch around the network (``fold``), which sees
    images; a block sees the frames of a clip together.

    Args:
        block_names: modules of the network whose output [B * frames, C, h, w] a block takes.
        channels: C at each of them.
        num_heads, attention_mult, feed_forward_mult, max_frames, frame_rate, norm_num_groups: see ``TemporalBlock``.
        shared_frame_noise: share of the variance of a clip's noise that all its frames have in common, in training and
            in sampling (``opencodi.sampling.noise.share_frame_noise``); 0 as published.
        seconds_per_frame: from one frame of a clip to the next; None: clips have no time in seconds.

    Raises:
        ConfigurationError: if heads do not divide the width of the attention somewhere.
    """

    @register_to_config
    def __init__(
        self,
        block_names: tuple[str, ...],
        channels: tuple[int, ...],
        num_heads: int = 8,
        attention_mult: float = 2.0,
        feed_forward_mult: float = 8 / 3,
        max_frames: int = 30,
        frame_rate: int = 4,
        norm_num_groups: int = 32,
        shared_frame_noise: float = 0.0,
        seconds_per_frame: float | None = None,
    ):
        super().__init__()
        check_names(block_names, channels)
        sizes = num_heads, attention_mult, feed_forward_mult, max_frames, frame_rate, norm_num_groups
        self.blocks = nn.ModuleList(temporal_block(width, *sizes) for width in channels)

    @classmethod
    def for_denoiser(cls, config: Mapping[str, Any], levels: tuple[bool, ...] | None = None, **values: Any) -> Self:
        """A new adapter, which adds nothing yet, for one of our networks: after the residual parts of its blocks.

        Args:
            config: of the ``UNet``.
            levels: per level, whether its blocks get one (the middle follows the last level); all by default.
            **values: the other arguments.
        """
        return cls(**temporal_config(config, levels, **values))

    def hooks(self) -> dict[str, Hook]:
        """A temporal block after each of ``block_names``."""
        return {name: partial(self._after, number) for number, name in enumerate(self.config.block_names)}

    def _after(self, number: int, x: Tensor, call: Call) -> Tensor:
        return x if call.num_frames is None else self(x, call.num_frames, number, call.prompt)

    def forward(self, x: Tensor, num_frames: int, number: int, prompt: Context | None = None) -> Tensor:
        """``x`` [B * frames, C, h, w] through the block of that number. (Offloaded weights come when a module is called.)"""
        return self.blocks[number](x, num_frames, prompt)

    def fold(self, sample: Tensor) -> Tensor:
        """Clips [B, C, F, H, W] → their frames [B * F, C, H, W].

        Raises:
            ArgumentError: if there are more frames than this adapter knows positions for.
        """
        self.check_num_frames(sample.shape[2])
        return sample.transpose(1, 2).flatten(0, 1)

    def check_num_frames(self, num_frames: int) -> None:
        """Refuse clips of more frames than the position table has rows.

        Raises:
            ArgumentError: naming both numbers.
        """
        if num_frames > self.config.max_frames:
            raise ArgumentError(
                f"num_frames: {num_frames} frames asked, this model knows positions for {self.config.max_frames}"
            )

    def duration(self, sample: Tensor) -> float | None:
        """Seconds that a clip [B, C, F, H, W] covers, if the config says; else None."""
        seconds = self.config.seconds_per_frame
        return seconds * sample.shape[2] if seconds else None


def temporal_block(
    channels: int,
    num_heads: int,
    attention_mult: float,
    feed_forward_mult: float,
    max_frames: int,
    frame_rate: int,
    norm_num_groups: int,
) -> TemporalBlock:
    """A ``TemporalBlock``.

    Raises:
        ConfigurationError: if the heads do not divide the width of its attention.
    """
    width = int(channels * attention_mult)
    if width % num_heads:
        raise ConfigurationError(
            f"temporal num_heads: {num_heads} must divide {width}, the width of temporal attention at {channels} channels"
        )
    sizes = num_heads, attention_mult, feed_forward_mult, max_frames, frame_rate, norm_num_groups
    return TemporalBlock(channels, *sizes)


def temporal_config(config: Mapping[str, Any], levels: tuple[bool, ...] | None = None, **values: Any) -> dict[str, Any]:
    """The config of a ``TemporalAdapter`` for a ``UNet`` of this config; see ``TemporalAdapter.for_denoiser``."""
    levels = (True,) * len(config["channel_mult"]) if levels is None else levels
    places = residual_widths(config, levels, middle=levels[-1])
    names = tuple(f"{name}.residual" for name in places)
    groups = {"norm_num_groups": config["norm_num_groups"]}
    return {"block_names": names, "channels": tuple(places.values()), **groups, **values}
