"""The one topology of our denoisers: input blocks, middle, output blocks, skips (SPEC §2.1).

``UNet`` and ``FlatUNet`` fill it with their own layers; everything about order, widths and skips is written here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.loaders import PeftAdapterMixin
from torch import Tensor, nn

from .blocks import Block, SpatialTransformer, TimeEmbedding, zero_init
from .configuration import check_configuration
from .context import Context
from .layers import Layers


class Denoiser(ModelMixin, ConfigMixin, PeftAdapterMixin):
    """Base of the denoisers: builds the topology from ``self.config`` and runs it."""

    layers: Layers

    def _build(self, layers: Layers) -> None:
        config = self.config
        check_configuration(config)
        self.layers = layers
        widths = [config.model_channels * mult for mult in config.channel_mult]
        levels = range(len(widths))
        self.time_embedding = TimeEmbedding(config.model_channels, layers.time_embedding_dim)
        folded = config.get("patch_size", 1) ** 2
        self.conv_in = layers.entry(config.in_channels * folded, config.model_channels)

        encoder, skip_widths, width = [], [config.model_channels], config.model_channels
        for level in levels:
            for _ in range(config.num_res_blocks[level]):
                encoder.append(self._block(width, widths[level], config.with_attention[level]))
                width = widths[level]
                skip_widths.append(width)
            if level != levels[-1]:
                encoder.append(Block(resample=layers.down(width)))
                skip_widths.append(width)
        self.encoder = nn.ModuleList(encoder)
        self.middle = nn.ModuleList([self._block(width, width, True), self._block(width, width, False)])

        decoder = []
        for level in reversed(levels):
            for i in range(config.num_res_blocks[level] + 1):
                last = i == config.num_res_blocks[level]
                up = layers.up(widths[level]) if last and level > 0 else None
                in_width = width + skip_widths.pop()
                decoder.append(self._block(in_width, widths[level], config.with_attention[level], up))
                width = widths[level]
        self.decoder = nn.ModuleList(decoder)
        self.conv_out = layers.head(width, config.out_channels * folded)
        zero_init(self.conv_out.proj)

    def _block(self, in_width: int, width: int, attends: bool, resample: nn.Module | None = None) -> Block:
        attention = self._attention(width) if attends else None
        residual = self.layers.residual(in_width, width)
        return Block(residual, attention, resample, self.layers.tokens_per_feature)

    def _attention(self, width: int) -> SpatialTransformer:
        config = self.config
        heads, mult = config.num_attention_heads, config.feed_forward_mult
        return SpatialTransformer(width, config.cross_attention_dim, heads, mult, config.norm_num_groups)

    def context(
        self, tokens: Tensor, mask: Tensor | None = None, attributes: Mapping[str, Tensor] | None = None
    ) -> Context:
        """Prompt tokens [B, N, cross_attention_dim], mask [B, N] and attributes, to pass to ``forward`` again and again.

        What a prompt of one token adds everywhere is then computed once, not at every step.
        """
        return Context(tokens * self.config.context_scale, mask, attributes=attributes)

    def forward(self, sample: Tensor, timesteps: Tensor, encoder_hidden_states: Tensor | Context) -> Tensor:
        """Predict the scheduler's target (noise, velocity or flow) from a noisy latent.

        Args:
            sample: image [B, C, H, W], audio [B, C, T, M] or text [B, D].
            timesteps: [B], whole or fractional.
            encoder_hidden_states: prompt tokens [B, N, cross_attention_dim], or what ``context`` made of them.

        Returns:
            Tensor of the shape of ``sample``.
        """
        prompt = encoder_hidden_states
        if isinstance(prompt, Tensor):
            prompt = self.context(prompt.to(sample.dtype))
        time_embedding = self.time_embedding(timesteps, sample.dtype)
        # The CPU's group norm crashes in the backward pass of frozen weights on channels-last input (torch 2.13), and
        # channels-last was measured to be no faster.
        x = self.conv_in(sample.contiguous())
        skips = [x]
        for block in self.encoder:
            x = block(x, time_embedding, prompt)
            skips.append(x)
        for block in self.middle:
            x = block(x, time_embedding, prompt)
        if self.config.skip == "aliased":
            # The published networks decode cat(mid, mid) first: their list of skips is overwritten (SPEC §0.2).
            skips[-1] = x
        for block in self.decoder:
            skip = skips.pop()
            # An odd side is halved rounding up, so the way back may be one position too long.
            x = x[(..., *map(slice, skip.shape[2:]))]
            x = block(torch.cat([x, skip], dim=1), time_embedding, prompt)
        return self.conv_out(x)


def residual_widths(config: Mapping[str, Any], levels: Sequence[bool], middle: bool = False) -> dict[str, int]:
    """Where adapters may go: name → width of every block with a residual part, in these levels.

    Args:
        config: of a ``UNet`` or ``FlatUNet``.
        levels: per level, whether its blocks are wanted.
        middle: whether the blocks of the middle are wanted.
    """
    places, number = {}, 0
    widths = [config["model_channels"] * mult for mult in config["channel_mult"]]
    for level, (count, width) in enumerate(zip(config["num_res_blocks"], widths)):
        places |= {f"encoder.{number + i}": width for i in range(count) if levels[level]}
        number += count + 1  # the last of a level leads to the next
    places |= {f"middle.{i}": widths[-1] for i in range(2) if middle}
    number = 0
    for level, count in reversed([*enumerate(config["num_res_blocks"])]):
        places |= {f"decoder.{number + i}": widths[level] for i in range(count + 1) if levels[level]}
        number += count + 1
    return places
