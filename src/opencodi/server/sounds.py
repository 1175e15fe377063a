"""Sounds in the formats that OpenAI's clients ask for."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from ..media import Audio, resample, write_audio

FORMATS = ("wav", "mp3", "flac", "opus", "aac", "pcm")
PCM_RATE = 24_000
"""Samples per second of ``pcm``, which has no header to say it: OpenAI's."""

_CODECS = {"mp3": ("mp3", "libmp3lame", 24_000), "opus": ("ogg", "libopus", 48_000), "aac": ("adts", "aac", 24_000)}


def write_sound(audio: Audio, path: Path) -> None:
    """Write a sound as the ending of ``path`` says, one of ``FORMATS``; ``pcm`` is 16 bit, little endian, mono, 24 kHz."""
    kind = path.suffix[1:]
    if kind == "pcm":
        samples = resample(audio, PCM_RATE).samples
        path.write_bytes((samples * 32767).round().astype("<i2").tobytes())
    elif kind in _CODECS:
        _encode(audio, path, *_CODECS[kind])
    else:
        write_audio(audio, path)


def _encode(audio: Audio, path: Path, container: str, codec: str, rate: int) -> None:
    audio = resample(audio, rate)
    with av.open(path, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = 96_000
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio.samples[None]), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate, frame_size=stream.frame_size)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
