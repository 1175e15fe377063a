"""Sample grids as PNG."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image


def save_grid(pixel_values: torch.Tensor, path: Path, columns: int = 8, gap: int = 2) -> None:
    """Write [B, 1 or 3, H, W] values in [-1, 1] as one picture of ``columns`` columns on a grey ground."""
    pixels = ((pixel_values.float().clamp(-1, 1) + 1) * 127.5).round().byte().cpu()
    if pixels.shape[1] == 1:
        pixels = pixels.expand(-1, 3, -1, -1)
    count, _, height, width = pixels.shape
    rows = -(-count // columns)
    canvas = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 128, np.uint8)
    for index, picture in enumerate(pixels.permute(0, 2, 3, 1).numpy()):
        top, left = gap + index // columns * (height + gap), gap + index % columns * (width + gap)
        canvas[top : top + height, left : left + width] = picture
    temporary = path.with_suffix(".partial.png")
    Image.fromarray(canvas).save(temporary)
    temporary.replace(path)
