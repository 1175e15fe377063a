"""The denoiser of feature maps: images, videos (images plus temporal blocks) and audio (mel latents)."""

from diffusers.configuration_utils import register_to_config
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from ..errors import ArgumentError, ConfigurationError
from .blocks import zero_init
from .temporal import TemporalBlock
from .topology import Denoiser


class UNet(Denoiser):
    """Latent diffusion UNet with temporal and alignment sub-layers (CoDi §3.2–3.3, SPEC §2.1).

    Args:
        in_channels: latent channels.
        out_channels: predicted channels.
        model_channels: channels at full resolution.
        channel_mult: channels of each level, as multiples of ``model_channels``; each level halves the resolution.
        num_res_blocks: residual blocks of each level (one more in the decoder).
        with_attention: per level, attention on positions and prompt. The middle always has it.
        with_temporal: per level, temporal blocks, if ``temporal``; the middle follows the last level.
        with_alignment: per level, alignment sub-layers, if ``alignment``.
        num_attention_heads: heads of every attention; must divide every width.
        cross_attention_dim: size of a prompt token.
        context_scale: factor on prompt tokens; entries of an L2-normalised token are tiny.
        feed_forward_mult: width of the feed-forward in attention, as a multiple of the channels.
        norm_num_groups: groups of every group norm; must divide every width.
        time_embedding_dim: width of the time embedding; None: ``4 * model_channels``.
        prompt_map_dim: hidden width of the prompt map (``PromptMap``); None builds none, as published.
        prompt_map_size: positions [height, width] of the map; stretched for latents of another size.
        manner_dim: M, styles and motions that a prompt may ask for (``Condition.manner``); None knows none, as published.
        temporal: build the temporal blocks (video), and the motion map if it has a width.
        motion_map_dim: hidden width of the motion map (``MotionMap``), of ``prompt_map_size`` positions; None builds none, as
            published.
        motion_map_harmonics: how finely it follows the time of a clip: cycles in a clip of its fastest part.
        temporal_num_heads, temporal_attention_mult, temporal_feed_forward_mult, max_frames, frame_rate: see
            ``TemporalBlock``.
        shared_frame_noise: share of the variance of a clip's noise that all its frames have in common, in training and
            in sampling (``opencodi.sampling.noise.share_frame_noise``); 0 as published.
        alignment: build the environment encoder and the alignment sub-layers (joint generation).
        alignment_width_mult: width inside an alignment sub-layer, as a multiple of the channels.
        alignment_feed_forward_mult: its feed-forward, as a multiple of that width.
        environment_dim: size of an environment token; equal in all networks that are to generate together.
        environment_channels: widths of the environment encoder's levels; its entry has half the first.
        environment_num_res_blocks: residual blocks of each of its levels.
        environment_tokens: tokens along time that others see of a latent; 1, as published, says nothing of when. More
            also let the alignment sub-layers know when the tokens they attend to are (``clock.TimeQuery``). A latent
            without time, such as an image, always has 1.
        with_environment_map: build the environment map (``EnvironmentMap``): the prompt map of what the others make.
        seconds_per_frame: from one frame of a clip [B, C, F, H, W] to the next; None: clips have no time in seconds.
        seconds_per_row: from one row of a feature map [B, C, T, M] to the next, for spectrograms; None: rows are no time.
        quantized_maps: the matrices of prompt map and motion map are 8-bit integers (``opencodi.quantized``), for a network
            that does not learn: they are memories, and large.
        skip: ``"ordinary"``, or ``"aliased"`` as published (SPEC §0.2).
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 4,
        model_channels: int = 128,
        channel_mult: tuple[int, ...] = (1, 2),
        num_res_blocks: tuple[int, ...] = (2, 2),
        with_attention: tuple[bool, ...] = (False, True),
        with_temporal: tuple[bool, ...] = (True, True),
        with_alignment: tuple[bool, ...] = (False, True),
        num_attention_heads: int = 4,
        cross_attention_dim: int = 256,
        context_scale: float = 1.0,
        feed_forward_mult: float = 4.0,
        norm_num_groups: int = 32,
        time_embedding_dim: int | None = None,
        prompt_map_dim: int | None = None,
        prompt_map_size: tuple[int, int] = (8, 8),
        manner_dim: int | None = None,
        temporal: bool = False,
        temporal_num_heads: int = 8,
        temporal_attention_mult: float = 2.0,
        temporal_feed_forward_mult: float = 8 / 3,
        max_frames: int = 30,
        frame_rate: int = 4,
        motion_map_dim: int | None = None,
        motion_map_harmonics: int = 3,
        shared_frame_noise: float = 0.0,
        alignment: bool = False,
        alignment_width_mult: float = 1.0,
        alignment_feed_forward_mult: float = 4.0,
        environment_dim: int = 256,
        environment_channels: tuple[int, ...] = (64, 128),
        environment_num_res_blocks: int = 1,
        environment_tokens: int = 1,
        with_environment_map: bool = False,
        seconds_per_frame: float | None = None,
        seconds_per_row: float | None = None,
        quantized_maps: bool = False,
        skip: str = "ordinary",
    ):
        super().__init__()
        self._build()

    def _entry(self, in_channels: int, channels: int) -> nn.Module:
        return nn.Conv2d(in_channels, channels, 3, padding=1)

    def _residual(self, in_channels: int, channels: int) -> nn.Module:
        block = ResnetBlock2D(
            in_channels=in_channels,
            out_channels=channels,
            temb_channels=self.time_embedding_dim,
            groups=self.config.norm_num_groups,
            eps=1e-5,
        )
        zero_init(block.conv2)
        return block

    def _down(self, channels: int) -> nn.Module:
        return Downsample2D(channels, use_conv=True, padding=1, name="op")

    def _up(self, channels: int) -> nn.Module:
        return Upsample2D(channels, use_conv=True)

    def _temporal(self, channels: int) -> nn.Module:
        config = self.config
        attention_width = int(channels * config.temporal_attention_mult)
        if attention_width % config.temporal_num_heads:
            raise ConfigurationError(
                f"temporal_num_heads: {config.temporal_num_heads} must divide {attention_width}, the width of temporal "
                f"attention at {channels} channels"
            )
        return TemporalBlock(
            channels,
            num_heads=config.temporal_num_heads,
            attention_mult=config.temporal_attention_mult,
            feed_forward_mult=config.temporal_feed_forward_mult,
            max_frames=config.max_frames,
            frame_rate=config.frame_rate,
            norm_num_groups=config.norm_num_groups,
        )

    def _projection(self, channels: int, out_channels: int) -> nn.Module:
        return nn.Conv2d(channels, out_channels, 3, padding=1)

    def _fold(self, sample: Tensor) -> tuple[Tensor, int | None]:
        if sample.ndim == 4:
            return sample, None
        if self.config.temporal and sample.shape[2] > self.config.max_frames:
            raise ArgumentError(
                f"num_frames: {sample.shape[2]} frames asked, this model knows positions for {self.config.max_frames}"
            )
        return sample.transpose(1, 2).flatten(0, 1), sample.shape[2]

    def duration(self, sample: Tensor) -> float | None:
        """Seconds that a clip [B, C, F, H, W] or a spectrogram's latent [B, C, T, M] covers; None where none are told."""
        config = self.config
        seconds = config.seconds_per_row if sample.ndim == 4 else config.seconds_per_frame
        return seconds * sample.shape[2] if seconds else None
