"""The network shared by the image and audio prompt encoders: a grid of patches in, one feature vector out."""

from collections.abc import Sequence

import torch
from diffusers.models.resnet import Downsample2D, ResnetBlock2D
from einops import rearrange
from torch import nn

from ..errors import ConfigurationError


class Tower(nn.Module):
    """Pixel-unshuffle, residual convolutions that halve the resolution between levels, one attention layer, mean.

    Folding patches into channels first keeps the convolutions wide and low-resolution, which is where a CPU is fast.
    The attention layer sees positions, so the order of the sounds in a word is not lost in the mean.

    Args:
        in_channels: channels of the input.
        size: height and width of the input; multiples of ``patch_size * 2 ** (levels - 1)``.
        patch_size: pixels folded into channels per side.
        block_out_channels: width of each level; the last is the width of the features.
        layers_per_block: residual blocks of each level.
        num_attention_heads: heads of the attention layer.
        norm_num_groups: groups of every GroupNorm; must divide the widths.
        dropout: dropout in the attention layer.

    Raises:
        ConfigurationError: if the size does not divide evenly or the levels disagree.
    """

    def __init__(
        self,
        in_channels: int,
        size: tuple[int, int],
        patch_size: int,
        block_out_channels: Sequence[int],
        layers_per_block: Sequence[int],
        num_attention_heads: int,
        norm_num_groups: int,
        dropout: float,
    ):
        super().__init__()
        if len(block_out_channels) != len(layers_per_block):
            raise ConfigurationError("layers_per_block: needs one number per level of block_out_channels")
        reduction = patch_size * 2 ** (len(block_out_channels) - 1)
        if any(side % reduction for side in size):
            raise ConfigurationError(f"size: {size} must be multiples of {reduction} (patch_size and levels)")
        width = block_out_channels[0]
        self.patches = nn.PixelUnshuffle(patch_size)
        self.conv_in = nn.Conv2d(in_channels * patch_size**2, width, kernel_size=3, padding=1)
        self.levels = nn.ModuleList()
        for level, (channels, layers) in enumerate(zip(block_out_channels, layers_per_block)):
            blocks = nn.ModuleList()
            if level > 0:
                blocks.append(Downsample2D(width, use_conv=True, padding=1, name="op"))
            for _ in range(layers):
                blocks.append(
                    ResnetBlock2D(
                        in_channels=width, out_channels=channels, temb_channels=None, groups=norm_num_groups, eps=1e-5
                    )
                )
                width = channels
            self.levels.append(blocks)
        if width != block_out_channels[-1]:
            raise ConfigurationError("layers_per_block: the last level needs at least one residual block")
        self.position = nn.Parameter(torch.randn(size[0] // reduction * (size[1] // reduction), width) * 0.02)
        self.attention = nn.TransformerEncoderLayer(
            width, num_attention_heads, 2 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.norm_out = nn.LayerNorm(width)
        self.described_dim = width + 2 * sum(block_out_channels[:-1])

    def forward(
        self, sample: torch.Tensor, described: bool = False, places: bool = False
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """sample [B, in_channels, height, width] → features [B, block_out_channels[-1]].

        Args:
            sample: the picture.
            described: add the mean and standard deviation of each channel of the levels before the last: [B,
                ``described_dim``]. Such statistics tell the style of a picture (Gatys et al. 2016), which the features are
                trained to overlook.
            places: return also the features of every place of the last level, row by row: [B, places, width].
        """
        maps = self._maps(sample)
        attended = self._attended(maps[-1])
        features = self.norm_out(attended.mean(dim=1))
        if places:
            return features, attended
        if not described:
            return features
        channels = [level.flatten(2) for level in maps[:-1]]
        statistics = [part for level in channels for part in (level.mean(2), level.std(2))]
        return torch.cat([features, *statistics], dim=1)

    def described(self, sample: torch.Tensor) -> torch.Tensor:
        """As ``forward`` with ``described``; called through it, since offloaded weights come when a module is called."""
        return self(sample, described=True)

    def _maps(self, sample: torch.Tensor) -> list[torch.Tensor]:
        hidden, maps = self.conv_in(self.patches(sample).contiguous(memory_format=torch.channels_last)), []
        for blocks in self.levels:
            for block in blocks:
                hidden = block(hidden, None) if isinstance(block, ResnetBlock2D) else block(hidden)
            maps.append(hidden)
        return maps

    def _attended(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.attention(rearrange(hidden, "b c h w -> b (h w) c") + self.position)
