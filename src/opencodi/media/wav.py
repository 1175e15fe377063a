"""WAV files of plain numbers, read with NumPy alone: no decoder sees them, and odd lengths in the header do no harm."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import DamagedFile, EmptyFile, OverLimit
from .containers import UNKNOWN_LENGTH
from .limits import Limits
from .objects import SAMPLE_RATES, Audio

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_CHUNKS_AFTER = (b"LIST", b"id3 ", b"ID3 ", b"fact", b"cue ", b"bext", b"smpl", b"JUNK", b"PEAK", b"plst", b"iXML")
_BLOCK = 2**18
_HEADER = 46
"""Bytes of a usual header. Some programs count it into the length of the samples."""


@dataclass(frozen=True)
class WavHeader:
    """Where the samples of a WAV file are, and how they are stored.

    Attributes:
        format: 1 whole numbers, 3 floats; others are compressed.
        channels: samples of one instant.
        rate: instants per second.
        width: bytes of one sample.
        start: where the samples begin in the file.
        length: their bytes that are there.
        missing: their bytes that are declared but not there.
    """

    format: int
    channels: int
    rate: int
    width: int
    start: int
    length: int
    missing: int

    @property
    def is_plain(self) -> bool:
        """Whether `read_wav` reads it."""
        widths = {_PCM: (1, 2, 3, 4), _FLOAT: (4, 8)}.get(self.format, ())
        return self.width in widths and self.channels > 0


def wav_header(path: Path, file: BinaryIO, size: int, start: int = 0) -> WavHeader | None:
    """Find the samples of a RIFF, RF64 or BW64 file that begins at `start`; None for RIFX (big-endian).

    Raises:
        DamagedFile: if it ends before its samples begin, or samples that it declares are missing.
    """
    file.seek(start)
    if file.read(4) == b"RIFX":
        return None
    position, form, long_length = start + 12, None, 0
    try:
        while True:
            file.seek(position)
            name, length = struct.unpack("<4sI", file.read(8))
            position += 8
            if name == b"ds64":
                long_length = struct.unpack("<8xQ", file.read(16))[0]
            elif name == b"fmt ":
                form = file.read(min(length, 40))
            elif name == b"data":
                break
            position += length + length % 2
        code, channels, rate, width = struct.unpack("<HHI4xH", form[:14])
    except (struct.error, TypeError) as error:
        raise DamagedFile(f"{path}: is truncated (it stops before its samples), fetch it again") from error
    if code == _EXTENSIBLE and len(form) >= 26:
        code = struct.unpack("<H", form[24:26])[0]
    there = size - position
    if length == 0xFFFFFFFF and long_length:
        length = long_length
    if length >= UNKNOWN_LENGTH and length > there:
        length = there
    elif length == 0 and not _is_followed_by_chunk(file, position):
        length = there  # the recorder was killed before it could write the length
    missing = length - there
    return WavHeader(
        code, channels, rate, width // max(1, channels), position, min(length, there), max(0, missing - _HEADER)
    )


def read_wav(path: Path, file: BinaryIO, header: WavHeader, limits: Limits) -> Audio:
    """Samples of a plain WAV file, mixed to mono, at the file's own rate.

    Raises:
        DamagedFile: if the rate is impossible or a sample is not a number.
        EmptyFile: if there is no sample.
        OverLimit: if it lasts longer than `limits` allow.
    """
    frame = header.width * header.channels
    count = header.length // frame
    if header.rate not in SAMPLE_RATES:
        raise DamagedFile(f"{path}: declares an impossible rate of {header.rate:,} samples per second, export it again")
    if count == 0:
        raise EmptyFile(f"{path}: holds no sample, give a sound that lasts")
    if count > limits.max_seconds * header.rate or count * 4 > limits.max_decoded_bytes:
        raise OverLimit(f"{path}: lasts {count / header.rate:.1f} s, the limit is {limits.max_seconds:g} s, cut it")
    samples = np.empty(count, np.float32)
    file.seek(header.start)
    for first in range(0, count, _BLOCK):  # in blocks, so that many channels are never all in memory
        block = samples[first : first + _BLOCK]
        content = np.frombuffer(file.read(len(block) * frame), np.uint8)
        numbers = _numbers(content, header).reshape(-1, header.channels)
        block[: len(numbers)] = numbers.mean(axis=1, dtype=np.float32)
    if not np.isfinite(samples).all():
        raise DamagedFile(f"{path}: holds samples that are not numbers, export it again")
    return Audio(samples.clip(-1, 1), header.rate)


def _numbers(content: np.ndarray, header: WavHeader) -> np.ndarray:
    """Bytes → float32 samples in [-1, 1]."""
    if header.format == _FLOAT:
        with np.errstate(over="ignore"):  # a double too large for a float becomes infinite, which is refused
            return content.view(f"<f{header.width}").astype(np.float32)
    if header.width == 1:
        return content.astype(np.float32) / 128 - 1
    if header.width == 3:  # the upper three bytes of a number of four
        wide = np.zeros((len(content) // 3, 4), np.uint8)
        wide[:, 1:] = content.reshape(-1, 3)
        return wide.view("<i4")[:, 0].astype(np.float32) / 2**31
    return content.view(f"<i{header.width}").astype(np.float32) / 2 ** (8 * header.width - 1)


def _is_followed_by_chunk(file: BinaryIO, position: int) -> bool:
    file.seek(position)
    return file.read(4) in (b"", *_CHUNKS_AFTER)
