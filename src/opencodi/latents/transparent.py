"""Pictures with transparency ↔ latents.

A network sees four channels: the colours, premultiplied by alpha around middle grey, c = alpha * (2 rgb - 1), and 2 alpha - 1.
Where nothing is, colours are 0, so that neither white nor black ground is nearer to them. The picture over a ground g in
[-1, 1] is c + (1 - alpha) g: linear, without a division.
"""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from ..media import fit_square
from .image import ImageAutoencoder, ImageCodec

CLEAR, SOLID = 0.03, 0.97
"""Decoded alpha below and above these is 0 and 1: flat ground without grain, and no veil where nothing is."""


def to_channels(rgba: np.ndarray | torch.Tensor) -> torch.Tensor:
    """uint8 RGBA [..., H, W, 4] → float32 channels [..., 4, H, W] in [-1, 1]."""
    pixels = torch.as_tensor(rgba).float() / 255
    alpha = pixels[..., 3:]
    channels = torch.cat([alpha * (2 * pixels[..., :3] - 1), 2 * alpha - 1], dim=-1)
    return channels.movedim(-1, -3).contiguous()


def to_rgba(channels: torch.Tensor) -> np.ndarray:
    """Channels [..., 4, H, W], as a decoder makes them → uint8 RGBA [..., H, W, 4] with clean flat parts."""
    channels = channels.float().cpu()
    alpha = (channels[..., 3:, :, :] + 1) / 2
    colour = (channels[..., :3, :, :] / alpha.clamp_min(CLEAR)).clamp(-1, 1)
    alpha = ((alpha - CLEAR) / (SOLID - CLEAR)).clamp(0, 1)
    colour = torch.where(alpha > 0, (colour + 1) / 2, 0)
    return (torch.cat([colour, alpha], dim=-3) * 255).round().byte().movedim(-3, -1).numpy()


def over(channels: torch.Tensor, ground: torch.Tensor | float) -> torch.Tensor:
    """Channels [..., 4, H, W] laid over a ground [..., 3, H, W] (or what broadcasts to it) → RGB [..., 3, H, W].

    Colours and ground are in [-1, 1]: 1 is a white ground.
    """
    return channels[..., :3, :, :] + (1 - channels[..., 3:, :, :]) / 2 * ground


class TransparentImageCodec(ImageCodec):
    """RGBA pictures ↔ latents, for an autoencoder with ``image_channels=4``.

    Args:
        autoencoder: turns channels into latents and back.
    """

    def __init__(self, autoencoder: ImageAutoencoder):
        super().__init__(autoencoder)

    def encode(self, images: Sequence[Image.Image], height: int | None = None, **_: object) -> torch.Tensor:
        """Pictures of any size and mode → latents [B, C, h, w].

        A square picture of the right size keeps its transparency; any other is fitted over white, as the RGB codec does.
        """
        side = height or self.defaults["height"]
        pixels = torch.stack([to_channels(_square(image, side)) for image in images])
        return self.autoencoder.encode(pixels.to(self.autoencoder.device, self.autoencoder.dtype))

    def decode(self, latents: torch.Tensor) -> list[Image.Image]:
        """Latents [B, C, h, w] → RGBA pictures."""
        return [Image.fromarray(picture) for picture in to_rgba(self._pixel_values(latents))]

    def decode_arrays(self, latents: torch.Tensor) -> np.ndarray:
        """Latents [B, C, h, w] → float32 RGBA [B, H, W, 4] in [0, 1]."""
        return to_rgba(self._pixel_values(latents)).astype(np.float32) / 255


def image_codec(autoencoder: ImageAutoencoder) -> ImageCodec:
    """The codec of this autoencoder: with four channels pictures are RGBA."""
    return (TransparentImageCodec if is_transparent(autoencoder) else ImageCodec)(autoencoder)


def is_transparent(autoencoder: ImageAutoencoder) -> bool:
    """Whether it makes pictures with alpha."""
    return autoencoder.config.get("image_channels", 3) == 4


def _square(image: Image.Image, side: int) -> np.ndarray:
    if image.mode == "RGBA" and image.width == image.height:
        # "RGBa" is premultiplied: no colour of clear pixels bleeds into the edge.
        return np.array(image.convert("RGBa").resize((side, side), Image.Resampling.LANCZOS).convert("RGBA"))
    return np.array(fit_square(image, side).convert("RGBA"))
