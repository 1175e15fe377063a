"""Clips ↔ latents: the image autoencoder, frame by frame (paper §3.2)."""

from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange

from ..errors import ArgumentError
from ..media import Video, fit_square_frames, sample_frames
from .image import ImageAutoencoder, to_pixel_values, to_uint8, to_unit_range
from .normalisation import require_finite
from .transparent import image_codec, is_transparent, to_channels, to_rgba

FRAMES_AT_ONCE = 32
"""Frames in one call of the autoencoder, so that long clips need no more memory than short ones."""


class VideoCodec:
    """``Video`` objects ↔ latents [B, C, F, h, w].

    Args:
        autoencoder: turns single frames into latents and back.
    """

    def __init__(self, autoencoder: ImageAutoencoder):
        self.autoencoder = autoencoder
        self.images = image_codec(autoencoder)
        self.is_transparent = is_transparent(autoencoder)
        self.defaults = self.images.defaults | {"num_frames": autoencoder.config.sample_frames}

    def latent_shape(self, batch_size: int, num_frames: int | None = None, **size: object) -> tuple[int, ...]:
        """[B, C, F, h, w] for clips of ``num_frames`` frames of height x width pixels.

        Raises:
            ArgumentError: if a side is no positive multiple of the autoencoder's downsampling, or there is no frame.
        """
        num_frames = self.defaults["num_frames"] if num_frames is None else num_frames
        if num_frames < 1:
            raise ArgumentError(f"num_frames: must be at least 1, not {num_frames}")
        batch, channels, height, width = self.images.latent_shape(batch_size, **size)
        return batch, channels, num_frames, height, width

    def encode(
        self, videos: Sequence[Video], num_frames: int | None = None, height: int | None = None, **_: object
    ) -> torch.Tensor:
        """Clips → latents [B, C, F, h, w] of the frames shown at the model's rate; short clips start again."""
        num_frames = num_frames or self.defaults["num_frames"]
        side = height or self.defaults["height"]
        chosen = [sample_frames(video, num_frames, self.autoencoder.config.sample_fps) for video in videos]
        pixels = torch.cat([self._channels(fit_square_frames(video, side).frames) for video in chosen])
        pixels = pixels.to(self.autoencoder.device, self.autoencoder.dtype)
        latents = torch.cat([self.autoencoder.encode(frames) for frames in pixels.split(FRAMES_AT_ONCE)])
        return rearrange(latents, "(b f) c h w -> b c f h w", f=num_frames)

    def _channels(self, frames: np.ndarray) -> torch.Tensor:
        """uint8 RGB [F, H, W, 3] → what the autoencoder takes."""
        if not self.is_transparent:
            return to_pixel_values(frames)
        return to_channels(np.concatenate([frames, np.full_like(frames[..., :1], 255)], -1))

    def decode(self, latents: torch.Tensor) -> list[Video]:
        """Latents [B, C, F, h, w] → clips without sound, at the model's frame rate; transparent ones over white, with alpha."""
        if self.is_transparent:
            clips = to_rgba(self.pixel_values(latents))
            return [Video.from_rgba(frames, self.autoencoder.config.sample_fps) for frames in clips]
        return [Video(frames, self.autoencoder.config.sample_fps) for frames in to_uint8(self.pixel_values(latents))]

    def decode_arrays(self, latents: torch.Tensor) -> np.ndarray:
        """Latents [B, C, F, h, w] → float32 [B, F, H, W, 3], or 4 with alpha, in [0, 1]."""
        if self.is_transparent:
            return to_rgba(self.pixel_values(latents)).astype(np.float32) / 255
        return to_unit_range(self.pixel_values(latents))

    def pixel_values(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents [B, C, F, h, w] → frames [B, F, 3, H, W] (or channels [B, F, 4, H, W]) in [-1, 1], on the CPU."""
        single = rearrange(latents.to(self.autoencoder.dtype), "b c f h w -> (b f) c h w")
        pixels = torch.cat([self.autoencoder.decode(frames).cpu() for frames in single.split(FRAMES_AT_ONCE)])
        require_finite("video", pixels)
        return rearrange(pixels, "(b f) c h w -> b f c h w", b=latents.shape[0])
