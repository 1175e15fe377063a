"""RGBA frames → WebP, PNG, APNG and WebM bytes of at most so many bytes, by a short search that always ends alike."""

import io
from collections.abc import Callable, Sequence
from fractions import Fraction

import av
import numpy as np
from PIL import Image

from ..errors import MediaError
from .targets import FileRule

Frames = np.ndarray
"""uint8 ``[num_frames, side, side, 4]``, red, green, blue and alpha."""

WEBP_QUALITIES = (95, 90, 85, 80, 75, 68, 60, 50, 40, 30, 20, 10)
PNG_COLOURS = (0, 256, 192, 128, 96, 64, 48, 32, 24, 16)
"""Colours of the palette; 0: no palette, every colour kept."""
VP9_CRFS = (12, 18, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60)


def encode(frames: Frames, fps: float, rule: FileRule) -> bytes:
    """A file that keeps ``rule``: at the best quality that fits, and with fewer frames where none does.

    ``fps`` is ignored for a still (one frame). What lasts too long is cut; what is too fast loses frames.

    Raises:
        MediaError: if nothing fits.
    """
    if len(frames) == 1 or not rule.max_seconds:
        return _best(lambda level: _STILLS[rule.kind](frames[:1], 1.0, level), _LEVELS[rule.kind], rule.max_bytes)
    keep = max(1, int(rule.max_seconds * fps + 1e-6))
    frames = frames[:keep]
    first = max(1, int(np.ceil(fps / rule.max_fps - 1e-6)))
    for step in (first, 2 * first, 3 * first, 4 * first):
        chosen = frames[::step]
        # The last of the frames kept may have to stand for fewer than the others did: the clip keeps its length.
        rate = len(chosen) / (len(frames) / fps)
        try:
            return _best(
                lambda level, chosen=chosen, rate=rate: _MOVING[rule.kind](chosen, rate, level),
                _LEVELS[rule.kind],
                rule.max_bytes,
            )
        except MediaError:
            continue
    raise MediaError(f"a sticker of {rule.side}x{rule.side} pixels does not fit {rule.max_bytes:,} bytes; shorten the clip")


def _best(write: Callable[[int], bytes], levels: Sequence[int], max_bytes: int) -> bytes:
    """The file of the first of ``levels`` (best first) that fits, by bisection: sizes fall from level to level."""
    low, high, found = 0, len(levels), None
    while low < high:
        middle = (low + high) // 2 if low or high < len(levels) else 0  # most fit at once
        data = write(levels[middle])
        if len(data) <= max_bytes:
            high, found = middle, data
        else:
            low = middle + 1
    if found is None:
        raise MediaError(f"nothing fits {max_bytes:,} bytes; give a smaller picture")
    return found


def _images(frames: Frames) -> list[Image.Image]:
    if (frames[..., 3] == 255).all():
        return [Image.fromarray(np.ascontiguousarray(frame[..., :3])) for frame in frames]
    return [Image.fromarray(frame) for frame in frames]


def _durations(count: int, fps: float) -> list[int]:
    """Whole milliseconds that add up to the clip's length."""
    return np.diff(np.rint(np.arange(count + 1) * 1000 / fps)).astype(int).tolist()


def _webp(frames: Frames, fps: float, quality: int) -> bytes:
    file = io.BytesIO()
    first, *others = _images(frames)
    options = {"quality": quality, "alpha_quality": 100, "method": 4}
    if others:
        options |= {"save_all": True, "append_images": others, "duration": _durations(len(frames), fps), "loop": 0}
    first.save(file, "WEBP", **options)
    return file.getvalue()


def _png(frames: Frames, fps: float, colours: int) -> bytes:
    """A PNG, or an APNG that loops. All frames share one palette, since the file can hold only one."""
    images = _images(frames)
    if colours:
        column = Image.fromarray(np.ascontiguousarray(frames.reshape(-1, *frames.shape[2:])))
        column = column.quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        height = frames.shape[1]
        images = [column.crop((0, row * height, frames.shape[2], (row + 1) * height)) for row in range(len(frames))]
    first, *others = images
    file, options = io.BytesIO(), {}
    if others:
        options = {"save_all": True, "append_images": others, "duration": _durations(len(frames), fps), "loop": 0}
    first.save(file, "PNG", optimize=not others, **options)
    return file.getvalue()


def _webm(frames: Frames, fps: float, crf: int) -> bytes:
    """VP9 with alpha and without sound. One thread: with several the bytes may differ from run to run."""
    file, rate = io.BytesIO(), Fraction(fps).limit_denominator(1000)
    with av.open(file, "w", format="webm") as container:
        options = {"crf": str(crf), "b": "0", "deadline": "good", "cpu-used": "4", "auto-alt-ref": "0", "threads": "1"}
        stream = container.add_stream("libvpx-vp9", rate=rate, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuva420p"
        for number, rgba in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgba), format="rgba")
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


_STILLS = {"webp": _webp, "png": _png}
_MOVING = {"webp": _webp, "png": _png, "webm": _webm}
_LEVELS = {"webp": WEBP_QUALITIES, "png": PNG_COLOURS, "webm": VP9_CRFS}
