"""Media of a prepared folder as one array: decoded where they are first asked for, and kept while there is room."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..media import Audio, Video, fit_square, resample
from .prepared import PreparedFolder

MEMORY = 2 * 2**30
"""Bytes of decoded media that one array keeps; a larger one decodes anew each time."""


class MediaArray:
    """Media of one kind, indexed like a NumPy array by numbers, slices and arrays of numbers.

    Args:
        folder: prepared.
        samples: positions of the samples.
        modality: which of their media.
        convert: a medium → array [items of it, ...].
        item: shape of one item.
        dtype: of the items.
        each: how many items a medium gives.

    Attributes:
        shape: [items, ...].
    """

    def __init__(
        self,
        folder: PreparedFolder,
        samples: Sequence[int],
        modality: str,
        convert: Callable[[Any], np.ndarray],
        item: tuple[int, ...],
        dtype: type[np.generic],
        each: int = 1,
    ):
        self.folder, self.samples, self.modality = folder, samples, modality
        self.convert, self.each, self.dtype = convert, each, dtype
        self.shape = (len(samples) * each, *item)
        fits = int(np.prod(self.shape, dtype=np.int64)) * np.dtype(dtype).itemsize <= MEMORY
        # Memory that is never written to is never taken.
        self.kept = np.empty((len(samples), each, *item), dtype) if fits else None
        self.known = np.zeros(len(samples), bool)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen: int | slice | np.ndarray | Sequence[int]) -> np.ndarray:
        """A copy of these items: [...] of a number, else [K, ...]."""
        if isinstance(chosen, slice):
            chosen = np.arange(*chosen.indices(len(self)))
        places = np.asarray(chosen)
        if places.ndim == 0:
            return self._item(int(places))
        found = np.empty((len(places), *self.shape[1:]), self.dtype)
        for number, place in enumerate(places):
            found[number] = self._item(int(place))
        return found

    def _item(self, place: int) -> np.ndarray:
        medium, number = divmod(place, self.each)
        if self.kept is None:
            return self._decoded(medium)[number]
        if not self.known[medium]:
            self.kept[medium] = self._decoded(medium)
            self.known[medium] = True
        return self.kept[medium, number]

    def _decoded(self, medium: int) -> np.ndarray:
        return self.convert(self.folder.media(self.samples[medium], self.modality))


class Joined:
    """Arrays that follow one another, indexed as if they were one."""

    def __init__(self, parts: Sequence[MediaArray]):
        self.parts = [part for part in parts if len(part)]
        self.ends = np.cumsum([len(part) for part in self.parts])
        self.shape = (int(self.ends[-1]) if self.parts else 0, *parts[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen: slice | np.ndarray | Sequence[int]) -> np.ndarray:
        """A copy of these items [K, ...]."""
        if isinstance(chosen, slice):
            chosen = np.arange(*chosen.indices(len(self)))
        owners = np.searchsorted(self.ends, chosen, side="right")
        found = [self.parts[o][int(c) - int(self.ends[o]) + len(self.parts[o])] for o, c in zip(owners, chosen)]
        return np.stack(found) if found else np.empty((0, *self.shape[1:]), self.parts[0].dtype)


def pictures(folder: PreparedFolder, samples: Sequence[int], side: int) -> MediaArray:
    """uint8 RGBA [N, side, side, 4], each picture whole on a white square."""
    return MediaArray(folder, samples, "image", lambda image: _rgba(image, side)[None], (side, side, 4), np.uint8)


def frames(folder: PreparedFolder, samples: Sequence[int], side: int, each: int) -> MediaArray:
    """uint8 RGBA [N * each, side, side, 4]: single frames, evenly spread over each clip."""
    return MediaArray(
        folder, samples, "video", lambda video: _frames(video, side, each), (side, side, 4), np.uint8, each
    )


def clips(folder: PreparedFolder, samples: Sequence[int], side: int, num_frames: int) -> MediaArray:
    """uint8 RGBA [N, num_frames, side, side, 4], frames evenly spread over each clip."""
    item = (num_frames, side, side, 4)
    return MediaArray(folder, samples, "video", lambda video: _frames(video, side, num_frames)[None], item, np.uint8)


def sounds(folder: PreparedFolder, samples: Sequence[int], num_samples: int, sample_rate: int) -> MediaArray:
    """int16 [N, num_samples] at ``sample_rate``: the beginning of each sound, and silence after a short one."""
    return MediaArray(
        folder,
        samples,
        "audio",
        lambda audio: _samples(audio, num_samples, sample_rate)[None],
        (num_samples,),
        np.int16,
    )


def _rgba(image: Image.Image, side: int) -> np.ndarray:
    return np.asarray(fit_square(image, side).convert("RGBA"))


def _frames(video: Video, side: int, count: int) -> np.ndarray:
    picks = np.linspace(0, len(video.frames) - 1, count).round().astype(int)
    return np.stack([_rgba(Image.fromarray(video.frames[pick]), side) for pick in picks])


def _samples(audio: Audio, num_samples: int, sample_rate: int) -> np.ndarray:
    found = resample(audio, sample_rate).samples[:num_samples]
    return np.pad(np.rint(found * 32767).astype(np.int16), (0, num_samples - len(found)))
