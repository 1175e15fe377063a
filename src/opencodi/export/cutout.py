"""A plain white ground becomes transparent: flooded from the border, with soft edges and no white fringe."""

import numpy as np
from PIL import Image

WHITE = 236
"""A pixel whose darkest channel is at least this counts as white; generated grounds have a faint grain."""

_FLOOD_SIDE = 256
_LEAST_BORDER, _LEAST_LEFT = 0.5, 0.02


def cut_out(frames: np.ndarray) -> np.ndarray | None:
    """Frames with the white ground taken away.

    Args:
        frames: uint8 ``[num_frames, height, width, 3]``.

    Returns:
        uint8 ``[num_frames, height, width, 4]``: colours without the white that shone through, and alpha. ``None`` if
        there is no plain white ground: less than half the border is white, or nothing would be left.
    """
    grounds = [white_ground(frame) for frame in frames]
    for ground in grounds:
        border = np.concatenate([ground[0], ground[-1], ground[:, 0], ground[:, -1]])
        if border.mean() < _LEAST_BORDER or (~ground).mean() < _LEAST_LEFT:
            return None
    return np.stack([_matte(frame, ground) for frame, ground in zip(frames, grounds)])


def white_ground(frame: np.ndarray) -> np.ndarray:
    """Which pixels are white and joined to the border by white ones, bool ``[height, width]``.

    Pictures larger than 256 pixels are flooded at that size and looked at again at their own.
    """
    white = frame.min(-1) >= WHITE
    height, width = white.shape
    shrunk = max(height, width) > _FLOOD_SIDE
    small = white
    if shrunk:
        size = max(1, round(width * _FLOOD_SIDE / max(white.shape))), max(1, round(height * _FLOOD_SIDE / max(white.shape)))
        small = np.asarray(Image.fromarray(white).resize(size, Image.Resampling.NEAREST))
    ground = np.zeros_like(small)
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        ground[edge] = small[edge]
    while True:
        grown = _dilated(ground, diagonal=False) & small
        if (grown == ground).all():
            break
        ground = grown
    if shrunk:
        large = np.asarray(Image.fromarray(ground).resize((width, height), Image.Resampling.NEAREST))
        ground = _dilated(large) & white
    return ground


def _matte(frame: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Alpha and pure colours of one frame.

    A pixel beside the ground is a mixture of white and of the thing; the thing's colour there is taken from the least
    white of its neighbours, and how far the pixel lies between the two is its alpha.
    """
    colours = frame.astype(np.float32)
    edge = _dilated(_dilated(ground)) & ~ground
    darkness = np.where(ground, -1.0, 255.0 - colours.min(-1))
    pure = colours.copy()
    best = darkness.copy()
    for shift in _NEIGHBOURS:
        there = _shifted(darkness, shift, -1.0)
        better = there > best
        best = np.where(better, there, best)
        pure[better] = _shifted(colours, shift, 255.0)[better]
    towards_white = 255.0 - pure
    length = (towards_white**2).sum(-1)
    share = ((255.0 - colours) * towards_white).sum(-1) / np.maximum(length, 1.0)
    alpha = np.where(edge, share.clip(0, 1), 1.0)
    alpha[ground] = 0.0
    colours[edge] = pure[edge]
    rgb = spread_colours(colours, ~ground)
    return np.concatenate([rgb, (alpha[..., None] * 255)], axis=-1).round().clip(0, 255).astype(np.uint8)


def spread_colours(colours: np.ndarray, known: np.ndarray, rounds: int = 8) -> np.ndarray:
    """Colours ``[height, width, 3]`` carried outwards into unknown pixels, so that enlarging mixes no ground in."""
    colours, known = np.where(known[..., None], colours, 0.0).astype(np.float32), known.copy()
    if not known.any():
        return colours
    mean = colours[known].mean(0)
    for _ in range(rounds):
        total, count = np.zeros_like(colours), np.zeros(known.shape, np.float32)
        for shift in _NEIGHBOURS:
            total += _shifted(colours, shift, 0.0)
            count += _shifted(known, shift, False)
        new = ~known & (count > 0)
        if not new.any():
            break
        colours[new] = total[new] / count[new][:, None]
        known |= new
    colours[~known] = mean
    return colours


_NEIGHBOURS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0)]


def _shifted(array: np.ndarray, shift: tuple[int, int], fill: float) -> np.ndarray:
    """The array moved by so many rows and columns, ``fill`` where nothing moves in."""
    down, right = shift
    height, width = array.shape[:2]
    moved = np.full_like(array, fill)
    to = np.s_[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
    source = np.s_[max(0, -down) : height + min(0, -down), max(0, -right) : width + min(0, -right)]
    moved[to] = array[source]
    return moved


def _dilated(mask: np.ndarray, diagonal: bool = True) -> np.ndarray:
    grown = mask.copy()
    for shift in _NEIGHBOURS:
        if diagonal or 0 in shift:
            grown |= _shifted(mask, shift, False)
    return grown
