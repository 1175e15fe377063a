"""What CoDi adds to CLIP's vision tower for video: attention and a feed-forward along time in every layer (SPEC §1.1).

It differs from the temporal block of the denoisers: no position or frame-rate embeddings, no shifts in time.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..denoisers.blocks import attend, zero_init
from ..denoisers.temporal import RelativePositionBias, normalise


class ClipTemporalAttention(nn.Module):
    """Attention among the frames of one position. As in the denoisers, its norm runs over the *time* axis (SPEC §0.5)."""

    def __init__(self, channels: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.norm_weight = nn.Parameter(torch.ones(channels))
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(channels, channels, bias=False)
        self.to_v = nn.Linear(channels, channels, bias=False)
        self.to_out = zero_init(nn.Linear(channels, channels, bias=False))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """``x`` [N, frames, C], ``bias`` [heads, frames, frames] -> like ``x``, before the residual."""
        normed = normalise(x, dim=1) * self.norm_weight
        query, key, value = (
            rearrange(layer(normed), "n f (h d) -> n h f d", h=self.num_heads)
            for layer in (self.to_q, self.to_k, self.to_v)
        )
        return self.to_out(rearrange(attend(query, key, value, bias=bias[None]), "n h f d -> n f (h d)"))


class ClipTemporalFeedForward(nn.Module):
    """A gated feed-forward with a norm over its hidden channels."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.proj_in = nn.Linear(channels, 2 * width, bias=False)
        self.norm_weight = nn.Parameter(torch.ones(width))
        self.proj_out = zero_init(nn.Linear(width, channels, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, frames, C] -> like ``x``, before the residual."""
        hidden, gate = self.proj_in(x).chunk(2, dim=-1)
        return self.proj_out(normalise(hidden * F.gelu(gate), dim=-1) * self.norm_weight)


class ClipTemporalBlock(nn.Module):
    """Temporal attention and feed-forward, each a residual branch that starts as an identity.

    Args:
        channels: width of the vision tower.
        num_heads: heads of the temporal attention; the reference takes the tower's own number.
        feed_forward_mult: width of the feed-forward, as a multiple of ``channels``.
    """

    def __init__(self, channels: int, num_heads: int, feed_forward_mult: float = 8 / 3):
        super().__init__()
        self.position_bias = RelativePositionBias(channels // 2, num_heads)
        self.attention = ClipTemporalAttention(channels, num_heads)
        self.feed_forward = ClipTemporalFeedForward(channels, int(channels * feed_forward_mult))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [N, frames, C], one row per position of every clip -> like ``x``."""
        x = x + self.attention(x, self.position_bias(x.shape[1]))
        return x + self.feed_forward(x)
