"""Frames to the size an app wants: Lanczos for colours and alpha apart, so that edges stay clean."""

import numpy as np
from PIL import Image

from .cutout import spread_colours

_SOFT_PIXELS = 3.0


def fit(frames: np.ndarray, side: int, crisp: bool = False) -> np.ndarray:
    """Frames padded to a square and scaled to ``side`` pixels.

    Args:
        frames: uint8 ``[num_frames, height, width, 4]``. Opaque frames are padded with white, others with nothing.
        side: in pixels.
        crisp: make an enlarged outline about three pixels wide again. For cut-outs, whose alpha is only an outline;
            an alpha that was drawn may mean glass or smoke.

    Returns:
        uint8 ``[num_frames, side, side, 4]``.
    """
    opaque = bool((frames[..., 3] == 255).all())
    return np.stack([_fit(frame, side, crisp, opaque) for frame in frames])


def _fit(frame: np.ndarray, side: int, crisp: bool, opaque: bool) -> np.ndarray:
    height, width = frame.shape[:2]
    square = max(height, width)
    top, left = (square - height) // 2, (square - width) // 2
    padded = np.zeros((square, square, 4), np.uint8)
    padded[..., :3] = 255
    padded[..., 3] = 255 * opaque
    padded[top : top + height, left : left + width] = frame
    if opaque:
        colours = _scaled(Image.fromarray(np.ascontiguousarray(padded[..., :3])), side)
        return np.dstack([colours, np.full((side, side), 255, np.uint8)])
    # What is transparent has no colour of its own: what lies beside it goes on there, else its white or black mixes in.
    spread = spread_colours(padded[..., :3].astype(np.float32), padded[..., 3] > 0, rounds=4)
    colours = _scaled(Image.fromarray(spread.round().clip(0, 255).astype(np.uint8)), side)
    alpha = _scaled(Image.fromarray(np.ascontiguousarray(padded[..., 3])), side).astype(np.float32) / 255
    if crisp:
        alpha = ((alpha - 0.5) * max(1.0, side / square / _SOFT_PIXELS) + 0.5).clip(0, 1)
    return np.dstack([colours, (alpha * 255).round().astype(np.uint8)])


def _scaled(image: Image.Image, side: int) -> np.ndarray:
    return np.asarray(image if image.size == (side, side) else image.resize((side, side), Image.Resampling.LANCZOS))
