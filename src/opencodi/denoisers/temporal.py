"""What turns the image network into a video network: attention, feed-forward and shift along time (SPEC §2.2)."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..errors import ArgumentError
from .blocks import attend, zero_init


def normalise(x: Tensor, dim: int, eps: float = 1e-5) -> Tensor:
    """Zero mean and unit biased variance along ``dim``; the variance is clamped at ``eps``, not increased by it."""
    variance, mean = torch.var_mean(x, dim=dim, unbiased=False, keepdim=True)
    return (x - mean) * variance.clamp(min=eps).rsqrt()


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
        """``x`` [B, positions, frames, C], ``bias`` [heads, frames, frames] -> like ``x``, before the residual."""
        num_frames = x.shape[2]
        embedding = self.position_embedding[0, :num_frames] + self.frame_rate_embedding[0, self.frame_rate - 1]
        normed = normalise(x + embedding, dim=2) * self.norm_weight
        query, key, value = (
            rearrange(layer(normed), "b n f (h d) -> (b n) h f d", h=self.num_heads)
            for layer in (self.to_q, self.to_k, self.to_v)
        )
        attended = attend(query, key, value, bias=bias.to(query.dtype)[None])
        return self.to_out(rearrange(attended, "(b n) h f d -> b n f (h d)", b=x.shape[0]))


class TemporalFeedForward(nn.Module):
    """A gated feed-forward whose second half of hidden channels comes from the frame before."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.proj_in = nn.Linear(channels, 2 * width, bias=False)
        self.norm_weight = nn.Parameter(torch.ones(width))
        self.proj_out = zero_init(nn.Linear(width, channels, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [B, positions, frames, C] -> like ``x``, before the residual."""
        hidden, gate = self.proj_in(x).chunk(2, dim=-1)
        now, before = (hidden * F.gelu(gate)).chunk(2, dim=-1)
        hidden = torch.cat([now, shift_later(before, 1, dim=2)], dim=-1)
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
        chunks = frames.chunk(self.num_chunks, dim=2)
        return torch.cat([shift_later(chunk, i, dim=1) for i, chunk in enumerate(chunks)], dim=2)


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

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """``x`` [B * frames, C, h, w] -> like ``x``.

        Raises:
            ArgumentError: if the video has more frames than the position table has rows.
        """
        if num_frames > self.attention.max_frames:
            raise ArgumentError(f"num_frames: {num_frames} frames, but this model makes {self.attention.max_frames}")
        height = x.shape[2]
        # Linear layers on a strided view multiply frame by frame, with copies that cost more than the products in bfloat16.
        tokens = rearrange(x, "(b f) c h w -> b (h w) f c", f=num_frames).contiguous()
        tokens = tokens + self.attention(tokens, self.position_bias(num_frames, x.device))
        tokens = tokens + self.feed_forward(tokens)
        x = rearrange(tokens, "b (h w) f c -> (b f) c h w", h=height).contiguous()
        return x + self.frame_shift(x, num_frames)
