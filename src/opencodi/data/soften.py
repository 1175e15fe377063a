"""What pictures lose on their way: sharpness, exact colours, fine detail. For networks that must judge them all the same.

None of it is learned: a judge that has seen an autoencoder's own errors would judge that autoencoder's pictures too well.
"""

import math

import numpy as np
import torch


def soften(
    pixel_values: torch.Tensor,
    rng: np.random.Generator,
    share: float,
    blur: float,
    quantisation: float,
    noise: float,
    colour: float,
) -> torch.Tensor:
    """Blur, block quantisation, noise and a change of colours, each on its own random ``share`` of the pictures.

    Args:
        pixel_values: [B, 3, H, W] in [-1, 1] on any device; sides are multiples of 8.
        rng: draws which pictures, and how strongly.
        share: of the pictures that each of the four changes.
        blur: largest standard deviation in pixels.
        quantisation: largest step of the lowest frequency, see ``quantise_blocks``.
        noise: largest standard deviation.
        colour: inks become lighter or darker by up to this share, each channel on its own; white stays white.

    Returns:
        [B, 3, H, W] in [-1, 1].
    """
    count, device = len(pixel_values), pixel_values.device

    def strength(most: float) -> torch.Tensor:
        drawn = rng.uniform(0, most, count) * (rng.random(count) < share)
        return torch.from_numpy(drawn.astype(np.float32)).to(device)

    ink = 1 + torch.from_numpy(rng.uniform(-colour, colour, (count, 3)).astype(np.float32))
    changed = torch.from_numpy(rng.random(count) < share)[:, None]
    ink = torch.where(changed, ink, 1.0)[:, :, None, None].to(device)
    pixel_values = 1 - (1 - pixel_values) * ink
    pixel_values = blur_each(pixel_values, strength(blur))
    pixel_values = quantise_blocks(pixel_values, strength(quantisation))
    seeded = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
    grain = torch.randn(pixel_values.shape, generator=seeded, device=device)
    return (pixel_values + grain * strength(noise)[:, None, None, None]).clamp(-1, 1)


def blur_each(pixel_values: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Gaussian blur of [B, C, H, W] with its own standard deviation ``sigma`` [B] in pixels per picture; 0 is none."""
    rows, columns = (_blur_matrix(size, sigma) for size in pixel_values.shape[-2:])
    return rows @ pixel_values @ columns.transpose(-1, -2)


def _blur_matrix(size: int, sigma: torch.Tensor) -> torch.Tensor:
    """[B, 1, size, size]; every row sums to one, also at the border."""
    position = torch.arange(size, device=sigma.device)
    squared = (position[:, None] - position).square() / (2 * sigma.clamp_min(0.05)[:, None, None].square())
    return (-squared).softmax(-1).unsqueeze(1)


def quantise_blocks(pixel_values: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Round the cosine coefficients of 8x8 blocks, as JPEG does.

    Args:
        pixel_values: [B, C, H, W], H and W multiples of 8.
        step: [B], of the lowest frequency in the units of the pictures; it grows with frequency. 0 changes nothing.
    """
    frequency = torch.arange(8.0, device=pixel_values.device)
    basis = torch.cos(math.pi / 8 * frequency[:, None] * (frequency + 0.5)) / 2
    basis[0] /= math.sqrt(2)
    batch, channels, height, width = pixel_values.shape
    blocks = pixel_values.view(batch, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    steps = step.clamp_min(1e-6).view(-1, 1, 1, 1, 1, 1) * (1 + frequency[:, None] + frequency)
    rounded = (basis @ blocks @ basis.T / steps).round() * steps
    back = (basis.T @ rounded @ basis).transpose(3, 4).reshape(pixel_values.shape)
    return torch.where(step.view(-1, 1, 1, 1) > 0, back, pixel_values)
