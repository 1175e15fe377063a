"""The layers that a network of feature maps and a network of vectors are built from; both have one topology."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from .blocks import Head, zero_init


@dataclass(frozen=True)
class MapLayers:
    """Layers of feature maps [B, C, h, w]: convolutions.

    Attributes:
        time_embedding_dim: width of the time embedding.
        norm_num_groups: groups of every group norm.
    """

    time_embedding_dim: int
    norm_num_groups: int
    tokens_per_feature: ClassVar[int | None] = None

    def entry(self, in_channels: int, channels: int) -> nn.Module:
        """Sample → first features."""
        return nn.Conv2d(in_channels, channels, 3, padding=1)

    def residual(self, in_channels: int, channels: int) -> nn.Module:
        """``(features, time embedding) → features``, ending in a zeroed layer."""
        block = ResnetBlock2D(
            in_channels=in_channels,
            out_channels=channels,
            temb_channels=self.time_embedding_dim,
            groups=self.norm_num_groups,
            eps=1e-5,
        )
        zero_init(block.conv2)
        return block

    def down(self, channels: int) -> nn.Module:
        """To the next, coarser level."""
        return Downsample2D(channels, use_conv=True, padding=1, name="op")

    def up(self, channels: int) -> nn.Module:
        """Back to the finer level."""
        return Upsample2D(channels, use_conv=True)

    def head(self, channels: int, out_channels: int) -> Head:
        """Features → output."""
        return Head(channels, nn.Conv2d(channels, out_channels, 3, padding=1), self.norm_num_groups, None)


@dataclass(frozen=True)
class FlatLayers:
    """Layers of vectors [B, channels * tokens_per_feature], channel-major: linear layers, which keep the size.

    Attributes:
        time_embedding_dim: width of the time embedding.
        norm_num_groups: groups of every group norm.
        tokens_per_feature: how many tokens attention sees in a vector.
    """

    time_embedding_dim: int
    norm_num_groups: int
    tokens_per_feature: int

    def entry(self, in_channels: int, channels: int) -> nn.Module:
        """Sample → first features."""
        return nn.Linear(in_channels, channels * self.tokens_per_feature)

    def residual(self, in_channels: int, channels: int) -> nn.Module:
        """``(features, time embedding) → features``, ending in a zeroed layer."""
        widths = in_channels * self.tokens_per_feature, channels * self.tokens_per_feature
        return FlatResidualBlock(*widths, self.time_embedding_dim, self.norm_num_groups)

    def down(self, channels: int) -> nn.Module:
        """To the next level, of the same size."""
        return nn.Linear(channels * self.tokens_per_feature, channels * self.tokens_per_feature)

    up = down

    def head(self, channels: int, out_channels: int) -> Head:
        """Features → output."""
        projection = nn.Linear(channels * self.tokens_per_feature, out_channels)
        return Head(channels, projection, self.norm_num_groups, self.tokens_per_feature)


Layers = MapLayers | FlatLayers


class FlatResidualBlock(nn.Module):
    """``ResnetBlock2D`` on a vector: its 3x3 convolutions become linear layers."""

    def __init__(self, in_features: int, features: int, time_embedding_dim: int, norm_num_groups: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(norm_num_groups, in_features, eps=1e-5)
        self.conv1 = nn.Linear(in_features, features)
        self.time_emb_proj = nn.Linear(time_embedding_dim, features)
        self.norm2 = nn.GroupNorm(norm_num_groups, features, eps=1e-5)
        self.conv2 = zero_init(nn.Linear(features, features))
        self.conv_shortcut = nn.Linear(in_features, features) if in_features != features else nn.Identity()

    def forward(self, x: Tensor, time_embedding: Tensor) -> Tensor:
        """``x`` [B, in_features], ``time_embedding`` [B, time_embedding_dim] -> [B, features]."""
        hidden = self.conv1(F.silu(self.norm1(x))) + self.time_emb_proj(F.silu(time_embedding))
        return self.conv_shortcut(x) + self.conv2(F.silu(self.norm2(hidden)))
