"""The program that decodes one clip or compressed sound, run as a child process by `decoding.py`.

A crafted or damaged file can crash a decoder, hang it or make it ask for all memory; here that ends this process and
no other. It stands alone: it imports av, NumPy and Pillow, nothing of this package, so that it starts quickly.

It takes one JSON request as its argument, writes `frames` (uint8 [num_frames, height, width, 3]) and `samples` (float32
[num_samples]) into the request's folder, and answers with one JSON line: what it wrote, or
`{"error": class, "reason": words}`.
"""

import contextlib
import json
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np

# Named, so that no other of FFmpeg's parsers gets to see a crafted file.
_FFMPEG_PARSERS = {"mp4": "mov", "matroska": "matroska", "mp3": "mp3"}


class Refusal(Exception):
    """An error with a name from opencodi.errors."""

    def __init__(self, error: str, reason: str):
        super().__init__(reason)
        self.error = error


def main(request: dict) -> dict:
    """Decode what ``request`` names; the reply describes the media, or has ``error`` (a name from errors) and ``reason``."""
    _limit_memory(request["max_decoder_bytes"])
    decode = _decode_pictures if request["kind"] in ("gif", "webp", "png") else _decode_streams
    try:
        return decode(request)
    except Refusal as refusal:
        return {"error": refusal.error, "reason": str(refusal)}
    except MemoryError:
        return {
            "error": "OverLimit",
            "reason": f"takes more memory to decode than {request['max_decoder_bytes']:,} bytes",
        }
    except ImportError:
        raise
    except Exception as error:  # whatever the decoders' parsers run into
        return {"error": "DamagedFile", "reason": f"cannot be decoded ({error})"}


def _limit_memory(max_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    for what, value in ((resource.RLIMIT_AS, max_bytes), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):  # some systems know the limit but do not let it be set
            resource.setrlimit(what, (value, value))


class FrameWriter:
    """Writes frames of one size to a file as they come, within the limits, and notes when each begins."""

    def __init__(self, file: BinaryIO, request: dict, width: int, height: int):
        if width * height > request["max_pixels"]:
            pixels = f"{width} x {height} = {width * height:,}"
            raise Refusal("OverLimit", f"has frames of {pixels} pixels, the limit is {request['max_pixels']:,}")
        scale = min(1.0, request["max_frame_side"] / max(1, min(width, height)))
        self.size = max(1, round(width * scale)), max(1, round(height * scale))
        self.file, self.request = file, request
        self.times: list[float] = []
        self.shape: tuple[int, ...] = ()

    def write(self, frame: np.ndarray, time: float) -> None:
        request, count = self.request, len(self.times) + 1
        if count > request["max_frames"]:
            raise Refusal("OverLimit", f"has more frames than the limit of {request['max_frames']:,}")
        if time > request["max_seconds"]:
            raise Refusal("OverLimit", f"lasts longer than the limit of {request['max_seconds']:g} s")
        if count * frame.nbytes > request["max_decoded_bytes"]:
            raise Refusal(
                "OverLimit", f"takes more than the limit of {request['max_decoded_bytes']:,} bytes when decoded"
            )
        self.shape = self.shape or frame.shape
        self.file.write(np.ascontiguousarray(frame))
        self.times.append(time)


def _decode_pictures(request: dict) -> dict:
    """Animated GIF, WebP (which FFmpeg does not read) and PNG."""
    from PIL import Image, ImageSequence

    Image.MAX_IMAGE_PIXELS = None  # ours is checked instead
    with Image.open(request["path"], formats=[request["kind"]]) as image, _output(request, "frames") as file:
        if getattr(image, "n_frames", 1) < 2:
            raise Refusal("WrongKind", "is a still picture, give it as an image")
        writer = FrameWriter(file, request, *image.size)
        end = 0.0
        for index, picture in enumerate(ImageSequence.Iterator(image)):
            if index == 0 and getattr(image, "default_image", False):
                continue  # an APNG may begin with a picture for programs that cannot animate it
            rgba = picture.convert("RGBA")
            white = Image.new("RGBA", rgba.size, "white")
            rgb = Image.alpha_composite(white, rgba).convert("RGB")
            if rgb.size != writer.size:
                rgb = rgb.resize(writer.size, Image.Resampling.BOX)
            milliseconds = picture.info.get("duration", 0)
            writer.write(np.asarray(rgb), end)
            end += (milliseconds if milliseconds > 10 else 100) / 1000  # as browsers show frames without a duration
    return {"shape": writer.shape, "times": writer.times, "end": end, "rate": None, "num_samples": 0}


def _decode_streams(request: dict) -> dict:
    """Everything FFmpeg reads: the first picture track (if wanted) and the first sound track, mixed and resampled."""
    import av
    from av.stream import Disposition

    with contextlib.ExitStack() as stack:
        parser = _FFMPEG_PARSERS[request["kind"]]
        container = stack.enter_context(av.open(request["path"], format=parser, metadata_errors="replace"))
        pictures = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        sounds = list(container.streams.audio)
        if not (pictures if request["frames"] else sounds):
            what = "picture track, give a clip" if request["frames"] else "sound track, give a sound"
            raise Refusal("WrongKind", f"has no {what}")
        video = pictures[0] if request["frames"] else None
        audio = sounds[0] if sounds else None
        _check_declared(request, container, video)

        writer = None
        start = end = 0.0
        if video is not None:
            video.thread_type = "AUTO"
            writer = FrameWriter(stack.enter_context(_output(request, "frames")), request, video.width, video.height)
        sound = SoundWriter(stack.enter_context(_output(request, "samples")), request) if audio is not None else None

        for packet in container.demux([s for s in (video, audio) if s is not None]):
            if packet.is_corrupt:
                raise Refusal("DamagedFile", "holds a damaged packet")
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise Refusal("DamagedFile", "holds a damaged frame")
                if audio is not None and packet.stream.index == audio.index:
                    sound.write(frame)
                    continue
                rate = video.average_rate or Fraction(25)
                time = frame.time if frame.time is not None else float(len(writer.times) / rate)
                start = start if writer.times else time
                writer.write(_upright(frame, writer.size), time - start)
                end = time - start + float(frame.duration * frame.time_base if frame.duration else 1 / rate)

        answer = {"shape": (), "times": [], "end": end, "rate": None, "num_samples": 0}
        if writer is not None:
            if not writer.times:
                raise Refusal("EmptyFile", "holds no frame")
            answer |= {"shape": writer.shape, "times": writer.times}
            answer["rate"] = float(video.average_rate) if video.average_rate else None
        if sound is not None:
            answer |= sound.finish(start, audio)
        if writer is None and not answer["num_samples"]:
            raise Refusal("EmptyFile", "holds no sample")
        return answer


def _check_declared(request: dict, container, video) -> None:
    """Refuse by what the header says, before time is spent on decoding."""
    seconds = (container.duration or 0) / 1e6
    if seconds > request["max_seconds"]:
        raise Refusal("OverLimit", f"lasts {seconds:.1f} s, the limit is {request['max_seconds']:g} s")
    if video is not None and video.frames > request["max_frames"]:
        raise Refusal("OverLimit", f"has {video.frames:,} frames, the limit is {request['max_frames']:,}")


def _upright(frame, size: tuple[int, int]) -> np.ndarray:
    """[height, width, 3] of a frame, scaled to `size` (width, height) and turned as its display matrix says."""
    rgb = frame.reformat(*size, format="rgb24", interpolation="AREA").to_ndarray()
    return np.rot90(rgb, round(frame.rotation / 90))


class SoundWriter:
    """Mixes and resamples decoded sound to a file of float32 samples."""

    def __init__(self, file: BinaryIO, request: dict):
        self.file, self.request = file, request
        self.resampler = None
        self.start, self.gain = 0.0, 1.0
        self.rate = self.count = 0

    def write(self, frame) -> None:
        import av

        if self.resampler is None:
            if frame.sample_rate not in range(*self.request["sample_rates"]):
                raise Refusal("DamagedFile", f"declares an impossible rate of {frame.sample_rate:,} samples per second")
            self.rate = self.request["sample_rate"] or frame.sample_rate
            self.resampler = av.AudioResampler(format="flt", layout="mono", rate=self.rate)
            self.start = frame.time or 0.0
            # FFmpeg adds left and right at 0.71 each when it works in floats; at half each nothing gets louder.
            self.gain = 1.0 if frame.layout.nb_channels == 1 else 0.5**0.5
        frame.pts = None  # the resampler counts by itself; gaps in damaged time stamps are no reason to fail
        self._store(self.resampler.resample(frame))

    def _store(self, frames) -> None:
        for frame in frames:
            samples = frame.to_ndarray()[0] * np.float32(self.gain)
            self.file.write(samples)
            self.count += len(samples)
        if self.count > self.request["max_seconds"] * self.rate:
            raise Refusal("OverLimit", f"its sound lasts longer than the limit of {self.request['max_seconds']:g} s")
        if self.count * 4 > self.request["max_decoded_bytes"]:
            raise Refusal(
                "OverLimit", f"takes more than the limit of {self.request['max_decoded_bytes']:,} bytes when decoded"
            )

    def finish(self, video_start: float, stream) -> dict:
        """What was written, and how many samples to `skip` (negative: silence to add) to start with the frames."""
        if self.resampler is None:
            return {}
        self._store(self.resampler.resample(None))
        if self.request["kind"] == "mp4" and stream.duration:
            # AAC works in blocks of up to 2,048 samples: what it adds to fill the last one is not part of the sound.
            declared = round(stream.duration * stream.time_base * self.rate)
            if 0 < self.count - declared <= 2048 * self.rate / stream.rate:
                self.count = max(1, declared)
        skip = round((video_start - self.start) * self.rate) if self.request["frames"] else 0
        if -skip > self.request["max_seconds"] * self.rate:
            raise Refusal("DamagedFile", "its sound begins after the longest time a clip may last")
        return {"num_samples": self.count, "sample_rate": self.rate, "skip": skip}


@contextlib.contextmanager
def _output(request: dict, name: str) -> Iterator[BinaryIO]:
    with (Path(request["folder"]) / name).open("wb") as file:
        yield file


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
