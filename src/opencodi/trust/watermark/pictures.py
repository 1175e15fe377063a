"""The mark of pictures and clips: a faint pattern of medium frequencies in their brightness.

The pattern lies in the frequencies that half the size and JPEG leave, wraps around at its borders, and is known on a grid of
64 x 64, to which every picture is scaled. A picture whose borders were cut off is found by trying sizes and positions.
"""

from collections.abc import Callable
from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image

from .evidence import normal_numbers

GRID = 64
BAND = (4.0, 20.0)
"""Lowest and highest frequency of the pattern, in cycles per picture: half the size leaves up to 16 and a little more."""
SIZES = (64, 62, 60, 58, 56)
"""What is left of the grid's 64 rows and columns where borders were cut off."""
TESTS = sum((GRID - size + 1) ** 2 for size in SIZES)
BRIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)
STRENGTHS = tuple(1.25**step for step in range(10))
"""In grey levels where a picture is flat; tried in this order until the mark is sure to survive."""
_SURE = 6.5
_DETAIL = 1.0
_FLAT = 1.0
_LARGEST = 1.5
_SPECTRUM = 2.0


class PictureMark:
    """The mark of one key.

    Args:
        key: the secret.
    """

    def __init__(self, key: bytes):
        frequencies = np.fft.fftfreq(GRID, 1 / GRID)
        radius = np.hypot(frequencies, frequencies[:, None])
        self._band = (radius >= BAND[0]) & (radius <= BAND[1])
        spectrum = np.fft.fft2(normal_numbers(key, "picture", GRID * GRID).reshape(GRID, GRID))
        self._spectrum = spectrum / np.abs(spectrum) * self._band
        pattern = np.fft.ifft2(self._spectrum).real
        self._pattern = pattern / pattern.std()

    def embed(self, frames: np.ndarray) -> np.ndarray:
        """Marked frames, uint8 [N, H, W, 3], of uint8 ones: the same pattern in each, a little stronger where there is detail.

        It is as strong as it must be to survive ``CHANGES``.
        """
        grid = np.stack([to_grid(frame, GRID) for frame in frames])
        shape = (1 + 0.025 * _around(_without_low(grid))) * self._pattern
        for strength in STRENGTHS:
            marked = _add(frames, strength * shape)
            some = marked[:: max(1, len(frames) // 4)]
            if all(self._best_shift(details(_changed(some, change))) >= _SURE for change in CHANGES):
                break
        return marked

    def score(self, frames: np.ndarray) -> tuple[float, int]:
        """The best projection of frames uint8 [N, H, W, 3] on the pattern, and of how many that were tried."""
        found = [self._best_shift(details(np.stack([to_grid(frame, size) for frame in frames]))) for size in SIZES]
        return max(found), TESTS

    def projections(self, frames: np.ndarray) -> np.ndarray:
        """The projections of whole frames uint8 [N, H, W, 3] on the pattern moved to every place of the grid, [GRID, GRID]."""
        return self._shifts(details(np.stack([to_grid(frame, GRID) for frame in frames])))

    def _best_shift(self, detail: np.ndarray) -> float:
        """The best projection of [N, size, size] over all positions of that size on the grid."""
        last = GRID - detail.shape[-1] + 1
        return float(self._shifts(detail)[:last, :last].max())

    def _shifts(self, detail: np.ndarray) -> np.ndarray:
        size = detail.shape[-1]
        padded = np.zeros((GRID, GRID))
        padded[:size, :size] = detail.mean(0)
        spectrum = np.fft.fft2(padded)
        # Divided by its own power nearby, the best weights there are for a pattern of equal power (a matched filter).
        blur = blur_matrix(GRID, _SPECTRUM)
        power = np.fft.ifftshift(blur @ np.fft.fftshift(np.abs(spectrum) ** 2) @ blur.T)
        if power.max() < 1e-2:  # no detail but rounding; one pixel of another grey level has fifty times as much
            return np.zeros((GRID, GRID))
        spectrum = spectrum * self._band / (power + 1e-3 * power.max())
        length = np.sqrt((np.abs(spectrum) ** 2).sum())
        return np.fft.ifft2(np.conj(spectrum) * self._spectrum).real * GRID**2 / length


def to_grid(frame: np.ndarray, size: int) -> np.ndarray:
    """The brightness [size, size] of a frame uint8 [H, W, 3], 0 to 255."""
    if frame.shape[:2] != (size, size):
        frame = np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.BICUBIC))
    return frame @ BRIGHTNESS


def details(grid: np.ndarray) -> np.ndarray:
    """Brightness [N, S, S] without its low frequencies, divided by what happens around each pixel: no edge outweighs all."""
    detail = _without_low(grid)
    return np.clip(detail / (_around(detail) + _FLAT), -_LARGEST, _LARGEST)


def _without_low(grid: np.ndarray) -> np.ndarray:
    blur = blur_matrix(grid.shape[-1], _DETAIL)
    return grid - blur @ grid @ blur.T


def _around(detail: np.ndarray) -> np.ndarray:
    """Root mean square around each pixel of [N, S, S]."""
    blur = blur_matrix(detail.shape[-1], _DETAIL)
    return np.sqrt(blur @ detail**2 @ blur.T)


@lru_cache(maxsize=16)
def blur_matrix(size: int, sigma: float) -> np.ndarray:
    """The Gaussian blur of a row of ``size`` pixels as a matrix [size, size]; near the borders it looks inwards only."""
    places = np.arange(size)
    weights = np.exp(-0.5 * ((places - places[:, None]) / sigma) ** 2)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _add(frames: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Frames uint8 [N, H, W, 3] and a change of brightness [N, GRID, GRID] on the grid."""
    height, width = frames.shape[1:3]
    if (height, width) != (GRID, GRID):
        scaled = [
            Image.fromarray(each.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
            for each in change
        ]
        change = np.stack([np.asarray(each) for each in scaled])
    return np.clip(frames + change[..., None], 0, 255).round().astype(np.uint8)


def _changed(frames: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.stack([to_grid(change(frame), GRID) for frame in frames])


def _halved(frame: np.ndarray) -> np.ndarray:
    image = Image.fromarray(frame)
    return np.asarray(image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.BICUBIC))


def _compressed(frame: np.ndarray) -> np.ndarray:
    content = BytesIO()
    Image.fromarray(frame).save(content, "JPEG", quality=50)
    return np.asarray(Image.open(content))


def _brightened(frame: np.ndarray) -> np.ndarray:
    return np.clip(frame * 1.2, 0, 255).round().astype(np.uint8)


def _noisy(frame: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=frame.shape) * np.sqrt((frame.astype(float) ** 2).mean() / 100)
    return np.clip(frame + noise, 0, 255).round().astype(np.uint8)


CHANGES = (_halved, _compressed, _brightened, _noisy)
"""What pictures commonly go through, at its worst."""
