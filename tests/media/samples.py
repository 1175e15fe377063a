"""Pictures, sounds and clips made from formulas, and their files in kinds that the package itself only reads."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from opencodi.media import Audio, Video

_PICTURES = {".mp4": "libx264", ".mov": "libx264", ".webm": "libvpx", ".avi": "mpeg4", ".mkv": "libx264"}
_SOUNDS = {".mp4": "aac", ".mov": "aac", ".m4a": "aac", ".mkv": "aac"}
_SOUNDS |= {".webm": "libopus", ".opus": "libopus", ".mp3": "libmp3lame"}


def picture(width: int = 64, height: int = 48) -> Image.Image:
    """A smooth picture of which no two corners are alike: red to the right, green downwards, a blue disc."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    disc = np.exp(-((x - 0.5) ** 2 + (y - 0.5) ** 2) * 20)
    return Image.fromarray((np.stack([x, y, disc], axis=-1) * 255).astype(np.uint8))


def tone(seconds: float = 1.0, sample_rate: int = 16_000, hertz: float = 440.0, amplitude: float = 0.5) -> Audio:
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return Audio((amplitude * np.sin(2 * np.pi * hertz * time)).astype(np.float32), sample_rate)


def click(seconds: float, at: float, sample_rate: int = 16_000) -> Audio:
    """Silence with a burst of 20 ms that begins at a known moment."""
    samples = np.zeros(round(seconds * sample_rate), np.float32)
    samples[round(at * sample_rate) :][: sample_rate // 50] = tone(0.02, sample_rate, 2_000, 0.9).samples
    return Audio(samples, sample_rate)


def onset(audio: Audio) -> float:
    """When the first loud sample comes, in seconds."""
    return int(np.argmax(np.abs(audio.samples) > 0.3)) / audio.sample_rate


def clip(num_frames: int = 16, fps: float = 8.0, size: tuple[int, int] = (64, 64), audio: Audio | None = None) -> Video:
    """A white square that moves right over a smooth background."""
    frames = np.stack([np.array(picture(*size))] * num_frames) // 2
    for number, frame in enumerate(frames):
        left = number * (size[0] - 12) // max(1, num_frames - 1)
        frame[size[1] // 2 - 6 : size[1] // 2 + 6, left : left + 12] = 255
    return Video(frames, fps, audio)


def grey_levels(levels: list[int], size: int = 32) -> list[Image.Image]:
    """One flat frame per level, so that a test can tell which frame it got."""
    return [Image.new("RGB", (size, size), (level,) * 3) for level in levels]


def encode(path: Path, video: Video | None = None, samples: np.ndarray | None = None, rate: int = 48_000) -> Path:
    """Write a clip, a sound `[num_samples, channels]`, or both, with FFmpeg's codec for the ending of `path`."""
    with av.open(path, "w") as container:
        if video is not None:
            pictures = container.add_stream(_PICTURES[path.suffix], rate=Fraction(video.fps).limit_denominator(60_060))
            pictures.height, pictures.width = video.frames.shape[1:3]
            pictures.pix_fmt = "yuv420p"
            pictures.bit_rate = 2_000_000
        if samples is not None:
            layout = {1: "mono", 2: "stereo", 6: "5.1"}[samples.shape[1]]
            sound = container.add_stream(_SOUNDS[path.suffix], rate=rate, layout=layout)
        if video is not None:
            for rgb in video.frames:
                container.mux(pictures.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
            container.mux(pictures.encode(None))
        if samples is not None:
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1).astype(np.float32), format="flt", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            resampler = av.AudioResampler(format=sound.format, layout=layout, rate=rate, frame_size=1024)
            for part in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(sound.encode(part))
            container.mux(sound.encode(None))
    return path


def cut(path: Path, keep: float) -> Path:
    """Keep the first part of a file's bytes."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    return path


def psnr(left: np.ndarray, right: np.ndarray) -> float:
    """Peak signal-to-noise ratio in decibels of two uint8 arrays of one shape."""
    return float(10 * np.log10(255**2 / np.mean((left.astype(float) - right.astype(float)) ** 2)))


def snr(found: np.ndarray, wanted: np.ndarray) -> float:
    """Signal-to-noise ratio in decibels over the length both have, without the first and last 30 ms at 16 kHz."""
    length = min(len(found), len(wanted))
    found, wanted = found[480 : length - 480], wanted[480 : length - 480]
    return float(10 * np.log10(np.mean(wanted**2) / np.mean((found - wanted) ** 2)))
