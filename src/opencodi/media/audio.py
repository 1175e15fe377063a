"""Sound files ↔ `Audio`, mixed to mono and resampled."""

import os
from io import BytesIO
from math import gcd
from pathlib import Path

import av
import numpy as np
import soundfile

from ..errors import ArgumentError, DamagedFile, NotFinite
from .decoding import decode_in_child
from .files import opened_kind, replacing
from .kinds import SOUND_KINDS
from .limits import DEFAULT_LIMITS, Limits
from .objects import SAMPLE_RATES, Audio
from .wav import read_wav, wav_header

SAMPLE_RATE = 16_000
WRITE_SUFFIXES = (".wav", ".flac", ".ogg")
_SUBTYPES = {".wav": "PCM_16", ".flac": "PCM_16", ".ogg": "VORBIS"}


def read_audio(path: str | Path, limits: Limits = DEFAULT_LIMITS, sample_rate: int | None = SAMPLE_RATE) -> Audio:
    """Read a sound file, or the sound track of a clip.

    WAV, FLAC, Ogg (Vorbis, Opus, Speex), MP3, M4A and AAC, AIFF, CAF, AU, Wave64, WMA, AMR and whatever else
    `kinds.SOUND_KINDS` names. Channels are mixed to one, the sample rate becomes `sample_rate` hertz (None: the
    file's own), peaks are clipped to [-1, 1]. All but plain WAV files are decoded in a child process.

    Raises:
        MissingFile, EmptyFile, WrongKind: if the file is not there, is without bytes or samples, or holds no sound.
        DamagedFile: if part of it is missing, or it cannot be decoded.
        OverLimit: if it has more bytes or seconds than `limits` allow.
        SystemFailure, DecoderCrash: if the system refuses memory or a process, or the decoder crashes.
    """
    with opened_kind(path, limits, SOUND_KINDS, "a sound (WAV, FLAC, Ogg, MP3, M4A, AIFF or the like)") as (file, kind):
        path, size = Path(path), os.fstat(file.fileno()).st_size
        start = file.tell()
        header = wav_header(path, file, size, start) if kind == "wav" else None
        if header is not None and header.missing:
            raise DamagedFile(
                f"{path}: is truncated ({header.missing:,} bytes of its samples are missing), fetch it again"
            )
        if header is not None and header.is_plain:
            audio = read_wav(path, file, header, limits)
        else:
            file.seek(start)
            audio = decode_in_child(path, file, kind, limits, frames=False, sample_rate=sample_rate).audio
    return audio if sample_rate is None else resample(audio, sample_rate)


def write_audio(audio: Audio, path: str | Path) -> None:
    """Write a sound as 16-bit WAV or, by the ending of `path`, FLAC or Ogg Vorbis.

    Raises:
        ArgumentError: if `audio` is not an `Audio`.
        NotFinite: if a sample is NaN or infinite.
        MediaError: if it cannot be written (see `files.replacing`).
    """
    if not isinstance(audio, Audio):
        raise ArgumentError(f"audio: must be an Audio, not {type(audio).__name__}")
    if not np.isfinite(audio.samples).all():
        raise NotFinite("audio: holds samples that are not numbers, so it was not written")
    with replacing(path, WRITE_SUFFIXES) as temporary:
        suffix = temporary.suffix.lower()
        content = BytesIO()  # encoded in memory first, so that a full disk speaks as the system does
        soundfile.write(content, audio.samples, audio.sample_rate, subtype=_SUBTYPES[suffix], format=suffix[1:])
        temporary.write_bytes(content.getbuffer())


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
