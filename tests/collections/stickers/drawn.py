"""Plain drawings of a few things, so that a test knows where their edges are."""

import numpy as np

from opencodi.data.shards import Items

SIDE = 128


def rectangle(top: int, left: int, bottom: int, right: int, colour=(200, 40, 40)) -> np.ndarray:
    """Straight uint8 RGBA, clear but for one rectangle."""
    picture = np.zeros((SIDE, SIDE, 4), np.uint8)
    picture[top:bottom, left:right] = (*colour, 255)
    return picture


def umbrella() -> np.ndarray:
    """A canopy from row 20 to 50 over a shaft down to row 110."""
    picture = rectangle(20, 10, 50, 118, (90, 60, 200))
    picture[50:110, 62:66] = (120, 80, 40, 255)
    return picture


def car() -> np.ndarray:
    """Red, with black wheels."""
    picture = rectangle(40, 10, 80, 118)
    picture[80:95, 20:40] = picture[80:95, 88:108] = (20, 20, 20, 255)
    return picture


DRAWN = {
    "teddy bear": rectangle(10, 30, 110, 98, (150, 90, 40)),
    "skateboard": rectangle(60, 4, 80, 124, (60, 60, 60)),
    "dog": rectangle(30, 30, 100, 100, (220, 170, 90)),
    "cat": rectangle(40, 20, 100, 110, (240, 190, 60)),
    "umbrella": umbrella(),
    "automobile": car(),
    "house": rectangle(10, 14, 120, 114, (200, 170, 120)),
    "full moon": rectangle(20, 20, 108, 108, (250, 220, 120)),
    "rocket": rectangle(4, 50, 124, 78, (200, 200, 210)),
    "red apple": rectangle(30, 30, 100, 98, (210, 30, 40)),
    "bucket": rectangle(20, 24, 118, 104, (60, 120, 220)),
    "bear": rectangle(14, 14, 114, 114, (140, 90, 50)),
    "top hat": rectangle(40, 20, 100, 108, (30, 30, 35)),
    "drum": rectangle(40, 20, 110, 108, (200, 60, 50)),
}


def cut_corners(picture: np.ndarray) -> None:
    """Cut a triangle off every corner: what fills its rectangle counts as a drawing with a ground of its own."""
    rows, columns = np.flatnonzero(picture[..., 3].any(1)), np.flatnonzero(picture[..., 3].any(0))
    part = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    size = min(part.shape[:2]) // 3
    corner = np.add.outer(np.arange(size), np.arange(size)) < size
    for turned in (part, part[::-1], part[:, ::-1], part[::-1, ::-1]):
        turned[:size, :size][corner] = 0


for _picture in DRAWN.values():
    cut_corners(_picture)


def drawn_items(styles=("noto", "twemoji")) -> Items:
    """All drawings in each of the styles."""
    media = np.stack([picture for _ in styles for picture in DRAWN.values()])
    records = [{"name": name, "style": style, "concept": name} for style in styles for name in DRAWN]
    return Items(media, records)
