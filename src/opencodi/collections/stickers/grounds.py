"""Where a scene happens: a painted ground, the light on things that stand in it, and what falls in front of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

import numpy as np

VARIANTS = 48
"""Every ground is painted in so many ways."""
Paint = Callable[[int, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Ground:
    """A place, a time of day or a kind of weather.

    Attributes:
        phrases: what a caption says.
        paint: (side, rng) → float RGB [side, side, 3], 0 to 255.
        horizon: how far down the land begins, as a share of the side; None: there is none, things float.
        light: what the colours of things are multiplied by.
        haze: a colour (0 to 255) that is mixed into things, and how much of it.
        falls: what falls or rises in front of things: ``snow``, ``rain``, ``bubbles`` or nothing.
        suits: roles of things that can be there; none: all.
    """

    phrases: tuple[str, ...]
    paint: Paint
    horizon: float | None = 0.62
    light: tuple[float, float, float] = (1.0, 1.0, 1.0)
    haze: tuple[tuple[int, int, int], float] = ((0, 0, 0), 0.0)
    falls: str = ""
    suits: tuple[str, ...] = ()


def painted(name: str, side: int, variant: int) -> np.ndarray:
    """The ground of this name, float32 RGB [side, side, 3], read-only; the same number always gives the same picture."""
    return _painted(name, side, variant % VARIANTS)


@lru_cache(maxsize=2048)
def _painted(name: str, side: int, variant: int) -> np.ndarray:
    rng = np.random.default_rng((crc32(name.encode()), variant))
    picture = GROUNDS[name].paint(side, rng).clip(0, 255).astype(np.float32)
    picture.setflags(write=False)
    return picture


def _ramp(side: int, top, bottom) -> np.ndarray:
    """A vertical gradient."""
    share = np.linspace(0, 1, side)[:, None, None]
    return np.broadcast_to(np.array(top) * (1 - share) + np.array(bottom) * share, (side, side, 3)).copy()


def _near(colour, rng: np.random.Generator, spread: float = 14) -> np.ndarray:
    return np.array(colour, float) + rng.normal(0, spread, 3)


def _hill(picture: np.ndarray, height: float, colour, rng: np.random.Generator, rough: float = 0.03) -> None:
    """Land of one colour from ``height`` (share of the side) down, with a soft waving edge."""
    side = len(picture)
    x = np.linspace(0, 2 * np.pi, side)
    waves = sum(np.sin(x * k + rng.uniform(0, 6.3)) / k for k in (0.5, 1, 2)) * rough
    edge = ((np.arange(side)[:, None] / side - height - waves[None]) * side + 0.5).clip(0, 1)[..., None]
    shade = 1 - 0.12 * np.linspace(0, 1, side)[:, None, None]
    picture[:] = picture * (1 - edge) + np.array(colour) * shade * edge


def _disc(
    picture: np.ndarray, x: float, y: float, radius: float, colour, opacity: float = 1.0, soft: float = 1.0
) -> None:
    side = len(picture)
    rows, columns = np.ogrid[:side, :side]
    distance = np.hypot(rows - y * side, columns - x * side)
    share = ((radius * side - distance) / soft + 0.5).clip(0, 1)[..., None] * opacity
    picture[:] = picture * (1 - share) + np.array(colour) * share


def _dots(picture: np.ndarray, count: int, colour, rng: np.random.Generator, below: float = 1.0) -> None:
    side = len(picture)
    rows, columns = rng.integers(0, max(1, int(below * side)), count), rng.integers(0, side, count)
    share = rng.uniform(0.4, 1, count)[:, None]
    picture[rows, columns] = picture[rows, columns] * (1 - share) + np.array(colour) * share


def _puff(picture: np.ndarray, x: float, y: float, size: float, colour, rng: np.random.Generator, opacity=0.9) -> None:
    for _ in range(5):
        _disc(
            picture,
            x + rng.uniform(-1, 1) * size,
            y + rng.uniform(-0.2, 0.3) * size,
            size * rng.uniform(0.35, 0.6),
            colour,
            opacity,
            2,
        )


def _night(side: int, rng: np.random.Generator) -> np.ndarray:
    picture = _ramp(side, _near((8, 12, 42), rng, 6), _near((38, 48, 110), rng, 8))
    _dots(picture, 70, (255, 255, 235), rng, 0.62)
    if rng.random() < 0.5:
        _disc(picture, rng.uniform(0.1, 0.9), rng.uniform(0.08, 0.2), rng.uniform(0.05, 0.09), (250, 245, 215))
    _hill(picture, 0.68, _near((18, 30, 48), rng, 6), rng)
    return picture


def _snow(side: int, rng: np.random.Generator) -> np.ndarray:
    picture = _ramp(side, _near((150, 175, 205), rng), _near((205, 220, 235), rng, 8))
    if rng.random() < 0.6:
        _hill(picture, rng.uniform(0.42, 0.5), (200, 212, 228), rng, 0.07)
    _hill(picture, 0.62, (240, 245, 252), rng)
    return picture


def _beach(side: int, rng: np.random.Generator) -> np.ndarray:
    picture = _ramp(side, _near((95, 175, 240), rng), (190, 225, 250))
    if rng.random() < 0.5:
        _puff(picture, rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.25), 0.1, (255, 255, 255), rng)
    _hill(picture, 0.44, _near((35, 130, 190), rng), rng, 0.002)
    _hill(picture, 0.6, (225, 240, 240), rng, 0.015)
    _hill(picture, 0.63, _near((236, 208, 150), rng, 8), rng, 0.015)
    return picture


def _underwater(side: int, rng: np.random.Generator) -> np.ndarray:
    picture = _ramp(side, _near((60, 180, 215), rng), _near((10, 60, 125), rng))
    columns = np.arange(side)[None] + np.arange(side)[:, None] * rng.uniform(-0.6, 0.6)
    rays = np.clip(np.sin(columns / side * rng.uniform(9, 16) + rng.uniform(0, 6)), 0, 1) ** 3
    picture += (rays * np.linspace(45, 0, side)[:, None])[..., None]
    if rng.random() < 0.6:
        _hill(picture, 0.86, _near((170, 160, 120), rng), rng, 0.02)
    return picture


def _rain(side: int, rng: np.random.Generator) -> np.ndarray:
    picture = _ramp(side, _near((95, 105, 120), rng, 8), _near((150, 160, 172), rng, 8))
    for _ in range(3):
        _puff(picture, rng.uniform(0, 1), rng.uniform(0, 0.12), 0.16, _near((80, 88, 100), rng, 5), rng)
    _hill(picture, 0.68, _near((95, 108, 105), rng, 8), rng, 0.01)
    return picture


def _desert(side: int, rng: np.random.Generator) -> np.ndarray:
    picture = _ramp(side, _near((110, 180, 235), rng), (250, 225, 180))
    _hill(picture, 0.5, _near((225, 170, 100), rng, 8), rng, 0.06)
    _hill(picture, 0.62, _near((240, 195, 120), rng, 8), rng, 0.04)
    return picture


def _meadow(side: int, rng: np.random.Generator) -> np.ndarray:
    picture = _ramp(side, _near((110, 185, 245), rng), (205, 230, 250))
    for _ in range(rng.integers(0, 3)):
        _puff(picture, rng.uniform(0, 1), rng.uniform(0.08, 0.25), 0.1, (255, 255, 255), rng)
    _hill(picture, 0.55, _near((110, 185, 95), rng), rng, 0.05)
    _hill(picture, 0.64, _near((90, 170, 70), rng), rng)
    return picture


def _space(side: int, rng: np.random.Generator) -> np.ndarray:
    picture = _ramp(side, _near((10, 6, 28), rng, 5), _near((28, 14, 58), rng, 8))
    _disc(picture, rng.uniform(0, 1), rng.uniform(0, 1), 0.5, _near((90, 40, 120), rng, 25), 0.35, side * 0.45)
    _dots(picture, 110, (255, 255, 255), rng)
    if rng.random() < 0.4:
        _disc(
            picture,
            rng.choice((0.12, 0.88)),
            rng.choice((0.12, 0.88)),
            rng.uniform(0.06, 0.11),
            rng.integers(80, 230, 3),
        )
    return picture


def _sunset(side: int, rng: np.random.Generator) -> np.ndarray:
    picture = _ramp(side, _near((95, 60, 130), rng), _near((255, 165, 70), rng, 10))
    _disc(picture, rng.uniform(0.2, 0.8), 0.56, rng.uniform(0.1, 0.16), (255, 225, 120))
    _hill(picture, 0.64, _near((85, 50, 70), rng, 8), rng)
    return picture


def _sky(side: int, rng: np.random.Generator) -> np.ndarray:
    picture = _ramp(side, _near((70, 150, 235), rng), (190, 225, 250))
    for _ in range(rng.integers(2, 5)):
        _puff(picture, rng.uniform(0, 1), rng.uniform(0.1, 0.95), 0.11, (255, 255, 255), rng)
    return picture


def _city(side: int, rng: np.random.Generator) -> np.ndarray:
    picture = _ramp(side, _near((130, 180, 225), rng), (215, 228, 240))
    left = 0
    while left < side:
        width, height = int(rng.uniform(0.09, 0.2) * side), int(rng.uniform(0.25, 0.55) * side)
        wall = _near((150, 145, 150), rng, 18)
        top, bottom = int(0.68 * side) - height, int(0.68 * side)
        picture[top:bottom, left : left + width] = wall
        for row in range(top + 4, bottom - 5, 8):
            for column in range(left + 3, min(left + width - 4, side), 7):
                picture[row : row + 4, column : column + 3] = wall * 0.7 if rng.random() < 0.7 else (250, 235, 170)
        left += width
    picture[int(0.68 * side) :] = _near((95, 97, 102), rng, 5)
    picture[int(0.68 * side) : int(0.71 * side)] = (175, 175, 175)
    return picture


def _forest(side: int, rng: np.random.Generator) -> np.ndarray:
    picture = _ramp(side, _near((55, 95, 60), rng, 10), _near((95, 140, 85), rng, 10))
    for share in np.sort(rng.uniform(0, 1, 9)):
        width = int(rng.uniform(0.03, 0.07) * side)
        left = int(share * side)
        picture[: int(0.7 * side), left : left + width] = _near((70, 52, 38), rng, 8)
    for _ in range(10):
        _puff(picture, rng.uniform(0, 1), rng.uniform(-0.02, 0.14), 0.12, _near((40, 95, 50), rng, 10), rng)
    _hill(picture, 0.68, _near((75, 110, 55), rng, 8), rng)
    return picture


def _room(side: int, rng: np.random.Generator) -> np.ndarray:
    picture = np.empty((side, side, 3))
    picture[:] = _near((225, 205, 180), rng, 22)
    edge = int(0.7 * side)
    if rng.random() < 0.6:
        left = int(rng.choice((0.08, 0.62)) * side)
        picture[int(0.1 * side) : int(0.42 * side), left : left + int(0.3 * side)] = (250, 250, 250)
        picture[int(0.13 * side) : int(0.39 * side), left + 4 : left + int(0.3 * side) - 4] = _near(
            (160, 210, 245), rng
        )
    picture[edge:] = _near((165, 115, 75), rng, 14)
    picture[edge : edge + 2] = (245, 240, 235)
    return picture


def _mountains(side: int, rng: np.random.Generator) -> np.ndarray:
    picture = _ramp(side, _near((120, 180, 235), rng), (220, 235, 250))
    rows, columns = np.mgrid[:side, :side] / side
    for _ in range(4):
        peak, height, slope = rng.uniform(0, 1), rng.uniform(0.15, 0.4), rng.uniform(0.9, 1.5)
        inside = rows - height - np.abs(columns - peak) * slope
        share = (inside * side + 0.5).clip(0, 1)[..., None]
        colour = np.where((rows - height < 0.09)[..., None], (245, 248, 252), _near((125, 130, 150), rng, 10))
        picture = picture * (1 - share) + colour * share
    _hill(picture, 0.66, _near((100, 150, 90), rng), rng)
    return picture


def _neon_city(side: int, rng: np.random.Generator) -> np.ndarray:
    picture = _ramp(side, _near((12, 6, 34), rng, 4), _near((75, 14, 100), rng, 12))
    left = 0
    while left < side:
        width, height = int(rng.uniform(0.08, 0.18) * side), int(rng.uniform(0.25, 0.58) * side)
        top, bottom = int(0.7 * side) - height, int(0.7 * side)
        picture[top:bottom, left : left + width - 1] = _near((18, 12, 44), rng, 4)
        glow = ((255, 40, 190), (40, 220, 255), (255, 220, 60))[rng.integers(3)]
        for row in range(top + 4, bottom - 4, 6):
            for column in range(left + 3, min(left + width - 3, side), 6):
                if rng.random() < 0.45:
                    picture[row : row + 3, column : column + 2] = glow
        if rng.random() < 0.5:
            picture[top + 3 : top + int(0.16 * side), left + 1 : left + 3] = glow
        left += width
    floor = int(0.7 * side)
    picture[floor:] = _ramp(side, (40, 8, 70), (10, 4, 30))[: side - floor]
    for share in np.linspace(-1.6, 1.6, 13):
        for row in range(floor, side):
            column = int(side * (0.5 + share * (0.25 + (row - floor) / side)))
            if 0 <= column < side:
                picture[row, column] = (255, 40, 200)
    for depth in (0.0, 0.05, 0.12, 0.21):
        picture[min(side - 1, floor + int(depth * side))] = (40, 220, 255)
    return picture


GROUNDS: dict[str, Ground] = {
    "night": Ground(
        ("at night", "in the night", "under a starry sky", "at midnight", "in the dark"),
        _night,
        0.68,
        (0.5, 0.55, 0.85),
        ((25, 30, 80), 0.12),
    ),
    "snow": Ground(("in the snow", "on a snowy day", "in winter", "in falling snow"), _snow, 0.62, falls="snow"),
    "beach": Ground(("on a beach", "on the beach", "at the seaside", "on the sand by the sea"), _beach, 0.63),
    "underwater": Ground(
        ("underwater", "under the sea", "under water", "deep in the ocean"),
        _underwater,
        None,
        (0.75, 0.95, 1.0),
        ((25, 110, 165), 0.25),
        "bubbles",
    ),
    "rain": Ground(
        ("in the rain", "on a rainy day", "in heavy rain", "in rainy weather"),
        _rain,
        0.68,
        (0.85, 0.88, 0.92),
        ((110, 120, 135), 0.1),
        "rain",
    ),
    "desert": Ground(("in the desert", "in a desert", "among sand dunes"), _desert, 0.62),
    "meadow": Ground(("in a meadow", "on the grass", "in a green field", "on a lawn"), _meadow, 0.64),
    "space": Ground(("in space", "in outer space", "among the stars"), _space, None, (0.92, 0.9, 1.0)),
    "sunset": Ground(
        ("at sunset", "in the evening sun", "at dusk"), _sunset, 0.64, (1.0, 0.8, 0.72), ((200, 100, 60), 0.1)
    ),
    "sky": Ground(("in the sky", "in the clouds", "high in the sky"), _sky, None, suits=("flyers", "sky")),
    "city": Ground(("in the city", "in the street", "on a city street", "in town"), _city, 0.71),
    "forest": Ground(("in the forest", "in the woods", "in a forest"), _forest, 0.68, (0.92, 0.97, 0.88)),
    "room": Ground(("in a room", "indoors", "in the living room"), _room, 0.72),
    "neon city": Ground((), _neon_city, 0.72),
    "mountains": Ground(("in the mountains", "in front of mountains", "with mountains behind"), _mountains, 0.66),
}
"""Every ground by its name."""

BACKGROUNDS = {
    "white": (255, 255, 255),
    "black": (15, 15, 15),
    "red": (215, 50, 45),
    "orange": (245, 150, 50),
    "yellow": (250, 220, 80),
    "green": (85, 175, 90),
    "blue": (65, 130, 220),
    "purple": (135, 85, 190),
    "pink": (250, 165, 200),
    "grey": (150, 150, 150),
}
"""Plain grounds: what a caption calls them, and their colour."""


def fall(picture: np.ndarray, what: str, rng: np.random.Generator, time: float = 0.0) -> None:
    """Snow, rain or bubbles in front of everything, in place on float RGB [side, side, 3].

    ``time`` in seconds moves them: with generators of equal state they are the same flakes at other places.
    """
    side = len(picture)
    if what == "snow":
        count = int(rng.integers(40, 90))
        rows, columns = rng.uniform(0, side, count), rng.uniform(0, side, count)
        speed, sizes = rng.uniform(20, 40, count), rng.integers(1, 3, count)
        rows, columns = (rows + speed * time) % side, (columns + 4 * np.sin(time * 2 + rows)) % side
        for row, column, size in zip(rows.astype(int), columns.astype(int), sizes):
            picture[row : row + size, column : column + size] += (
                255 - picture[row : row + size, column : column + size]
            ) * 0.85
    elif what == "rain":
        count, slant = int(rng.integers(35, 70)), rng.uniform(-0.35, 0.35)
        rows, columns = rng.uniform(0, side, count), rng.uniform(0, side, count)
        rows = (rows + 160 * time) % side
        steps = np.arange(9)
        r = (rows[:, None] + steps).astype(int).ravel()
        c = (columns[:, None] + slant * steps).astype(int).ravel()
        inside = (r < side) & (c >= 0) & (c < side)
        r, c = r[inside], c[inside]
        picture[r, c] += (np.array((205, 220, 240)) - picture[r, c]) * 0.55
    elif what == "bubbles":
        for _ in range(rng.integers(5, 14)):
            x, y, radius = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.008, 0.022)
            y = (y - 0.25 * time) % 1
            _disc(picture, x, y, radius, (225, 245, 255), 0.55)
            _disc(picture, x, y, radius * 0.55, (120, 190, 225), 0.5)
