"""Other colours for drawings: one thing recoloured, or a whole scene in a mood such as neon or black and white."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

COLOURS = {"red": 0.0, "orange": 0.075, "yellow": 0.14, "green": 0.34, "blue": 0.6, "purple": 0.76, "pink": 0.91}
"""Names of colours and their hues."""
GREYS = {"black": 0.28, "white": 1.0, "grey": 0.62}
"""Names of what has no hue, and how bright it is."""
LEAST_SATURATION = 0.25
NEAR = 0.09
"""Hues within this distance count as one colour."""


def to_hsv(rgb: np.ndarray) -> np.ndarray:
    """Float RGB [..., 3], 0 to 1 → hue, saturation, value, each 0 to 1."""
    value, least = rgb.max(-1), rgb.min(-1)
    spread = value - least
    safe = np.where(spread > 0, spread, 1)
    red, green, blue = np.moveaxis(rgb, -1, 0)
    hue = np.where(
        value == red, (green - blue) / safe, np.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    )
    hue = np.where(spread > 0, hue / 6 % 1, 0)
    return np.stack([hue, np.where(value > 0, spread / np.where(value > 0, value, 1), 0), value], -1)


def to_rgb(hsv: np.ndarray) -> np.ndarray:
    """The inverse of ``to_hsv``."""
    hue, saturation, value = np.moveaxis(hsv, -1, 0)
    sixths = (hue[..., None] * 6 + np.array([5.0, 3.0, 1.0])) % 6
    return value[..., None] * (1 - saturation[..., None] * np.clip(np.minimum(sixths, 4 - sixths), 0, 1))


def main_hue(picture: np.ndarray, least_share: float = 0.5) -> float | None:
    """The hue of most of a drawing; None if its colours are several or none.

    picture: premultiplied uint8 RGBA [H, W, 4].
    """
    solid = picture[..., 3] > 200
    if solid.sum() < 50:
        return None
    hsv = to_hsv(picture[solid][:, :3].astype(np.float32) / 255)
    vivid = (hsv[:, 1] > LEAST_SATURATION) & (hsv[:, 2] > 0.2)
    if vivid.mean() < least_share:
        return None
    angle = hsv[vivid, 0] * 2 * np.pi
    hue = float(np.angle(np.exp(1j * angle).mean()) / (2 * np.pi) % 1)
    same = np.abs((hsv[vivid, 0] - hue + 0.5) % 1 - 0.5) < NEAR
    return hue if same.sum() / solid.sum() >= least_share else None


def colour_name(hue: float) -> str:
    """The name in ``COLOURS`` whose hue is nearest."""
    return min(COLOURS, key=lambda name: abs((COLOURS[name] - hue + 0.5) % 1 - 0.5))


def recoloured(picture: np.ndarray, colour: str) -> np.ndarray | None:
    """A drawing in another colour: its main colour changes, its shading and its other colours stay.

    picture: premultiplied uint8 RGBA [H, W, 4]. None where it would not be sound: it has no main colour, or is of that one.
    """
    hue = main_hue(picture)
    if hue is None or colour_name(hue) == colour:
        return None
    alpha = picture[..., 3:].astype(np.float32) / 255
    rgb = np.divide(picture[..., :3] / 255, alpha, out=np.zeros((*alpha.shape[:2], 3), np.float32), where=alpha > 0)
    hsv = to_hsv(rgb.clip(0, 1))
    distance = np.abs((hsv[..., 0] - hue + 0.5) % 1 - 0.5)
    share = np.clip((1.6 * NEAR - distance) / (0.6 * NEAR), 0, 1) * np.clip(hsv[..., 1] / LEAST_SATURATION - 0.3, 0, 1)
    changed = hsv.copy()
    solid = (share > 0.5) & (picture[..., 3] > 200)
    typical = float(np.median(hsv[..., 2][solid])) if solid.any() else 0.7
    if colour in GREYS:
        wanted = GREYS[colour]
        changed[..., 1] *= 0.06
        changed[..., 2] = np.clip(hsv[..., 2] * wanted / max(typical, 0.2), 0, 1)
        if colour == "white":
            changed[..., 2] = np.clip(1 - (typical - hsv[..., 2]).clip(0) * 0.7, 0, 1) * 0.98
    else:
        changed[..., 0] = ((hsv[..., 0] - hue + 0.5) % 1 - 0.5) * 0.5 + COLOURS[colour]
        changed[..., 0] %= 1
        least = {"yellow": 0.95, "orange": 0.95, "pink": 1.0, "red": 0.85}.get(colour, 0.75)
        changed[..., 2] = np.clip(hsv[..., 2] * max(1.0, least / max(typical, 0.2)), 0, 1)
        changed[..., 1] = np.clip(
            hsv[..., 1] * (0.55 if colour == "pink" else 1.0), 0.3 if colour == "pink" else 0.55, 1
        ) * (hsv[..., 1] > 0.05)
    new = rgb + (to_rgb(changed) - rgb) * share[..., None]
    result = picture.copy()
    result[..., :3] = (new.clip(0, 1) * alpha * 255).round()
    return result


@dataclass(frozen=True)
class Mood:
    """How a whole scene looks.

    Attributes:
        adjectives: before a noun: "a cyberpunk cat".
        phrases: after it: "a cat, cyberpunk vibe".
        paint: straight RGB float [H, W, 3] (0 to 255), alpha float [H, W, 1] (0 to 1) → RGB of the same shape.
        ground: the name of the ground it needs; empty: any, or none.
    """

    adjectives: tuple[str, ...]
    phrases: tuple[str, ...]
    paint: Callable[[np.ndarray, np.ndarray], np.ndarray]
    ground: str = ""


def _luminance(rgb: np.ndarray) -> np.ndarray:
    return rgb @ np.array([0.299, 0.587, 0.114], np.float32)


def _mapped(rgb: np.ndarray, stops: list[tuple[float, tuple[int, int, int]]]) -> np.ndarray:
    """Brightness → colours between stops."""
    light = _luminance(rgb) / 255
    at = [stop for stop, _ in stops]
    return np.stack([np.interp(light, at, [colour[channel] for _, colour in stops]) for channel in range(3)], -1)


def _neon(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Dark with bright magenta and cyan; a good part of each hue stays, so that things are still told apart."""
    glow = _mapped(
        rgb,
        [(0, (10, 4, 30)), (0.3, (70, 10, 120)), (0.55, (230, 20, 160)), (0.8, (40, 190, 255)), (1, (190, 255, 255))],
    )
    vivid = to_rgb(np.clip(to_hsv(rgb.clip(0, 255) / 255) * np.array([1, 1.5, 0.9]), 0, 1)) * 255
    return 0.62 * glow + 0.38 * vivid


def _grey(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.repeat(_luminance(rgb)[..., None], 3, -1)


def _sepia(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return _mapped(rgb, [(0, (40, 24, 10)), (0.5, (150, 110, 65)), (1, (250, 232, 196))])


def _gold(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return _mapped(rgb, [(0, (70, 35, 0)), (0.4, (190, 120, 10)), (0.7, (250, 200, 50)), (1, (255, 250, 190))])


def _pastel(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return rgb * 0.45 + np.array([250, 238, 246], np.float32) * 0.55


def _vapour(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return _mapped(rgb, [(0, (60, 30, 110)), (0.45, (255, 110, 200)), (0.75, (130, 220, 250)), (1, (255, 245, 255))])


def _pixels(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return rgb


MOODS: dict[str, Mood] = {
    "cyberpunk": Mood(
        ("cyberpunk", "neon"),
        (
            "cyberpunk vibe",
            "cyberpunk",
            "cyberpunk style",
            "in neon lights",
            "neon colours",
            "in a cyberpunk city",
            "with neon lights",
        ),
        _neon,
        "neon city",
    ),
    "black and white": Mood(
        ("black and white",), ("in black and white", "black and white", "as a black and white picture"), _grey
    ),
    "sepia": Mood(("sepia", "old-fashioned"), ("in sepia", "like an old photograph", "vintage look", "sepia"), _sepia),
    "golden": Mood(("golden",), ("made of gold", "in gold", "all golden"), _gold),
    "pastel": Mood(("pastel",), ("in pastel colours", "pastel", "soft pastel colours"), _pastel),
    "vaporwave": Mood(
        ("vaporwave",), ("vaporwave", "vaporwave vibe", "vaporwave style", "in pink and turquoise"), _vapour
    ),
    "pixel art": Mood(("pixel art",), ("as pixel art", "pixel art", "in pixel art style", "pixelated"), _pixels),
}
"""Every mood by its name."""
