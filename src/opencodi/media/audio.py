"""Sound files ↔ `Audio`, mixed to mono and resampled."""

from math import gcd
from pathlib import Path

import av
import numpy as np
import soundfile

from ..errors import ArgumentError, DamagedFile, EmptyFile, OverLimit
from .decoding import decode_in_child
from .files import replacing, require_kind
from .limits import DEFAULT_LIMITS, Limits
from .objects import SAMPLE_RATES, Audio

SAMPLE_RATE = 16_000
WRITE_SUFFIXES = (".wav", ".flac", ".ogg")
_SUBTYPES = {".wav": "PCM_16", ".flac": "PCM_16", ".ogg": "VORBIS"}
_LIBSNDFILE_KINDS = ("wav", "flac", "ogg")
_FFMPEG_KINDS = ("mp3", "mp4", "matroska")
_BLOCK = 2**18


def read_audio(path: str | Path, limits: Limits = DEFAULT_LIMITS, sample_rate: int | None = SAMPLE_RATE) -> Audio:
    """Read a WAV, FLAC, Ogg (Vorbis, Opus), MP3 or M4A file, or the sound track of an MP4, MOV or WebM.

    Channels are mixed to one, the sample rate becomes `sample_rate` hertz (None: the file's own), peaks are clipped to
    [-1, 1]. MP3 and the containers of clips are decoded in a child process.

    Raises:
        MissingFile, EmptyFile, WrongKind: if the file is not there, is without bytes or samples, or holds no sound.
        DamagedFile: if it is truncated or cannot be decoded.
        OverLimit: if it has more bytes or seconds than `limits` allow.
    """
    path, kind = require_kind(path, limits, _LIBSNDFILE_KINDS + _FFMPEG_KINDS, "a sound")
    if kind in _FFMPEG_KINDS:
        audio = decode_in_child(path, kind, limits, frames=False, sample_rate=sample_rate).audio
    else:
        audio = _read_libsndfile(path, limits)
    return audio if sample_rate is None else resample(audio, sample_rate)


def write_audio(audio: Audio, path: str | Path) -> None:
    """Write a sound as 16-bit WAV or, by the ending of `path`, FLAC or Ogg Vorbis.

    Raises:
        ArgumentError: if `audio` is not an `Audio`.
        MediaError: if it cannot be written (see `files.replacing`).
    """
    if not isinstance(audio, Audio):
        raise ArgumentError(f"audio: must be an Audio, not {type(audio).__name__}")
    with replacing(path, WRITE_SUFFIXES) as temporary:
        soundfile.write(temporary, audio.samples, audio.sample_rate, subtype=_SUBTYPES[temporary.suffix.lower()])


def to_mono(samples: np.ndarray) -> np.ndarray:
    """Mix `[num_samples, channels]` (or `[num_samples]`) to float32 `[num_samples]`: the mean of the channels."""
    samples = np.asarray(samples, dtype=np.float32)
    return samples if samples.ndim == 1 else samples.mean(axis=1, dtype=np.float32)


def resample(audio: Audio, sample_rate: int) -> Audio:
    """The same sound at `sample_rate` hertz: FFmpeg's windowed-sinc filter, no delay, peaks clipped to [-1, 1].

    Its length is `num_samples * sample_rate / audio.sample_rate`, rounded up to at least one sample.

    Raises:
        ArgumentError: if `sample_rate` is not 1,000 to 768,000.
    """
    if audio.sample_rate == sample_rate:
        return audio
    if sample_rate not in SAMPLE_RATES:
        raise ArgumentError(f"resample: sample_rate must be 1,000 to 768,000 hertz, not {sample_rate!r}")
    resampler = av.AudioResampler(format="flt", layout="mono", rate=sample_rate)
    frame = av.AudioFrame.from_ndarray(audio.samples[None], format="flt", layout="mono")
    frame.sample_rate = audio.sample_rate
    parts = [part.to_ndarray()[0] for given in (frame, None) for part in resampler.resample(given)]
    common = gcd(audio.sample_rate, sample_rate)
    length = -(-len(audio.samples) * (sample_rate // common) // (audio.sample_rate // common))
    samples = np.concatenate([*parts, np.zeros(length, np.float32)])[:length]
    return Audio(samples.clip(-1, 1), sample_rate)


def _read_libsndfile(path: Path, limits: Limits) -> Audio:
    try:
        with soundfile.SoundFile(path) as file:
            rate, declared = file.samplerate, file.frames
            if rate not in SAMPLE_RATES:
                raise DamagedFile(
                    f"{path}: declares an impossible rate of {rate:,} samples per second, export it again"
                )
            if declared > limits.max_seconds * rate or declared * 4 > limits.max_decoded_bytes:
                raise OverLimit(f"{path}: lasts {declared / rate:.1f} s, the limit is {limits.max_seconds:g} s, cut it")
            # In blocks, so that eight channels of silence, which compress to nothing, are never all in memory.
            blocks = [to_mono(block) for block in file.blocks(_BLOCK, dtype="float32", always_2d=True)]
    except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
        raise DamagedFile(f"{path}: cannot be decoded ({error}), fetch or export it again") from error
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if len(samples) < declared:
        raise DamagedFile(f"{path}: is truncated ({len(samples)} of {declared} samples are there), fetch it again")
    if len(samples) == 0:
        raise EmptyFile(f"{path}: holds no sample, give a sound that lasts")
    if not np.isfinite(samples).all():
        raise DamagedFile(f"{path}: holds samples that are not numbers, export it again")
    return Audio(samples.clip(-1, 1), rate)
