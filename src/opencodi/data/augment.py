"""From stored items to what a network sees: pictures over white and slightly moved, sounds at other speeds and levels.

Random choices come from a NumPy generator and are few; the work on every pixel and sample is done where the tensors are.
"""

import numpy as np
import torch
import torch.nn.functional as F

from ..latents.mel import prepare_waveform
from .soften import blur_each


def over_white(rgba: np.ndarray | torch.Tensor) -> torch.Tensor:
    """uint8 RGBA [..., H, W, 4] → float32 RGB [..., 3, H, W] in [-1, 1], transparent parts white."""
    pixels = torch.as_tensor(rgba).float() / 255
    alpha = pixels[..., 3:]
    rgb = pixels[..., :3] * alpha + (1 - alpha)
    return (rgb.movedim(-1, -3) * 2 - 1).contiguous()


def random_affine(
    pixel_values: torch.Tensor,
    rng: np.random.Generator,
    scale: float = 0.1,
    shift: float = 0.06,
    degrees: float = 0.0,
) -> torch.Tensor:
    """Zoom by up to ±``scale``, shift by up to ``shift`` of the side, turn by up to ±``degrees``; the new border is white.

    pixel_values: [B, 3, H, W] in [-1, 1] on any device; the same shape returns. Each picture gets its own draw.
    """
    count = pixel_values.shape[0]
    zoom = 1 + rng.uniform(-scale, scale, count)
    angle = np.deg2rad(rng.uniform(-degrees, degrees, count)) if degrees else np.zeros(count)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = torch.from_numpy(np.cos(angle) / zoom)
    theta[:, 0, 1] = torch.from_numpy(np.sin(angle) / zoom)
    theta[:, 1, 0] = -theta[:, 0, 1]
    theta[:, :, 2] = torch.from_numpy(rng.uniform(-2 * shift, 2 * shift, (count, 2)))
    grid = F.affine_grid(theta.to(pixel_values.device), list(pixel_values.shape), align_corners=False)
    # grid_sample pads with zeros, so white must be zero while it samples
    return F.grid_sample(pixel_values - 1, grid, align_corners=False) + 1


def cut_mix(
    pixel_values: torch.Tensor, others: torch.Tensor, rng: np.random.Generator, share: float
) -> tuple[torch.Tensor, float]:
    """With chance ``share``, one rectangle of ``others`` replaces the same place of all pictures (Yun et al. 2019).

    pixel_values and others: [B, C, H, W]. Returns the pictures and the share of their area that is still their own.
    """
    if rng.random() >= share:
        return pixel_values, 1.0
    height, width = pixel_values.shape[-2:]
    side = np.sqrt(rng.random())
    top, left = rng.integers(0, height), rng.integers(0, width)  # the centre; what is beyond the border is lost
    rows = slice(max(0, round(top - side * height / 2)), round(top + side * height / 2))
    columns = slice(max(0, round(left - side * width / 2)), round(left + side * width / 2))
    mixed = pixel_values.clone()
    mixed[..., rows, columns] = others[..., rows, columns]
    replaced = mixed[0, 0, rows, columns].numel() / (height * width)
    return mixed, 1 - replaced


def audio_batch(
    samples: np.ndarray | torch.Tensor, rng: np.random.Generator | None = None, speed: float = 0.15, peak: float = 0.9
) -> torch.Tensor:
    """int16 [B, S] on any device → float32 waveforms [B, S] of one loudness (``latents.mel.prepare_waveform``).

    With ``rng`` each item is played at its own speed (±``speed``, pitch follows) and starts up to 0.1 s later.
    """
    waveforms = torch.as_tensor(samples).float() / 32768
    if rng is not None:
        count = len(waveforms)
        faster = torch.from_numpy(rng.uniform(1 - speed, 1 + speed, (count, 1)))
        start = torch.from_numpy(rng.integers(0, 1600, (count, 1)))
        waveforms = played(waveforms, faster.to(waveforms.device), start.to(waveforms.device))
    return prepare_waveform(waveforms, peak)


def played(waveforms: torch.Tensor, faster: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """Waveforms [B, S] at ``faster`` [B, 1] times their speed, from sample ``start`` [B, 1] on; silence around them."""
    length = waveforms.shape[1]
    position = (torch.arange(length, device=waveforms.device) - start) * faster
    before = position.floor().long()
    heard = (position >= 0) & (before < length - 1)
    before = before.clamp(0, length - 2)
    part = (position - before).float()
    mixed = waveforms.gather(1, before) * (1 - part) + waveforms.gather(1, before + 1) * part
    return mixed * heard


def vary_mel(mel: torch.Tensor, tilt: float, noise: float, blur: float, generator: torch.Generator) -> torch.Tensor:
    """Other microphones and rooms: each log-mel of [B, 1, T, M] is tilted, blurred and made noisy by its own amounts.

    It rises or falls by up to ``tilt`` from the lowest to the highest bin; ``noise`` and ``blur`` (frames and bins) are
    largest standard deviations.
    """

    def strength(least: float, most: float) -> torch.Tensor:
        return torch.empty(len(mel), device=mel.device).uniform_(least, most, generator=generator)

    slope = torch.linspace(-0.5, 0.5, mel.shape[-1], device=mel.device)
    mel = blur_each(mel + strength(-tilt, tilt).view(-1, 1, 1, 1) * slope, strength(0, blur))
    grain = torch.randn(mel.shape, generator=generator, device=mel.device)
    return mel + grain * strength(0, noise).view(-1, 1, 1, 1)


def hide_bands(mel: torch.Tensor, frames: int, bins: int, value: float, generator: torch.Generator) -> torch.Tensor:
    """Set up to ``frames`` frames in a row and up to ``bins`` bins in a row of each mel [B, 1, T, M] to ``value``."""
    hidden = torch.zeros_like(mel, dtype=torch.bool)
    for axis, most in ((2, frames), (3, bins)):
        size = mel.shape[axis]
        shape = (len(mel), 1, 1, 1)
        length = (torch.rand(shape, generator=generator, device=mel.device) * (most + 1)).floor()
        start = (torch.rand(shape, generator=generator, device=mel.device) * (size - length + 1)).floor()
        position = torch.arange(size, device=mel.device).view([-1 if i == axis else 1 for i in range(4)])
        hidden |= (position >= start) & (position < start + length)
    return mel.masked_fill(hidden, value)
