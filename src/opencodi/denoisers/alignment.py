"""Latent alignment as an adapter: an environment encoder, and cross-attention at named places (CoDi §3.3, SPEC §3)."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Self

from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from ..errors import ConfigurationError
from .adapter import Adapter, Call, Hook, change_where_seen, check_names
from .blocks import SpatialTransformer
from .clock import centres, position_seconds
from .configuration import check_divides
from .context import Context
from .environment import LATENTS, EnvironmentEncoder, no_time, time_length
from .topology import residual_widths

LAYOUTS = ("map", "tokens", "vector")
"""Shapes of features: [B, C, *positions], [B, N, C] and [B, C * tokens_per_feature], channel-major."""

TEMPORAL = ("num_heads", "attention_mult", "feed_forward_mult", "max_frames", "frame_rate")
"""Config values of a ``TemporalAdapter`` that an environment encoder's temporal blocks share."""


class AlignmentAdapter(Adapter):
    """Lets a denoiser see the other modalities while they are denoised, and lets them see its latents.

    Sub-layers sit after named modules. They start as identities. The same class serves any network of diffusers, given the
    names and widths of its blocks: see ``for_blocks``.

    Args:
        block_names: modules of the denoiser whose output a sub-layer takes.
        channels: width of the features at each of them.
        layout: shape of the features, one of ``LAYOUTS``.
        tokens_per_feature: for vectors, tokens in a feature.
        num_heads: heads of every sub-layer.
        width_mult: width inside a sub-layer, as a multiple of the channels.
        feed_forward_mult: its feed-forward, as a multiple of that width.
        norm_num_groups: groups of every group norm; must divide every width.
        latents: shape of the latents, one of ``environment.LATENTS``.
        in_channels: latent channels.
        environment_dim: size of an environment token; equal in all networks that are to generate together.
        environment_channels: widths of the environment encoder's levels; its entry has half the first. Empty: there is no
            such encoder, since others see evidence (``EvidenceEncoder``).
        environment_num_res_blocks: residual blocks of each of its levels.
        environment_tokens: tokens along time that others see of a latent; 1, as published, says nothing of when. More
            also let the sub-layers know when the tokens they attend to are (``clock.TimeQuery``). A latent without time,
            such as an image, always has 1.
        seconds_per_row: from one row of a latent (or token of a sequence) to the next, for sounds; None: rows are no time.
        time_channels: of the sinusoid of the timestep in the environment encoder.
        time_embedding_dim: width of its time embedding.
        output_index: which entry is the features, where a block returns a tuple: 1 in the transformers of Stable Diffusion 3
            and Flux, whose first entry is the prompt.
        timestep_scale: timesteps are multiplied by this before the environment encoder sees them; 1000 for networks
            whose time runs from 0 to 1.
        temporal: how its temporal blocks for clips are built, ``{name: value}`` of ``TEMPORAL``; None: it sees no clips.

    Raises:
        ConfigurationError: if values do not fit together.
    """

    @register_to_config
    def __init__(
        self,
        block_names: tuple[str, ...],
        channels: tuple[int, ...],
        layout: str = "map",
        tokens_per_feature: int | None = None,
        num_heads: int = 4,
        width_mult: float = 1.0,
        feed_forward_mult: float = 4.0,
        norm_num_groups: int = 32,
        latents: str = "map",
        in_channels: int = 4,
        environment_dim: int = 256,
        environment_channels: tuple[int, ...] = (64, 128),
        environment_num_res_blocks: int = 1,
        environment_tokens: int = 1,
        seconds_per_row: float | None = None,
        time_channels: int = 128,
        time_embedding_dim: int = 512,
        temporal: Mapping[str, float] | None = None,
        output_index: int = 0,
        timestep_scale: float = 1.0,
    ):
        super().__init__()
        _check(self.config)
        self.output_index = output_index
        self.blocks = nn.ModuleList(
            SpatialTransformer(
                width,
                environment_dim,
                num_heads,
                feed_forward_mult,
                norm_num_groups,
                width=int(width * width_mult),
                with_time=environment_tokens > 1,
            )
            for width in channels
        )
        self.environment_encoder = None
        if not environment_channels:
            return
        self.environment_encoder = EnvironmentEncoder(
            latents,
            in_channels,
            environment_dim,
            environment_channels,
            environment_num_res_blocks,
            tokens_per_feature,
            time_channels,
            time_embedding_dim,
            norm_num_groups,
            None if temporal is None else [*(temporal[name] for name in TEMPORAL), norm_num_groups],
        )

    @classmethod
    def for_denoiser(cls, denoiser: nn.Module, levels: tuple[bool, ...] | None = None, **values: Any) -> Self:
        """A new adapter, which changes nothing yet, for one of our networks: after its blocks.

        Its environment encoder starts with the denoiser's time embedding.

        Args:
            denoiser: a ``UNet`` or ``FlatUNet``.
            levels: per level, whether its blocks get a sub-layer; all by default.
            **values: the other arguments.
        """
        adapter = cls(**alignment_config(denoiser.config, levels, **values))
        if adapter.environment_encoder is not None:
            adapter.environment_encoder.time_embedding.load_state_dict(denoiser.time_embedding.state_dict())
        nn.Module.to(adapter, denoiser.device, denoiser.dtype)  # the library's own ``to`` warns of any cast
        return adapter

    @classmethod
    def for_blocks(cls, denoiser: nn.Module, blocks: Mapping[str, int], **values: Any) -> Self:
        """A new adapter, which changes nothing yet, for any network.

        Args:
            denoiser: such as a ``UNet2DConditionModel`` or a ``StableAudioDiTModel``.
            blocks: module name → width of its output. A module that returns a tuple is taken by its first entry.
            **values: the other arguments; ``layout`` and ``latents`` say what shapes it works with.

        Raises:
            ConfigurationError: if it has no module of such a name.
        """
        known = {name for name, _ in denoiser.named_modules()}
        for name in blocks:
            if name not in known:
                raise ConfigurationError(f"blocks: {type(denoiser).__name__} has no module {name!r}")
        return cls(block_names=tuple(blocks), channels=tuple(blocks.values()), **values)

    # ------------------------------------------------------------------ what the denoiser sees

    def hooks(self) -> dict[str, Hook]:
        """A sub-layer after each of ``block_names``."""
        return {name: partial(self._after, number) for number, name in enumerate(self.config.block_names)}

    def _after(self, number: int, x: Tensor, call: Call) -> Tensor:
        if call.environment is None:
            return x
        environment, places = call.environment.selected()
        return change_where_seen(x, places, lambda part: self(part, number, environment=environment, call=call))

    def forward(self, x: Tensor, number: int | None = None, **given: Any) -> Tensor:
        """The sub-layer of that number on features, or the environment encoder on latents; see ``_attend``, ``environment``.

        Everything goes through here, since offloaded weights come when a module is called.
        """
        return self.environment_encoder(x, **given) if number is None else self._attend(x, number, **given)

    def _attend(self, x: Tensor, number: int, environment: Context, call: Call) -> Tensor:
        block = self.blocks[number]
        if self.config.layout == "vector":
            return block.of_vectors(x, environment, self.config.tokens_per_feature)
        if self.config.layout == "tokens":
            x = x.transpose(1, 2)[..., None]
        seconds = None if call.duration is None else position_seconds(x, call.duration, call.num_frames)
        x = block(x, environment, seconds)
        return x[..., 0].transpose(1, 2) if self.config.layout == "tokens" else x

    # ------------------------------------------------------------------ what the others see

    def duration(self, sample: Tensor) -> float | None:
        """Seconds that a latent covers, if its rows are time; else None. (How long clips are, their temporal adapter knows.)"""
        config = self.config
        if not config.seconds_per_row or config.latents == "vector" or sample.ndim == 5:
            return None
        return config.seconds_per_row * time_length(sample, config.latents)

    def environment(self, sample: Tensor, timesteps: Tensor, duration: float | None = None) -> Tensor:
        """What the other modalities see of this noisy latent (SPEC §3).

        Args:
            sample: noisy latents, in clips [B, C, F, H, W] or as ``latents`` says.
            timesteps: [B].
            duration: seconds that they cover; None: they have no time.

        Returns:
            L2-normalised tokens [B, n, environment_dim] along time (``environment_seconds`` says when), or one if the
            latent has no time.

        Raises:
            ConfigurationError: if it has no environment encoder.
        """
        if self.environment_encoder is None:
            raise ConfigurationError(
                "plan: outputs of this model exchange evidence, and it has no environment encoders; use Together()"
            )
        timesteps = timesteps * self.config.timestep_scale
        return self(sample, timesteps=timesteps, count=self.num_environment_tokens(sample, duration))

    def environment_seconds(self, sample: Tensor, duration: float | None = None) -> Tensor:
        """When in the sample each token of ``environment`` is, in seconds [n]; NaN if it is about all of it."""
        count = self.num_environment_tokens(sample, duration)
        return no_time(sample.device) if count == 1 else centres(duration, count, sample.device)

    def num_environment_tokens(self, sample: Tensor, duration: float | None = None) -> int:
        """As many as the config says, but not more than there are positions along time."""
        if duration is None:
            return 1
        return min(self.config.environment_tokens, time_length(sample, self.config.latents))


def alignment_config(
    config: Mapping[str, Any],
    levels: tuple[bool, ...] | None = None,
    temporal: Mapping[str, Any] | None = None,
    **values: Any,
) -> dict[str, Any]:
    """The config of an ``AlignmentAdapter`` for a network of ours of this config; see ``AlignmentAdapter.for_denoiser``.

    Args:
        config: of the ``UNet`` or ``FlatUNet``.
        levels: per level, whether its blocks get a sub-layer; all by default.
        temporal: config of the network's ``TemporalAdapter``, if it makes clips as well.
        **values: other arguments of the adapter.
    """
    places = residual_widths(config, (True,) * len(config["channel_mult"]) if levels is None else levels)
    tokens = config.get("feature_tokens")
    return {
        "block_names": tuple(places),
        "channels": tuple(places.values()),
        "layout": "map" if tokens is None else "vector",
        "latents": "map" if tokens is None else "vector",
        "tokens_per_feature": tokens,
        "in_channels": config["in_channels"],
        "num_heads": config["num_attention_heads"],
        "norm_num_groups": config["norm_num_groups"],
        "time_channels": config["model_channels"],
        "time_embedding_dim": config.get("time_embedding_dim") or 4 * config["model_channels"],
        "temporal": None if temporal is None else {name: temporal[name] for name in TEMPORAL},
        **values,
    }


def _check(config: Mapping[str, Any]) -> None:
    check_names(config["block_names"], config["channels"])
    for name, known in (("layout", LAYOUTS), ("latents", LATENTS)):
        if config[name] not in known:
            raise ConfigurationError(f"{name}: {config[name]!r} is unknown, choose from {', '.join(known)}")
    if config["environment_tokens"] < 1:
        raise ConfigurationError(f"environment_tokens: {config['environment_tokens']} asked, give at least 1")
    if config["environment_tokens"] > 1 and config["latents"] == "vector":
        raise ConfigurationError(
            f"environment_tokens: {config['environment_tokens']} lie along time, and a vector has none; use 1"
        )
    inner = [int(width * config["width_mult"]) for width in config["channels"]]
    check_divides("num_heads", config["num_heads"], inner)
    if not config["environment_channels"]:
        check_divides("norm_num_groups", config["norm_num_groups"], config["channels"])
        return
    widths = [config["environment_channels"][0] // 2, *config["environment_channels"]]
    tokens = config["tokens_per_feature"] or 1 if config["latents"] == "vector" else 1
    encoder = [width * tokens for width in widths] + widths[-1:]  # the head's norm runs over channels alone
    check_divides("norm_num_groups", config["norm_num_groups"], [*config["channels"], *encoder])
