"""What the makers of sounds and of speech share: 16 kHz mono waves in and Ogg/Opus out."""

import io
from math import gcd
from pathlib import Path

import av
import numpy as np
import soundfile

from ....errors import CollectionError
from .libraries import require

SAMPLE_RATE = 16_000


def read_wave(file: Path) -> np.ndarray:
    """Any sound file → float32 [samples], 16 kHz mono; empty if nothing in it can be decoded."""
    parts = []
    try:
        with av.open(str(file)) as container:
            resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
            for frame in container.decode(audio=0):
                parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
            parts += [part.to_ndarray()[0] for part in resampler.resample(None)]
    except (av.FFmpegError, IndexError):
        pass  # what was decoded before the damage is used, as players do
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def resample(samples: np.ndarray, up: int, down: int) -> np.ndarray:
    """float [samples] → float [samples * up / down]: scipy's polyphase filter."""
    signal = require("scipy.signal", "resampling")
    common = gcd(up, down)
    return signal.resample_poly(samples, up // common, down // common)


def envelope(samples: np.ndarray, window: int) -> np.ndarray:
    """Mean absolute level in a window of so many samples around each sample, [samples]."""
    return np.convolve(np.abs(samples), np.ones(window) / window, "same")


def encode_opus(samples: np.ndarray, compression: float) -> bytes:
    """float32 [samples] at 16 kHz → Ogg/Opus bytes. compression: 0 to 1, as libsndfile understands it.

    Raises:
        CollectionError: if libsndfile was built without Opus.
    """
    file = io.BytesIO()
    try:
        soundfile.write(file, samples, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=compression)
    except (soundfile.LibsndfileError, ValueError) as error:
        raise CollectionError(
            f"sounds need a libsndfile with Opus: pip install --upgrade soundfile ({error})"
        ) from error
    return with_serial_number(file.getvalue(), 0)


def with_serial_number(ogg: bytes, number: int) -> bytes:
    """The same Ogg stream under another serial number; libsndfile draws one, and equal sounds should be equal bytes.

    A page (RFC 3533) has the number at byte 14, its checksum at byte 22 and the lengths of its segments from byte 27 on.
    """
    pages, at = bytearray(ogg), 0
    while at < len(pages):
        segments = pages[at + 26]
        end = at + 27 + segments + sum(pages[at + 27 : at + 27 + segments])
        pages[at + 14 : at + 18] = number.to_bytes(4, "little")
        pages[at + 22 : at + 26] = bytes(4)
        pages[at + 22 : at + 26] = _ogg_checksum(pages[at:end]).to_bytes(4, "little")
        at = end
    return bytes(pages)


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 with Ogg's polynomial, most significant bit first, no inversion."""
    checksum = 0
    for byte in page:
        checksum = (checksum << 8 & 0xFFFFFFFF) ^ _CRC[checksum >> 24 ^ byte]
    return checksum


def _crc_table(polynomial: int = 0x04C11DB7) -> list[int]:
    table = []
    for value in range(256):
        value <<= 24
        for _ in range(8):
            value = (value << 1 & 0xFFFFFFFF) ^ (polynomial if value >> 31 else 0)
        table.append(value)
    return table


_CRC = _crc_table()
