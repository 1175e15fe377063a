"""Clips and sounds that FFmpeg reads."""

import os
from fractions import Fraction
from typing import BinaryIO

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import VideoReformatter
from frames import Frames
from refusal import Refusal
from sounds import Sound

_STREAMED = ("mp3", "aac", "ac3", "mpegts", "mpeg", "ogg", "avi", "asf", "flv")
"""Kinds of packets without an index: one that cannot be decoded is skipped, as players do."""
_THREADS = min(4, os.cpu_count() or 1)


def decode_streams(request: dict, file: BinaryIO) -> tuple[dict, list[np.ndarray]]:
    """Everything FFmpeg reads: the first picture track (if wanted) and the first sound track, mixed and resampled."""
    with av.open(file, format=request["parser"], metadata_errors="replace") as container:
        pictures = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        sounds = list(container.streams.audio)
        if not (pictures if request["frames"] else sounds):
            what = "picture track, give a clip" if request["frames"] else "sound track, give a sound"
            raise Refusal("WrongKind", f"has no {what}")
        video = pictures[0] if request["frames"] else None
        audio = sounds[0] if sounds else None
        tracks = [track for track in (video, audio) if track is not None]
        _check_declared(request, container, video)
        if request["kind"] == "mp4":
            _check_index(tracks, request["size"])

        frames, sound = None, Sound(request)
        start = end = 0.0
        if video is not None:
            reformatter = VideoReformatter()  # one for all frames: each of its own would start threads of its own
            video.thread_type = "AUTO"
            video.thread_count = _THREADS
            frames = Frames(request, *_shown_size(video), about=_declared_frames(container, video))
        bad = packets = 0
        for packet in container.demux(tracks):
            packets += 1
            try:
                if packet.is_corrupt:
                    raise Refusal("DamagedFile", "holds a damaged packet")
                decoded = packet.decode()
            except (Refusal, av.error.InvalidDataError):
                bad += 1
                if request["kind"] not in _STREAMED or bad > 2 + packets // 20:
                    raise
                continue
            for frame in decoded:
                if frame.is_corrupt and request["kind"] not in _STREAMED:
                    raise Refusal("DamagedFile", "holds a damaged frame")
                if audio is not None and packet.stream.index == audio.index:
                    sound.write(frame)
                    continue
                rate = video.average_rate or Fraction(25)
                time = frame.time if frame.time is not None else float(frames.count / rate)
                start = start if frames.count else time
                if not frames.count:
                    orientation = _orientation(frame)
                if frames.wants(time - start):
                    rgb = reformatter.reformat(frame, *frames.size, format="rgb24", interpolation="AREA", threads=1)
                    frames.keep(_upright(rgb.to_ndarray(), orientation), time - start)
                end = time - start + float(frame.duration * frame.time_base if frame.duration else 1 / rate)

        answer = {"shape": [], "times": [], "end": end, "rate": None, "num_samples": 0}
        if frames is not None:
            if not frames.kept:
                raise Refusal("EmptyFile", "holds no frame")
            answer |= frames.answer()
            if video.average_rate and frames.every == 1:
                answer["rate"] = float(video.average_rate)
        answer |= sound.finish(start, audio)
        if frames is None and not answer["num_samples"]:
            raise Refusal("EmptyFile", "holds no sample")
        return answer, (frames.kept if frames else []) + sound.parts


def _check_declared(request: dict, container, video) -> None:
    """Refuse by what the header says, before time is spent on decoding."""
    seconds = (container.duration or 0) / 1e6
    if seconds > request["max_seconds"]:
        raise Refusal("OverLimit", f"lasts {seconds:.1f} s, the limit is {request['max_seconds']:g} s")
    if video is not None and video.frames > request["max_frames"]:
        raise Refusal("OverLimit", f"has {video.frames:,} frames, the limit is {request['max_frames']:,}")


def _check_index(tracks: list, size: int) -> None:
    """The index of an MP4 says where each packet lies; those beyond the end of the file are missing."""
    for track in tracks:
        entries = track.index_entries
        lost = sum(entry.pos + entry.size > size for entry in entries)
        if lost:
            raise Refusal(
                "DamagedFile", f"is truncated ({lost:,} of {len(entries):,} packets of its {track.type} are missing)"
            )


def _declared_frames(container, video) -> float:
    return video.frames or (container.duration or 0) / 1e6 * float(video.average_rate or 0)


def _shown_size(video) -> tuple[int, int]:
    """Width and height as seen: pixels need not be square. An absurd shape of pixels is not believed."""
    width, height = video.width, video.height
    ratio = video.sample_aspect_ratio or video.codec_context.sample_aspect_ratio
    if ratio and Fraction(1, 20) <= ratio <= 20:
        if ratio > 1:
            width = round(width * ratio)
        else:
            height = round(height / ratio)
    return width, height


def _orientation(frame) -> tuple[bool, bool, bool]:
    """Whether frames are to be transposed, then turned upside down, then mirrored, by the display matrix of the first.

    Asked once: frames that were asked for their side data stay in memory.
    """
    matrix = next((data for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return False, False, False
    # A point (x, y) is shown at (a x + c y, b x + d y).
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5]
    if max(abs(b), abs(c)) > max(abs(a), abs(d)):
        return True, bool(b < 0), bool(c < 0)
    return False, bool(d < 0), bool(a < 0)


def _upright(rgb: np.ndarray, orientation: tuple[bool, bool, bool]) -> np.ndarray:
    """[height, width, 3] as it is to be shown."""
    transposed, upside_down, mirrored = orientation
    rgb = rgb.swapaxes(0, 1) if transposed else rgb
    return rgb[:: -1 if upside_down else 1, :: -1 if mirrored else 1]
