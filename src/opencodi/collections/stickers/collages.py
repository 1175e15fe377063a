"""Collages: things laid anywhere over any ground. They mean nothing; an autoencoder learns from them what pictures look like.

Scenes that a caption describes are in ``scenes``; a collage only has their sizes, overlaps, edges and grounds.
"""

import numpy as np
from PIL import Image

from .compositing import alpha_box, lay, premultiplied, resized, straight


def collage(pictures: np.ndarray, photos: np.ndarray, rng: np.random.Generator, clear_share: float = 0.4) -> np.ndarray:
    """One collage, straight uint8 RGBA [H, W, 4].

    Args:
        pictures: straight uint8 RGBA [N, H, W, 4]; one to four of them are laid over the ground.
        photos: the same; some grounds are parts of one.
        rng: of every choice.
        clear_share: how many have no ground.
    """
    side = pictures.shape[1]
    if rng.random() < clear_share:
        canvas = np.zeros((side, side, 4), np.uint8)
    else:
        canvas = random_ground(side, photos, rng)
    for _ in range(rng.choice(4, p=(0.25, 0.4, 0.25, 0.1)) + 1):
        thing = premultiplied(pictures[rng.integers(len(pictures))])
        top, left, bottom, right = alpha_box(thing)
        thing = thing[top:bottom, left:right]
        scale = rng.uniform(0.2, 0.95) * side / max(thing.shape[:2])
        height, width = (max(4, round(length * scale)) for length in thing.shape[:2])
        thing = resized(thing, height, width)[:, :: 1 if rng.random() < 0.5 else -1]
        lay(
            canvas,
            thing,
            int(rng.integers(-height // 4, side - height * 3 // 4 + 1)),
            int(rng.integers(-width // 4, side - width * 3 // 4 + 1)),
        )
    return straight(canvas)


def random_ground(side: int, photos: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An opaque ground, uint8 RGBA [side, side, 4]: plain, a gradient, two halves or a photograph, with specks or without."""
    colours = rng.integers(0, 256, (3, 3)).astype(np.float32)
    across = np.linspace(0, 1, side, dtype=np.float32)
    kind = rng.choice(4, p=(0.25, 0.35, 0.25, 0.15))
    if kind == 0 or (kind == 3 and not len(photos)):
        ground = np.broadcast_to(colours[0], (side, side, 3)).copy()
    elif kind == 1:
        angle = rng.uniform(0, 2 * np.pi)
        ramp = np.add.outer(np.sin(angle) * across, np.cos(angle) * across)
        ramp = (ramp - ramp.min()) / np.ptp(ramp)
        ground = colours[0] + (colours[1] - colours[0]) * ramp[..., None]
    elif kind == 2:
        wave = rng.uniform(0, 6) * np.sin(across * rng.uniform(2, 30) + rng.uniform(0, 6))
        edge = (np.arange(side)[:, None] - rng.uniform(0.3, 0.9) * side - wave + 0.5).clip(0, 1)
        ramp = colours[0] + (colours[2] - colours[0]) * across[:, None, None] * rng.uniform(0, 1)
        ground = ramp * (1 - edge[..., None]) + colours[1] * edge[..., None]
    else:
        ground = _photo(side, photos[rng.integers(len(photos))], rng)
    if rng.random() < 0.35:
        _speckle(ground, rng)
    opaque = np.full((side, side, 4), 255, np.uint8)
    opaque[..., :3] = ground.clip(0, 255)
    return opaque


def _photo(side: int, photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Part of a photograph over white, scaled to the whole ground."""
    image = Image.fromarray(photo)
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    crop = int(rng.integers(side // 2, side + 1))
    left, top = (int(rng.integers(0, side - crop + 1)) for _ in range(2))
    part = white.convert("RGB").resize((side, side), Image.Resampling.BICUBIC, (left, top, left + crop, top + crop))
    return np.asarray(part).astype(np.float32)


def _speckle(ground: np.ndarray, rng: np.random.Generator) -> None:
    """Dots or slanted streaks of one colour, such as snow, stars and rain are made of, in place on float [side, side, 3]."""
    side, colour = len(ground), rng.integers(0, 256, 3)
    length, slant = int(rng.choice((1, 1, 6, 10))), rng.uniform(-0.5, 0.5)
    for _ in range(rng.integers(8, 80)):
        opacity, size = rng.uniform(0.2, 1), int(rng.integers(1, 4)) if length == 1 else 1
        row, column = rng.integers(0, side, 2)
        for step in range(length):
            rows = slice(row + step, row + step + size)
            columns = slice(int(column + slant * step), int(column + slant * step) + size)
            if columns.start >= 0:
                ground[rows, columns] += (colour - ground[rows, columns]) * opacity
