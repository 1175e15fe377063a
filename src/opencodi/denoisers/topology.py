"""The one topology of all denoisers: input blocks, middle, output blocks, skips, environment encoder (SPEC §2.1, §3).

``UNet`` and ``FlatUNet`` fill it with their own layers; everything about order, widths and skips is written here.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from torch import Tensor, nn

from ..errors import ConfigurationError
from ..quantized import quantize_layers
from .blocks import Block, Head, SpatialTransformer, TimeEmbedding, zero_init
from .clock import centres
from .configuration import check_configuration
from .context import Context
from .maps import EnvironmentMap, MotionMap, PromptMap
from .part_names import is_alignment, is_temporal


class Denoiser(ModelMixin, ConfigMixin, ABC):
    """Base of the denoisers: builds the topology from ``self.config`` and runs it."""

    tokens_per_feature: int | None = None
    # A network may be loaded without the parts that a call does not need.
    _keys_to_ignore_on_load_unexpected: ClassVar = [r"^(environment_|motion_map\.)", r"\.(alignment|temporal)\."]

    # The layers that a subclass supplies; widths are feature channels.

    @abstractmethod
    def _entry(self, in_channels: int, channels: int) -> nn.Module:
        """Sample -> first features."""

    @abstractmethod
    def _residual(self, in_channels: int, channels: int) -> nn.Module:
        """``(features, time embedding) -> features``, ending in a zeroed layer."""

    @abstractmethod
    def _down(self, channels: int) -> nn.Module:
        """To the next, coarser level."""

    @abstractmethod
    def _up(self, channels: int) -> nn.Module:
        """Back to the finer level."""

    @abstractmethod
    def _projection(self, channels: int, out_channels: int) -> nn.Module:
        """Features -> output."""

    def _temporal(self, channels: int) -> nn.Module | None:
        """A temporal block, or None where there is no time axis."""
        return None

    # ------------------------------------------------------------------ building

    def _build(self) -> None:
        config = self.config
        check_configuration(config, self.tokens_per_feature or 1)
        widths = [config.model_channels * mult for mult in config.channel_mult]
        levels = range(len(widths))
        self.time_embedding = TimeEmbedding(config.model_channels, self.time_embedding_dim)
        self.conv_in = self._entry(config.in_channels, config.model_channels)
        self.prompt_map = self._prompt_map() if config.prompt_map_dim else None
        self.manner_embedding = self._manner_embedding() if config.get("manner_dim") else None
        self.motion_map = self._motion_map() if config.get("temporal") and config.get("motion_map_dim") else None
        for each in (self.prompt_map, self.motion_map):
            if each is not None and config.get("quantized_maps"):
                quantize_layers(each)

        encoder, skip_widths, width = [], [config.model_channels], config.model_channels
        for level in levels:
            for _ in range(config.num_res_blocks[level]):
                encoder.append(self._block(level, width, widths[level]))
                width = widths[level]
                skip_widths.append(width)
            if level != levels[-1]:
                encoder.append(Block(resample=self._down(width)))
                skip_widths.append(width)
        self.encoder = nn.ModuleList(encoder)

        self.middle = nn.ModuleList(
            [
                self._plain_block(width, width, self._has_temporal[-1], attention=self._attention(width)),
                self._plain_block(width, width, self._has_temporal[-1]),
            ]
        )

        decoder = []
        for level in reversed(levels):
            for i in range(config.num_res_blocks[level] + 1):
                last = i == config.num_res_blocks[level]
                up = self._up(widths[level]) if last and level > 0 else None
                decoder.append(self._block(level, width + skip_widths.pop(), widths[level], resample=up))
                width = widths[level]
        self.decoder = nn.ModuleList(decoder)
        self.conv_out = self._head(width, zero_init(self._projection(width, config.out_channels)))
        self.environment_encoder = self._environment_encoder() if config.alignment else None
        self.environment_map = self._environment_map() if config.alignment and config.with_environment_map else None

    def _prompt_map(self) -> PromptMap:
        dims = self.config.cross_attention_dim, self.config.prompt_map_dim
        return PromptMap(*dims, *self._map_shape_and_entry(), self.config.get("manner_dim"))

    def _manner_embedding(self) -> nn.Linear:
        # Without bias: of no manner, and of zeros, nothing is added.
        return zero_init(nn.Linear(self.config.manner_dim, self.time_embedding_dim, bias=False))

    def _motion_map(self) -> MotionMap:
        config = self.config
        dims = config.cross_attention_dim, config.motion_map_dim, config.motion_map_harmonics
        return MotionMap(*dims, *self._map_shape_and_entry())

    def _map_shape_and_entry(self) -> tuple[tuple[int, ...], nn.Module]:
        config = self.config
        shape = (config.in_channels, *config.get("prompt_map_size", ()))
        return shape, zero_init(self._entry(config.in_channels, config.model_channels))

    def _environment_map(self) -> EnvironmentMap:
        config = self.config
        features = config.model_channels * (self.tokens_per_feature or 1)
        return EnvironmentMap(self._entry(config.in_channels, config.model_channels), features, self.time_embedding_dim)

    @property
    def time_embedding_dim(self) -> int:
        return self.config.time_embedding_dim or 4 * self.config.model_channels

    @property
    def _has_temporal(self) -> list[bool]:
        """Per level; never for a network without time axis."""
        return [bool(self.config.get("temporal")) and flag for flag in self.config.get("with_temporal", [])] or [
            False
        ] * len(self.config.channel_mult)

    def _block(self, level: int, in_width: int, width: int, resample: nn.Module | None = None) -> Block:
        config = self.config
        return self._plain_block(
            in_width,
            width,
            self._has_temporal[level],
            attention=self._attention(width) if config.with_attention[level] else None,
            resample=resample,
            alignment=self._alignment(width) if config.alignment and config.with_alignment[level] else None,
        )

    def _plain_block(self, in_width: int, width: int, temporal: bool, **parts: Any) -> Block:
        return Block(
            self._residual(in_width, width),
            self._temporal(width) if temporal else None,
            tokens_per_feature=self.tokens_per_feature,
            **parts,
        )

    def _attention(self, width: int) -> SpatialTransformer:
        config = self.config
        return SpatialTransformer(
            width,
            config.cross_attention_dim,
            config.num_attention_heads,
            config.feed_forward_mult,
            config.norm_num_groups,
        )

    def _alignment(self, width: int) -> SpatialTransformer:
        config = self.config
        return SpatialTransformer(
            width,
            config.environment_dim,
            config.num_attention_heads,
            config.alignment_feed_forward_mult,
            config.norm_num_groups,
            width=int(width * config.alignment_width_mult),
            with_time=config.environment_tokens > 1,
        )

    def _head(self, width: int, projection: nn.Module) -> Head:
        return Head(width, projection, self.config.norm_num_groups, self.tokens_per_feature)

    def _environment_encoder(self) -> nn.ModuleList:
        config = self.config
        entry_width = config.environment_channels[0] // 2
        layers: list[nn.Module] = [self._entry(config.in_channels, entry_width)]
        width = entry_width
        for level, next_width in enumerate(config.environment_channels):
            if level > 0:
                layers.append(Block(resample=self._down(width)))
            for _ in range(config.environment_num_res_blocks):
                layers.append(self._plain_block(width, next_width, bool(config.get("temporal"))))
                width = next_width
        layers.append(self._head(width, self._projection(width, config.environment_dim)))
        return nn.ModuleList(layers)

    # ------------------------------------------------------------------ running

    def _fold(self, sample: Tensor) -> tuple[Tensor, int | None]:
        """Sample -> (features with any frames in the batch axis, number of frames or None)."""
        return sample, None

    def duration(self, sample: Tensor) -> float | None:
        """Seconds that a latent covers, if the config says how fast time passes in it; else None."""
        return None

    def context(
        self,
        encoder_hidden_states: Tensor,
        mask: Tensor | None = None,
        attributes: Mapping[str, Tensor] | None = None,
    ) -> Context:
        """Prompt tokens [B, N, cross_attention_dim], mask [B, N] and manner [B, M], to pass to ``forward`` again and again.

        What a prompt of one token adds everywhere is then computed once, not at every step.
        """
        return Context(encoder_hidden_states * self.config.context_scale, mask, manner=(attributes or {}).get("manner"))

    def forward(
        self,
        sample: Tensor,
        timesteps: Tensor,
        encoder_hidden_states: Tensor | Context,
        environment_hidden_states: Tensor | Context | None = None,
    ) -> Tensor:
        """Predict the scheduler's target (noise, velocity or flow) from a noisy latent.

        Args:
            sample: image [B, C, H, W], video [B, C, F, H, W], audio [B, C, T, M] or text [B, D].
            timesteps: [B], whole or fractional.
            encoder_hidden_states: prompt tokens [B, N, cross_attention_dim], or what ``context`` made of them.
            environment_hidden_states: tokens [B, n, environment_dim] that the alignment sub-layers attend to, or a
                ``Context`` of them; None skips those sub-layers (one output modality).

        Returns:
            Tensor of the shape of ``sample``.
        """
        x, num_frames = self._fold(sample)
        prompt, environment = encoder_hidden_states, environment_hidden_states
        if isinstance(prompt, Tensor):
            prompt = self.context(prompt.to(sample.dtype))
        if isinstance(environment, Tensor):
            environment = Context(environment)
        time_embedding = self.time_embedding(timesteps, sample.dtype)
        if self.manner_embedding is not None and prompt.manner is not None:
            said = prompt.constant(self.manner_embedding, lambda _: self.manner_embedding(prompt.manner))
            time_embedding = time_embedding + said
        if num_frames is not None:
            time_embedding = time_embedding.repeat_interleave(num_frames, dim=0)
            prompt = prompt.repeated(frames=num_frames)
            environment = None if environment is None else environment.repeated(frames=num_frames)
        x = self._run(x, time_embedding, prompt, environment, num_frames, self.duration(sample))
        return x if num_frames is None else x.unflatten(0, (-1, num_frames)).transpose(1, 2)

    def _run(
        self,
        x: Tensor,
        time_embedding: Tensor,
        prompt: Context,
        environment: Context | None,
        num_frames: int | None,
        duration: float | None,
    ) -> Tensor:
        size, states = tuple(x.shape[2:]), (time_embedding, prompt, environment, num_frames, duration)
        # The CPU's group norm crashes in the backward pass of frozen weights on channels-last input (torch 2.13).
        x = self.conv_in(x.contiguous())
        if self.prompt_map is not None:
            key = (self.prompt_map, size)
            x = x + prompt.constant(key, lambda tokens: self.prompt_map(tokens[:, 0], size, prompt.manner))
        if self.motion_map is not None and num_frames is not None:
            key = (self.motion_map, num_frames, size)
            x = x + prompt.of_frames(key, lambda tokens: self.motion_map(tokens[:, 0], num_frames, size))
        if self.environment_map is not None and environment is not None:
            key = (self.environment_map, size)
            seen = environment.constant(key, lambda _: self._map_of(environment, size, prompt.manner))
            x = environment.heard(x, x + self.environment_map(seen, time_embedding))
        skips = [x]
        for block in self.encoder:
            x = block(x, *states)
            skips.append(x)
        for block in self.middle:
            x = block(x, *states)
        if self.config.skip == "aliased":
            # The published networks decode cat(mid, mid) first: their list of skips is overwritten (SPEC §0.2).
            skips[-1] = x
        for block in self.decoder:
            skip = skips.pop()
            # An odd side is halved rounding up, so the way back may be one position too long.
            x = x[(..., *map(slice, skip.shape[2:]))]
            x = block(torch.cat([x, skip], dim=1), *states)
        return self.conv_out(x)

    def _map_of(self, environment: Context, size: tuple[int, ...], manner: Tensor | None = None) -> Tensor:
        shown = environment.mean() * self.config.context_scale
        # With guidance the prompt has an unconditional half before this one.
        drawn = self.prompt_map.draw(shown, size, None if manner is None else manner[-len(shown) :])
        return self.environment_map.entry(drawn)

    def environment(self, sample: Tensor, timesteps: Tensor) -> Tensor:
        """What the other modalities see of this noisy latent (SPEC §3).

        Returns:
            L2-normalised tokens [B, n, environment_dim] along time (``environment_seconds`` says when), or one if the
            latent has no time.

        Raises:
            ConfigurationError: if the network was built with ``alignment=False``.
        """
        if self.environment_encoder is None:
            raise ConfigurationError("alignment: this denoiser was built without it and cannot take part in joint runs")
        x, num_frames = self._fold(sample)
        time_embedding = self.time_embedding(timesteps, sample.dtype)
        if num_frames is not None:
            time_embedding = time_embedding.repeat_interleave(num_frames, dim=0)
        first, *blocks, head = self.environment_encoder
        x = first(x.contiguous())
        for block in blocks:
            x = block(x, time_embedding, num_frames=num_frames)
        x = head(x).unflatten(0, (sample.shape[0], -1))
        # [B, environment_dim, frames or 1, *positions]
        x = x.transpose(1, 2)
        count = self._num_environment_tokens(sample)
        if count == 1:
            return F.normalize(x.flatten(2).mean(dim=2), dim=-1)[:, None]
        # The time axis is the frames or, without any, the first of the positions.
        along_time = x.mean(dim=(3, 4)) if num_frames is not None else x.squeeze(2).mean(dim=3)
        return F.normalize(F.adaptive_avg_pool1d(along_time, count).transpose(1, 2), dim=-1)

    def environment_seconds(self, sample: Tensor) -> Tensor:
        """When in the sample each token of ``environment`` is, in seconds [n]; NaN if it is about all of it."""
        count = self._num_environment_tokens(sample)
        if count == 1:
            return torch.full((1,), torch.nan, device=sample.device)
        return centres(self.duration(sample), count, sample.device)

    def _num_environment_tokens(self, sample: Tensor) -> int:
        """As many as the config says, but not more than there are positions along time."""
        return 1 if self.duration(sample) is None else min(self.config.environment_tokens, sample.shape[2])

    # ------------------------------------------------------------------ parts

    def alignment_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """(name, parameter) of alignment sub-layers and environment encoder: what the alignment stage trains."""
        return ((name, p) for name, p in self.named_parameters() if is_alignment(name))

    def temporal_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """(name, parameter) of motion map and temporal blocks between input and output: what a video has beyond an image."""
        return ((name, p) for name, p in self.named_parameters() if is_temporal(name))

    def extended(self, **changes: Any) -> Self:
        """A new network with config values changed and every weight of this one kept.

        ``unet.extended(temporal=True)`` is the video network that starts as this image network;
        ``unet.extended(alignment=True)`` the joint one. What is new starts as an identity.

        Raises:
            ConfigurationError: if a change alters anything but temporal and alignment parts.
        """
        config = {name: value for name, value in self.config.items() if not name.startswith("_")}
        unknown = sorted(set(changes) - set(config))
        if unknown:
            raise ConfigurationError(f"{unknown[0]}: not a config value of {type(self).__name__}")
        extended = type(self)(**{**config, **changes})
        nn.Module.to(extended, self.device, self.dtype)  # the library's own ``to`` warns of any cast
        ours, theirs = self.state_dict(), extended.state_dict()
        for name in sorted(set(theirs) ^ set(ours)):
            if not (name in theirs and (is_alignment(name) or is_temporal(name))):
                raise ConfigurationError(f"{', '.join(changes)}: would add or drop {name}; only parts can be added")
        for name, tensor in ours.items():
            if theirs[name].shape != tensor.shape:
                raise ConfigurationError(f"{', '.join(changes)}: would change the shape of {name}")
        extended.load_state_dict(ours, strict=False)
        return extended.train(self.training)
