"""Stickers made to look more like photographs: perspective, light, shadow, texture, other grounds, blur, grain and JPEG.

A network that is shown photographs has learned things from drawings. What both have in common is shape; all that drawings have
and photographs have not (flat colours, clear ground, one view) is varied away here.
"""

import io

import numpy as np
from PIL import Image, ImageFilter

from .collages import random_ground
from .compositing import premultiplied


def photographic(
    picture: np.ndarray, photos: np.ndarray, rng: np.random.Generator, strength: float = 1.0
) -> np.ndarray:
    """One sticker as if photographed, uint8 RGB [H, W, 3].

    Args:
        picture: straight uint8 RGBA [H, W, 4].
        photos: straight uint8 RGBA [N, H, W, 4]; parts of them are grounds. May be empty.
        rng: of every choice.
        strength: from 0 (little changes but the ground) to 1.
    """
    side = len(picture)
    thing = _seen_from_elsewhere(premultiplied(picture), rng, strength)
    alpha = thing[..., 3:].astype(np.float32) / 255
    colour = thing[..., :3].astype(np.float32)
    ground = random_ground(side, photos, rng)[..., :3].astype(np.float32)
    grey = ground.mean(-1, keepdims=True)
    ground = grey + (ground - grey) * (1 - strength * rng.uniform(0.1, 0.9))
    if rng.random() < 0.6:
        ground *= 1 + 0.35 * strength * cloudy(side, rng)[..., None]
    ground *= 1 - _shadow(thing[..., 3], rng, strength)[..., None]
    lit = colour * _light(side, rng, strength)[..., None]
    if rng.random() < 0.7:
        lit *= 1 + 0.3 * strength * cloudy(side, rng)[..., None]
    scene = np.minimum(lit, 255 * alpha) + ground * (1 - alpha)
    return _through_a_lens(_other_colours(scene, rng, strength), rng, strength)


def cloudy(side: int, rng: np.random.Generator) -> np.ndarray:
    """A soft random texture, float32 [side, side], about -1 to 1: noise of several sizes."""
    total = np.zeros((side, side), np.float32)
    for cells, weight in ((4, 0.5), (10, 0.3), (28, 0.25), (64, 0.15)):
        noise = rng.normal(0, 1, (cells, cells)).astype(np.float32)
        total += weight * np.asarray(Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC))
    return total.clip(-1, 1)


def _seen_from_elsewhere(thing: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Another place, size, slant and perspective; premultiplied uint8 RGBA in and out."""
    side = len(thing)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    angle = np.deg2rad(rng.uniform(-20, 20) * strength)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    target = (corners - 0.5) @ turn.T * rng.uniform(1 - 0.45 * strength, 1 + 0.1 * strength) + 0.5
    target += rng.uniform(-0.12, 0.12, (1, 2)) * strength + rng.uniform(-0.1, 0.1, (4, 2)) * strength
    image = Image.frombuffer("RGBA", (side, side), thing.tobytes())
    coefficients = _perspective(target * side, corners * side)
    return np.asarray(
        image.transform((side, side), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
    )


def _perspective(to: np.ndarray, of: np.ndarray) -> tuple[float, ...]:
    """Pillow's eight coefficients: where in the old picture each point of the new one is. Corners [4, 2], x and y."""
    rows, values = [], []
    for (x, y), (u, v) in zip(to, of):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return tuple(np.linalg.solve(np.array(rows), np.array(values)))


def _shadow(alpha: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """How much darker the ground is where the thing's shadow falls, float32 [H, W]."""
    if rng.random() < 0.3:
        return np.zeros(alpha.shape, np.float32)
    side = len(alpha)
    blurred = Image.fromarray(np.ascontiguousarray(alpha)).filter(ImageFilter.BoxBlur(rng.uniform(0.01, 0.06) * side))
    shift = tuple(int(each) for each in rng.uniform(-0.08, 0.12, 2) * side)
    moved = np.roll(np.asarray(blurred), shift, (0, 1)).astype(np.float32) / 255
    return moved * rng.uniform(0.2, 0.7) * strength


def _light(side: int, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Brighter on one side than on the other, perhaps with a highlight, float32 [side, side]."""
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[:side, :side].astype(np.float32) / side - 0.5
    light = (
        1
        + strength * rng.uniform(-0.35, 0.15)
        + strength * rng.uniform(0, 0.7) * (np.cos(angle) * columns + np.sin(angle) * rows)
    )
    if rng.random() < 0.4:
        y, x = rng.uniform(-0.3, 0.3, 2)
        light += (
            strength
            * rng.uniform(0.1, 0.5)
            * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / rng.uniform(0.005, 0.03))
        )
    return light


def _other_colours(scene: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Less saturated, in warmer or colder light, brighter or darker; float RGB."""
    grey = scene.mean(-1, keepdims=True)
    scene = grey + (scene - grey) * (1 + strength * rng.uniform(-0.6, 0.15))
    scene = scene * (1 + strength * rng.uniform(-0.15, 0.15, 3)) * (1 + strength * rng.uniform(-0.3, 0.2))
    return 255 * (scene.clip(0, 255) / 255) ** np.exp(strength * rng.uniform(-0.35, 0.35))


def _through_a_lens(scene: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Blur, grain and JPEG; float RGB → uint8."""
    image = Image.fromarray(scene.clip(0, 255).astype(np.uint8))
    if rng.random() < 0.6:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.3) * strength * len(scene) / 128))
    grained = np.asarray(image) + rng.normal(0, rng.uniform(0, 12) * strength, scene.shape)
    image = Image.fromarray(grained.clip(0, 255).astype(np.uint8))
    if rng.random() < 0.5:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(rng.integers(25, 90)))
        image = Image.open(file).convert("RGB")
    return np.asarray(image)


def photographed_again(
    photo: np.ndarray, photos: np.ndarray, rng: np.random.Generator, strength: float = 0.5
) -> np.ndarray:
    """A photograph in other light, cropped, perhaps mirrored, uint8 RGB [H, W, 3]; a cut-out thing gets another ground."""
    photo = photo[:, :: 1 if rng.random() < 0.5 else -1]
    if photo[..., 3].min() < 128:
        return photographic(np.ascontiguousarray(photo), photos, rng, strength)
    side = len(photo)
    crop = int(side * rng.uniform(0.75, 1))
    top, left = rng.integers(0, side - crop + 1, 2)
    part = Image.fromarray(np.ascontiguousarray(photo[top : top + crop, left : left + crop, :3]))
    again = np.asarray(part.resize((side, side), Image.Resampling.BICUBIC)).astype(np.float32)
    return _through_a_lens(_other_colours(again, rng, strength), rng, strength)
