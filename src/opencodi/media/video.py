"""Clip files ↔ `Video`, and clips of another number of frames, rate or size."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from math import ceil
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import ArgumentError, OverLimit
from .audio import SAMPLE_RATE
from .decoding import decode_in_child
from .files import opened_kind, replacing
from .image import fit_square
from .kinds import CLIP_KINDS, PICTURE_KINDS
from .limits import DEFAULT_LIMITS, Limits
from .mux import write_mp4
from .objects import Audio, Video

WRITE_SUFFIXES = (".mp4", ".mov", ".gif", ".webp", ".apng")
_FASTEST = 60.0


def read_video(path: str | Path, limits: Limits = DEFAULT_LIMITS) -> Video:
    """Read an MP4, MOV, WebM, Matroska, AVI, WMV, FLV, MPEG or Ogg clip, or an animated GIF, WebP or PNG, with its sound.

    It is decoded in a child process. Frames come as they are seen: upright, with square pixels, over white where they
    are transparent, at an even rate (see `even_rate`). The sound becomes 16 kHz mono. Large frames are scaled down, and
    long clips thinned out, as `limits` say.

    Raises:
        MissingFile, EmptyFile, WrongKind: if the file is not there, is without bytes or frames, or is no clip.
        DamagedFile: if part of it is missing, or it cannot be decoded.
        OverLimit: if it has more bytes, pixels, seconds or frames than `limits` allow, or takes too long.
        SystemFailure, DecoderCrash: if the system refuses memory or a process, or the decoder crashes.
    """
    with opened_kind(
        path, limits, CLIP_KINDS + PICTURE_KINDS, "a clip (MP4, MOV, WebM, or an animated GIF, WebP or PNG)"
    ) as (file, kind):
        decoded = decode_in_child(Path(path), file, kind, limits, frames=True, sample_rate=SAMPLE_RATE)
    chosen, fps = even_rate(decoded.times, decoded.end, decoded.rate)
    frame_bytes = decoded.frames[0].nbytes
    if len(chosen) > limits.max_frames or len(chosen) * frame_bytes > limits.max_decoded_bytes:
        raise OverLimit(
            f"{path}: has {len(chosen):,} frames at an even rate, the limit is {limits.max_frames:,}, cut it or lower its rate"
        )
    # Most clips are even already, and then their frames need no second copy.
    is_even = len(chosen) == len(decoded.times) and (chosen == np.arange(len(chosen))).all()
    return Video(decoded.frames if is_even else decoded.frames[chosen], fps, decoded.audio)


def even_rate(times: np.ndarray, end: float, declared: float | None = None) -> tuple[np.ndarray, float]:
    """Which frames to show, and how many per second, so that frames at uneven `times` seem to keep their timing.

    Args:
        times: ``[num_frames]`` when each frame begins, in seconds after the first.
        end: when the last one ends.
        declared: the file's own rate, preferred where it agrees, since containers round their time stamps.

    Returns:
        Indices of frames and frames per second. If the frames are even, each of them once: none begins half a frame
        away from where it should, and none lasts as long as two. Else the frame shown at each instant of a grid as fine
        as the median frame (60 per second at most).
    """
    count = len(times)
    steps = np.diff(times)
    if end <= (times[-1] if count else 0) or (steps <= 0).any():  # no usable time stamps
        return np.arange(count), declared or 25.0
    mean = end / count
    durations = np.append(steps, end - times[-1])
    usual = float(np.sort(durations)[(count - 1) // 2])
    if np.abs(times - mean * np.arange(count)).max() <= mean / 2 and durations.max() < 1.8 * usual:
        fps = 1 / mean
        return np.arange(count), declared if declared and abs(declared / fps - 1) < 0.02 else fps
    fps = min(_FASTEST, 1 / usual)
    # However short the last frame is, it is shown.
    num_instants = max(1, round(end * fps), ceil(times[-1] * fps - 0.5) + 1)
    instants = (np.arange(num_instants) + 0.5) / fps
    return np.searchsorted(times, instants, side="right") - 1, fps


def write_video(video: Video, path: str | Path) -> None:
    """Write a clip as MP4 (H.264, and AAC if it has sound) or, by the ending of `path`, MOV, looping GIF, WebP or APNG.

    The last three carry no sound, so it is left out there; WebP and APNG keep what is transparent so. H.264 needs even
    sizes: an odd width or height repeats its last column or row.

    Raises:
        ArgumentError: if `video` is not a `Video`.
        MediaError: if it cannot be written (see `files.replacing`).
    """
    if not isinstance(video, Video):
        raise ArgumentError(f"video: must be a Video, not {type(video).__name__}")
    with replacing(path, WRITE_SUFFIXES) as temporary:
        _WRITERS[temporary.suffix.lower()](video, temporary)


def _write_gif(video: Video, path: Path) -> None:
    _write_pictures(
        video.frames, video.fps, path, "GIF", tick=10, optimize=False
    )  # GIF counts in hundredths of a second


def _write_webp(video: Video, path: Path) -> None:
    frames = video.frames if video.alpha is None else video.rgba
    _write_pictures(frames, video.fps, path, "WEBP", tick=1, quality=90, method=4)


def _write_apng(video: Video, path: Path) -> None:
    frames = video.frames if video.alpha is None else video.rgba
    _write_pictures(frames, video.fps, path, "PNG", tick=1, disposal=1, blend=0)


def _write_pictures(frames: np.ndarray, fps: float, path: Path, kind: str, tick: int, **options: object) -> None:
    """An endless loop. Durations are whole ticks of so many milliseconds that add up to the clip's."""
    borders = np.rint(np.arange(len(frames) + 1) * 1000 / fps / tick).astype(int)
    durations = [int(step) * tick for step in np.diff(borders)]
    first, *others = [Image.fromarray(frame) for frame in frames]
    content = BytesIO()  # encoded in memory first, so that a full disk speaks as the system does
    first.save(content, format=kind, save_all=True, append_images=others, duration=durations, loop=0, **options)
    path.write_bytes(content.getbuffer())


_WRITERS: dict[str, Callable[[Video, Path], None]] = {
    ".mp4": write_mp4,
    ".mov": write_mp4,
    ".gif": _write_gif,
    ".webp": _write_webp,
    ".apng": _write_apng,
}


def sample_frames(video: Video, num_frames: int, fps: float | None = None) -> Video:
    """A clip of `num_frames` frames chosen from `video`.

    Without `fps` they are spread evenly over the whole clip, which keeps its length and sound. With `fps` they are what
    is shown at that rate from the first frame on: a longer clip is cut, with its sound; a shorter one starts again from
    its beginning, frames and sound, as stickers do.

    Raises:
        ArgumentError: if `num_frames` or `fps` is not positive.
    """
    if num_frames < 1 or (fps is not None and not fps > 0):
        raise ArgumentError(f"sample_frames: num_frames and fps must be positive, not {num_frames} and {fps}")
    if fps is None:
        chosen = np.arange(num_frames) * len(video.frames) // num_frames
        alpha = None if video.alpha is None else video.alpha[chosen]
        return Video(video.frames[chosen], num_frames / video.seconds, video.audio, alpha)
    # A hair is added, so that 2 / 8 s at 24 frames per second is frame 6 and not 5.
    shown = np.floor(np.arange(num_frames) * (video.fps / fps) + 1e-6).astype(int)
    shown = shown % len(video.frames)
    alpha = None if video.alpha is None else video.alpha[shown]
    return Video(video.frames[shown], fps, _cut_or_loop(video, num_frames / fps), alpha)


def _cut_or_loop(video: Video, seconds: float) -> Audio | None:
    if video.audio is None:
        return None
    rate = video.audio.sample_rate
    one_round = round(video.seconds * rate)
    wanted = max(1, round(seconds * rate))
    samples = video.audio.samples
    if wanted > one_round > 0:
        samples = np.resize(np.pad(samples[:one_round], (0, max(0, one_round - len(samples)))), wanted)
    return Audio(samples[:wanted], rate)


def fit_square_frames(video: Video, size: int) -> Video:
    """The clip with frames of `size` x `size` pixels, each fitted as `fit_square` does; all of it is solid."""
    frames = np.stack([np.asarray(fit_square(Image.fromarray(frame), size)) for frame in video.frames])
    return replace(video, frames=frames, alpha=None)
