"""Lay pictures with alpha over one another. All arrays are uint8 RGBA with premultiplied alpha unless a name says straight."""

import numpy as np
from PIL import Image


def premultiplied(straight: np.ndarray) -> np.ndarray:
    """Straight RGBA [H, W, 4] → premultiplied."""
    return np.asarray(Image.fromarray(straight).convert("RGBa"))


def straight(picture: np.ndarray) -> np.ndarray:
    """Premultiplied RGBA [H, W, 4] → straight, as files keep it."""
    return np.asarray(Image.frombuffer("RGBa", picture.shape[1::-1], picture.tobytes()).convert("RGBA"))


def resized(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """The picture [H, W, 4] at another size; sharp when it gets smaller."""
    if picture.shape[:2] == (height, width):
        return picture
    image = Image.frombuffer("RGBa", picture.shape[1::-1], picture.tobytes())
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def alpha_box(picture: np.ndarray, least: int = 32) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of what is opaquer than ``least``; the whole picture if nothing is."""
    solid = picture[..., 3] > least
    rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    if not len(rows):
        return 0, 0, *picture.shape[:2]
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def lay(canvas: np.ndarray, picture: np.ndarray, top: int, left: int) -> None:
    """Lay ``picture`` over ``canvas`` [H, W, 4] in place; what falls outside is lost."""
    height, width = canvas.shape[:2]
    first_row, first_column = max(0, -top), max(0, -left)
    last_row, last_column = min(picture.shape[0], height - top), min(picture.shape[1], width - left)
    if first_row >= last_row or first_column >= last_column:
        return
    piece = picture[first_row:last_row, first_column:last_column]
    below = canvas[top + first_row : top + last_row, left + first_column : left + last_column]
    clear = 255 - piece[..., 3:].astype(np.uint16)
    below[:] = np.minimum(piece + (below * clear + 127) // 255, 255).astype(np.uint8)
