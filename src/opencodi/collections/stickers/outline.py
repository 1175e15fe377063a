"""A cut-out drawing and the shape of its edge: where something can stand on it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from PIL import Image

from .compositing import alpha_box

SOLID = 100
"""Alpha above this counts as part of the thing."""


@dataclass(frozen=True, eq=False)
class Outline:
    """A drawing cut to the rectangle it fills.

    Attributes:
        picture: uint8 RGBA [h, w, 4] with premultiplied alpha.
    """

    picture: np.ndarray

    @property
    def height(self) -> int:
        return self.picture.shape[0]

    @property
    def width(self) -> int:
        return self.picture.shape[1]

    @cached_property
    def top_edge(self) -> np.ndarray:
        """For each column the first row of the thing; the height where a column is empty. int [w]."""
        solid = self.picture[..., 3] > SOLID
        return np.where(solid.any(0), solid.argmax(0), self.height)

    def mirrored(self) -> Self:
        return type(self)(np.ascontiguousarray(self.picture[:, ::-1]))

    def levelled(self) -> Self:
        """Turned until the longer axis of its shape is level, if that is more than a little."""
        rows, columns = np.nonzero(self.picture[..., 3] > SOLID)
        spread = np.cov(np.stack([columns, rows]).astype(float))
        values, axes = np.linalg.eigh(spread)
        degrees = np.rad2deg(np.arctan2(axes[1, 1], axes[0, 1]))
        degrees = (degrees + 90) % 180 - 90
        if abs(degrees) < 4 or values[1] < 1.5 * values[0]:
            return self
        return self.turned(degrees)

    def turned(self, degrees: float) -> Self:
        """Turned counter-clockwise, and cut again."""
        image = Image.frombuffer("RGBa", (self.width, self.height), self.picture.tobytes())
        turned = Image.merge("RGBA", image.split()).rotate(degrees, Image.Resampling.BICUBIC, expand=True)
        picture = np.asarray(turned).copy()
        picture[..., :3] = np.minimum(picture[..., :3], picture[..., 3:])  # cubic interpolation overshoots
        top, left, bottom, right = alpha_box(picture)
        return type(self)(np.ascontiguousarray(picture[top:bottom, left:right]))

    def plateau(self, share: float, within: tuple[float, float] = (0.15, 0.85)) -> tuple[float, float]:
        """Where something ``share`` of this width wide stands best on the upper edge: (its centre, how far down).

        Both are shares of width and height. The place is the most even one, and rather a high one than a low one.
        """
        window = max(3, min(self.width, round(share * self.width)))
        edge = self.top_edge.astype(float)
        pieces = np.lib.stride_tricks.sliding_window_view(edge, window)
        centres = (np.arange(len(pieces)) + window / 2) / self.width
        cost = pieces.std(1) / self.height + 0.25 * pieces.mean(1) / self.height + 0.05 * np.abs(centres - 0.5)
        cost = np.where((centres < within[0]) | (centres > within[1]), np.inf, cost)
        if not np.isfinite(cost).any():
            return 0.5, float(np.median(edge)) / self.height
        best = int(cost.argmin())
        return float(centres[best]), float(np.median(pieces[best])) / self.height
