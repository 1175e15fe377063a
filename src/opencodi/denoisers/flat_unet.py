"""The denoiser of vectors: text. The topology of ``UNet`` with linear layers in place of convolutions (SPEC §2.3)."""

import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from .blocks import zero_init
from .topology import Denoiser


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


class FlatUNet(Denoiser):
    """Denoiser of a latent vector [B, in_channels].

    Inside, a feature is ``channels * feature_tokens`` numbers, channel-major; attention sees it as ``feature_tokens``
    tokens. Down- and up-sampling are linear layers that keep the size, skips are concatenated along the channels.

    Args:
        feature_tokens: tokens per feature (4 in the published network).
        prompt_map_dim: hidden width of the prompt map (``PromptMap``), here a vector like the latent; None builds none.
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
        with_alignment: tuple[bool, ...] = (True, True),
        num_attention_heads: int = 4,
        cross_attention_dim: int = 256,
        context_scale: float = 1.0,
        feed_forward_mult: float = 4.0,
        norm_num_groups: int = 32,
        time_embedding_dim: int | None = None,
        prompt_map_dim: int | None = None,
        alignment: bool = False,
        alignment_width_mult: float = 1.0,
        alignment_feed_forward_mult: float = 4.0,
        environment_dim: int = 256,
        environment_channels: tuple[int, ...] = (64, 128),
        environment_num_res_blocks: int = 1,
        environment_tokens: int = 1,
        with_environment_map: bool = False,
        skip: str = "ordinary",
    ):
        super().__init__()
        self.tokens_per_feature = feature_tokens
        self._build()

    def _entry(self, in_channels: int, channels: int) -> nn.Module:
        return nn.Linear(in_channels, channels * self.tokens_per_feature)

    def _residual(self, in_channels: int, channels: int) -> nn.Module:
        tokens = self.tokens_per_feature
        return FlatResidualBlock(
            in_channels * tokens, channels * tokens, self.time_embedding_dim, self.config.norm_num_groups
        )

    def _down(self, channels: int) -> nn.Module:
        return nn.Linear(channels * self.tokens_per_feature, channels * self.tokens_per_feature)

    _up = _down

    def _projection(self, channels: int, out_channels: int) -> nn.Module:
        return nn.Linear(channels * self.tokens_per_feature, out_channels)
