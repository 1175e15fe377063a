"""Images ↔ latents: pixel-unshuffle, then a library AutoencoderKL."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

from .normalisation import denormalise, normalise


class ImageAutoencoder(ModelMixin, ConfigMixin):
    """A variational autoencoder for images; the published AutoKL is the configuration with ``patch_size=1``.

    Small images are folded into channels first (pixel-unshuffle): on a CPU, wide layers at low resolution cost a fraction of
    narrow ones at full resolution.

    Args:
        patch_size: pixels folded into channels per side before the first convolution; 1 folds nothing.
        latent_channels: C of the latents.
        block_out_channels: width of each level; every level but the last halves the resolution.
        layers_per_block: residual blocks per level (one more in the decoder).
        norm_num_groups: groups of every GroupNorm; must divide the widths.
        mid_block_add_attention: self-attention at the lowest resolution.
        scaling_factor: latents are multiplied by this (0.18215 in the published model, SPEC §1).
        latents_mean: per-channel mean of the raw latents, or None.
        latents_std: per-channel standard deviation of the raw latents, or None.
    """

    @register_to_config
    def __init__(
        self,
        patch_size: int = 2,
        latent_channels: int = 6,
        block_out_channels: Sequence[int] = (64, 160),
        layers_per_block: int = 1,
        norm_num_groups: int = 32,
        mid_block_add_attention: bool = True,
        scaling_factor: float = 1.0,
        latents_mean: Sequence[float] | None = None,
        latents_std: Sequence[float] | None = None,
    ):
        super().__init__()
        levels = len(block_out_channels)
        self.vae = AutoencoderKL(
            in_channels=3 * patch_size**2,
            out_channels=3 * patch_size**2,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=tuple(block_out_channels),
            layers_per_block=layers_per_block,
            latent_channels=latent_channels,
            norm_num_groups=norm_num_groups,
            mid_block_add_attention=mid_block_add_attention,
        )

    @property
    def downsampling(self) -> int:
        """Pixels per latent position, per side."""
        return self.config.patch_size * 2 ** (len(self.config.block_out_channels) - 1)

    def posterior(self, pixel_values: torch.Tensor) -> DiagonalGaussianDistribution:
        """The distribution of raw latents for pixel_values [B, 3, H, W] in [-1, 1]; H and W multiples of ``downsampling``."""
        return self.vae.encode(F.pixel_unshuffle(pixel_values, self.config.patch_size)).latent_dist

    def reconstruct(self, raw: torch.Tensor) -> torch.Tensor:
        """Raw latents [B, C, h, w] → pixel values [B, 3, H, W], about [-1, 1], unclamped."""
        return F.pixel_shuffle(self.vae.decode(raw).sample, self.config.patch_size)

    def encode(
        self, pixel_values: torch.Tensor, generator: torch.Generator | None = None, sample: bool = False
    ) -> torch.Tensor:
        """pixel_values [B, 3, H, W] in [-1, 1] → normalised latents [B, C, h, w]; the posterior mean unless ``sample``."""
        posterior = self.posterior(pixel_values)
        return normalise(posterior.sample(generator) if sample else posterior.mode(), self.config)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Normalised latents [B, C, h, w] → pixel values [B, 3, H, W] in [-1, 1]."""
        return self.reconstruct(denormalise(latents, self.config)).clamp(-1, 1)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """pixel_values [B, 3, H, W] through the autoencoder and back, from the posterior mean."""
        return self.decode(self.encode(pixel_values))
