"""Images ↔ latents: pixel-unshuffle, then a library AutoencoderKL."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.utils.accelerate_utils import apply_forward_hook
from PIL import Image

from ..errors import ArgumentError
from ..media import fit_square
from .normalisation import denormalise, normalise, require_finite


class ImageAutoencoder(ModelMixin, ConfigMixin):
    """A variational autoencoder for images; the published AutoKL is the configuration with ``patch_size=1``.

    Small images are folded into channels first (pixel-unshuffle): on a CPU, wide layers at low resolution cost a
    fraction of narrow ones at full resolution.

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
        sample_size: height and width made by default, in pixels.
        sample_frames: frames of a clip made by default.
        sample_fps: frames per second of clips.
        image_channels: of a picture: 3 are RGB; 4 are what ``latents.transparent`` makes of RGBA.
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
        sample_size: int = 64,
        sample_frames: int = 16,
        sample_fps: float = 8.0,
        image_channels: int = 3,
    ):
        super().__init__()
        levels = len(block_out_channels)
        self.vae = AutoencoderKL(
            in_channels=image_channels * patch_size**2,
            out_channels=image_channels * patch_size**2,
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
        """The distribution of raw latents for pixel_values [B, 3, H, W]; H and W multiples of ``downsampling``."""
        return self.vae.encode(F.pixel_unshuffle(pixel_values, self.config.patch_size)).latent_dist

    def reconstruct(self, raw: torch.Tensor) -> torch.Tensor:
        """Raw latents [B, C, h, w] → pixel values [B, 3, H, W], about [-1, 1], unclamped."""
        return F.pixel_shuffle(self.vae.decode(raw).sample, self.config.patch_size)

    @apply_forward_hook
    def encode(
        self, pixel_values: torch.Tensor, generator: torch.Generator | None = None, sample: bool = False
    ) -> torch.Tensor:
        """pixel_values [B, 3, H, W] in [-1, 1] → normalised latents [B, C, h, w]: posterior mean unless ``sample``."""
        posterior = self.posterior(pixel_values)
        return normalise(posterior.sample(generator) if sample else posterior.mode(), self.config)

    @apply_forward_hook
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Normalised latents [B, C, h, w] → pixel values [B, 3, H, W] in [-1, 1]."""
        return self.reconstruct(denormalise(latents, self.config)).clamp(-1, 1)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """pixel_values [B, 3, H, W] through the autoencoder and back, from the posterior mean."""
        return self.decode(self.encode(pixel_values))


class ImageCodec:
    """PIL images ↔ latents.

    Args:
        autoencoder: turns pixels into latents and back.
    """

    def __init__(self, autoencoder: ImageAutoencoder):
        self.autoencoder = autoencoder
        self.defaults = {"height": autoencoder.config.sample_size, "width": autoencoder.config.sample_size}

    def latent_shape(
        self, batch_size: int, height: int | None = None, width: int | None = None, **_: object
    ) -> tuple[int, ...]:
        """[B, C, h, w] for images of height x width pixels (the model's own size by default).

        Raises:
            ArgumentError: if a side is no positive multiple of the autoencoder's downsampling.
        """
        sides = {"height": height or self.defaults["height"], "width": width or self.defaults["width"]}
        factor = self.autoencoder.downsampling
        for name, side in sides.items():
            if side < 1 or side % factor:
                raise ArgumentError(f"{name}: must be a positive multiple of {factor} pixels, not {side}")
        return (batch_size, self.autoencoder.config.latent_channels, *(side // factor for side in sides.values()))

    def encode(self, images: Sequence[Image.Image], height: int | None = None, **_: object) -> torch.Tensor:
        """Images of any size and mode, each fitted over white into a square of ``height`` pixels → latents [B, C, h, w]."""
        side = height or self.defaults["height"]
        pixels = torch.stack([to_pixel_values(fit_square(image, side)) for image in images])
        return self.autoencoder.encode(pixels.to(self.autoencoder.device, self.autoencoder.dtype))

    def decode(self, latents: torch.Tensor) -> list[Image.Image]:
        """Latents [B, C, h, w] → RGB images."""
        return [Image.fromarray(picture) for picture in to_uint8(self._pixel_values(latents))]

    def decode_arrays(self, latents: torch.Tensor) -> np.ndarray:
        """Latents [B, C, h, w] → float32 [B, H, W, 3] in [0, 1]."""
        return to_unit_range(self._pixel_values(latents))

    def _pixel_values(self, latents: torch.Tensor) -> torch.Tensor:
        return require_finite("image", self.autoencoder.decode(latents.to(self.autoencoder.dtype)))


def to_pixel_values(image: Image.Image | np.ndarray) -> torch.Tensor:
    """An RGB image or uint8 array [..., H, W, 3] → float32 pixel values [..., 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.array(image)).movedim(-1, -3) / 127.5 - 1


def to_uint8(pixel_values: torch.Tensor) -> np.ndarray:
    """Pixel values [..., 3, H, W], clamped to [-1, 1] → uint8 [..., H, W, 3]."""
    scaled = (pixel_values.float().clamp(-1, 1) + 1) * 127.5
    return scaled.round().byte().movedim(-3, -1).cpu().numpy()


def to_unit_range(pixel_values: torch.Tensor) -> np.ndarray:
    """Pixel values [..., 3, H, W], clamped to [-1, 1] → float32 [..., H, W, 3] in [0, 1]."""
    return ((pixel_values.float().clamp(-1, 1) + 1) / 2).movedim(-3, -1).cpu().numpy()
