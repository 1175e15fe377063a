"""The denoiser of vectors: text. The topology of ``UNet`` with linear layers in place of convolutions (SPEC §2.3)."""

from diffusers.configuration_utils import register_to_config

from .layers import FlatLayers
from .topology import Denoiser


class FlatUNet(Denoiser):
    """Denoiser of a latent vector [B, in_channels].

    Inside, a feature is ``channels * feature_tokens`` numbers, channel-major; attention sees it as ``feature_tokens``
    tokens. Down- and up-sampling are linear layers that keep the size, skips are concatenated along the channels.

    Args:
        feature_tokens: tokens per feature (4 in the published network).
        Others: as in ``UNet``; widths count channels, so a level holds ``channels * feature_tokens`` numbers.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 256,
        out_channels: int = 256,
        feature_tokens: int = 4,
        model_channels: int = 64,
        channel_mult: tuple[int, ...] = (1, 2),
        num_res_blocks: tuple[int, ...] = (2, 2),
        with_attention: tuple[bool, ...] = (True, True),
        num_attention_heads: int = 4,
        cross_attention_dim: int = 256,
        context_scale: float = 1.0,
        feed_forward_mult: float = 4.0,
        norm_num_groups: int = 32,
        time_embedding_dim: int | None = None,
        skip: str = "ordinary",
    ):
        super().__init__()
        self._build(FlatLayers(time_embedding_dim or 4 * model_channels, norm_num_groups, feature_tokens))
