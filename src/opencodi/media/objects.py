"""What a user holds: a sound and a clip. Text is a plain ``str``, an image a ``PIL.Image.Image`` in mode RGB."""

from dataclasses import dataclass
from math import isfinite

import numpy as np

from ..errors import ArgumentError

# A damaged header may claim any rate, and the filter for an absurd one takes minutes and gigabytes to build.
SAMPLE_RATES = range(1_000, 768_001)


@dataclass(frozen=True, eq=False)
class Audio:
    """A mono sound.

    Attributes:
        samples: float32 ``[num_samples]`` in [-1, 1].
        sample_rate: samples per second, in hertz, 1,000 to 768,000.

    Raises:
        ArgumentError: if the samples are of another dtype or shape, empty, not finite or out of range.
    """

    samples: np.ndarray
    sample_rate: int

    def __post_init__(self) -> None:
        _require_array("Audio.samples", self.samples, np.float32, "[num_samples]", 1)
        if not np.isfinite(self.samples).all():
            raise ArgumentError("Audio.samples: must be finite, found NaN or infinity; replace them first")
        peak = float(np.abs(self.samples).max())
        if peak > 1.0:
            raise ArgumentError(f"Audio.samples: must lie in [-1, 1], found {peak:.4g}; clip or scale them first")
        if not isinstance(self.sample_rate, (int, np.integer)) or self.sample_rate not in SAMPLE_RATES:
            allowed = f"{SAMPLE_RATES.start:,} to {SAMPLE_RATES.stop - 1:,}"
            raise ArgumentError(
                f"Audio.sample_rate: must be a whole number of {allowed} hertz, not {self.sample_rate!r}"
            )

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True, eq=False)
class Video:
    """A clip of evenly spaced frames, with its sound if it has one.

    Attributes:
        frames: uint8 ``[num_frames, height, width, 3]``, RGB.
        fps: frames per second.
        audio: starts with the first frame; it may be shorter or longer than the frames.
        alpha: uint8 ``[num_frames, height, width]``, how solid each pixel is, where the frames show something over white;
            None: all of it is solid. Files that can keep it do: WebP and APNG.

    Raises:
        ArgumentError: if the frames are of another dtype or shape or empty, or `fps` is not a positive number.
    """

    frames: np.ndarray
    fps: float
    audio: Audio | None = None
    alpha: np.ndarray | None = None

    @classmethod
    def from_rgba(cls, frames: np.ndarray, fps: float, audio: Audio | None = None) -> "Video":
        """A clip from straight RGBA frames, uint8 ``[num_frames, height, width, 4]``; one that is all solid has no alpha."""
        _require_array("frames", frames, np.uint8, "[num_frames, height, width, 4]", 4)
        alpha = frames[..., 3]
        if alpha.min() == 255:
            return cls(np.ascontiguousarray(frames[..., :3]), fps, audio)
        share = alpha[..., None].astype(np.uint16)
        over_white = (frames[..., :3] * share + 255 * (255 - share) + 127) // 255
        return cls(over_white.astype(np.uint8), fps, audio, np.ascontiguousarray(alpha))

    @property
    def rgba(self) -> np.ndarray:
        """Straight RGBA frames, uint8 ``[num_frames, height, width, 4]``."""
        if self.alpha is None:
            return np.concatenate([self.frames, np.full_like(self.frames[..., :1], 255)], -1)
        alpha = self.alpha[..., None].astype(np.float32) / 255
        colour = (self.frames - 255 * (1 - alpha)) / np.maximum(alpha, 1 / 255)
        return np.concatenate([colour.round().clip(0, 255).astype(np.uint8), self.alpha[..., None]], -1)

    def __post_init__(self) -> None:
        _require_array("Video.frames", self.frames, np.uint8, "[num_frames, height, width, 3]", 4)
        if self.frames.shape[-1] != 3:
            raise ArgumentError(
                f"Video.frames: the last axis must be red, green, blue, not {self.frames.shape[-1]} wide"
            )
        if self.alpha is not None:
            _require_array("Video.alpha", self.alpha, np.uint8, "[num_frames, height, width]", 3)
            if self.alpha.shape != self.frames.shape[:3]:
                raise ArgumentError(
                    f"Video.alpha: must be {list(self.frames.shape[:3])} as the frames, not {list(self.alpha.shape)}"
                )
        if not isinstance(self.fps, (int, float, np.number)) or not isfinite(self.fps) or self.fps <= 0:
            raise ArgumentError(f"Video.fps: must be a positive number of frames per second, not {self.fps!r}")
        if not isinstance(self.audio, Audio | None):
            raise ArgumentError(f"Video.audio: must be an Audio or None, not {type(self.audio).__name__}")

    @property
    def seconds(self) -> float:
        return len(self.frames) / self.fps


def _require_array(name: str, array: np.ndarray, dtype: type[np.generic], shape: str, num_axes: int) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        found = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise ArgumentError(f"{name}: must be a numpy array of {np.dtype(dtype)}, not {found}")
    if array.ndim != num_axes or array.size == 0:
        raise ArgumentError(f"{name}: must be a non-empty {shape}, not {list(array.shape)}")
