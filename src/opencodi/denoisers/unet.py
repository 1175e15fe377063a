"""The denoiser of feature maps: images, and audio as the latents of a mel spectrogram."""

import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from .context import Context
from .layers import MapLayers
from .topology import Denoiser


class UNet(Denoiser):
    """Latent diffusion UNet with cross-attention on the prompt (CoDi §3.2, SPEC §2.1).

    It knows neither time nor other modalities: videos need a ``TemporalAdapter``, joint generation an ``AlignmentAdapter``.

    Args:
        in_channels: latent channels.
        out_channels: predicted channels.
        model_channels: channels at full resolution.
        channel_mult: channels of each level, as multiples of ``model_channels``; each level halves the resolution.
        num_res_blocks: residual blocks of each level (one more in the decoder).
        with_attention: per level, attention on positions and prompt. The middle always has it.
        num_attention_heads: heads of every attention; must divide every width.
        cross_attention_dim: size of a prompt token.
        context_scale: factor on prompt tokens; entries of an L2-normalised token are tiny.
        feed_forward_mult: width of the feed-forward in attention, as a multiple of the channels.
        norm_num_groups: groups of every group norm; must divide every width.
        time_embedding_dim: width of the time embedding; None: ``4 * model_channels``.
        skip: ``"ordinary"``, or ``"aliased"`` as published (SPEC §0.2).
        patch_size: latent positions folded into channels per side before the first convolution; 1 folds nothing. A CPU computes
            wide layers at low resolution in a fraction of the time. Sides must be multiples of it.
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
        num_attention_heads: int = 4,
        cross_attention_dim: int = 256,
        context_scale: float = 1.0,
        feed_forward_mult: float = 4.0,
        norm_num_groups: int = 32,
        time_embedding_dim: int | None = None,
        skip: str = "ordinary",
        patch_size: int = 1,
    ):
        super().__init__()
        self._build(MapLayers(time_embedding_dim or 4 * model_channels, norm_num_groups))

    def forward(self, sample: Tensor, timesteps: Tensor, encoder_hidden_states: Tensor | Context) -> Tensor:
        """As ``Denoiser.forward``, between folding and unfolding."""
        side = self.config.patch_size
        if side == 1:
            return super().forward(sample, timesteps, encoder_hidden_states)
        folded = super().forward(F.pixel_unshuffle(sample, side), timesteps, encoder_hidden_states)
        return F.pixel_shuffle(folded, side)
