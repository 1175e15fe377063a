"""What a file's bytes say it is, and whether its container reaches to its declared end.

Names of files lie, and decoders forgive a missing end: libsndfile and FFmpeg read half a file as a shorter one. Each
check below walks the container's own lengths (RIFF, ISO 14496-12, EBML, Ogg RFC 3533, GIF89a, PNG) and decodes nothing.
"""

import re
import struct
from collections.abc import Callable
from typing import BinaryIO

KINDS: dict[str, str] = {
    "png": "a PNG picture",
    "jpeg": "a JPEG picture",
    "webp": "a WebP picture",
    "gif": "a GIF picture",
    "heif": "a HEIF or AVIF picture",
    "wav": "a WAV sound",
    "flac": "a FLAC sound",
    "ogg": "an Ogg sound",
    "mp3": "an MP3 sound",
    "mp4": "an MP4 or QuickTime file",
    "matroska": "a WebM or Matroska file",
    "pdf": "a PDF document",
    "zip": "a ZIP archive",
    "gzip": "a gzip archive",
}

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (rb"\x89PNG\r\n\x1a\n", "png"),
    (rb"\xff\xd8\xff", "jpeg"),
    (rb"GIF8[79]a", "gif"),
    (rb"RIFF....WEBP", "webp"),
    (rb"(RIFF|RF64)....WAVE", "wav"),
    (rb"fLaC", "flac"),
    (rb"OggS", "ogg"),
    (rb"\x1a\x45\xdf\xa3", "matroska"),
    (rb"....ftyp(heic|heix|mif1|avif|avis)", "heif"),
    (rb"....(ftyp|moov|mdat|wide)", "mp4"),
    (rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]", "mp3"),  # tags, or a frame: eleven bits of sync, a version, layer III
    (rb"%PDF-", "pdf"),
    (rb"PK\x03\x04", "zip"),
    (rb"\x1f\x8b", "gzip"),
)
HEAD_BYTES = 16


def kind_of(head: bytes) -> str | None:
    """The key of `KINDS` that the first `HEAD_BYTES` bytes announce, or None."""
    return next((kind for magic, kind in _MAGIC if re.match(magic, head, re.DOTALL)), None)


def missing_end(kind: str, file: BinaryIO, size: int) -> str | None:
    """Say in words what is missing at the end of a file of `size` bytes, or None if it is whole or cannot be told."""
    if kind not in _CHECKS:
        return None
    try:
        file.seek(0)
        return _CHECKS[kind](file, size)
    except (struct.error, IndexError):
        return "it stops inside a header"


def _riff(file: BinaryIO, size: int) -> str | None:
    """WAV and WebP: chunks of (name, little-endian length, body padded to even)."""
    declared = struct.unpack("<4xI4x", file.read(12))[0] + 8
    position = 12
    while position + 8 <= min(size, declared):
        file.seek(position)
        length = struct.unpack("<4xI", file.read(8))[0]
        # Programs that write to a pipe cannot know the length and leave its largest value there.
        if position + 8 + length > size and length < 0x7FFFFFFF:
            return f"a part of {length} bytes has only {size - position - 8}"
        position += 8 + length + length % 2
    return f"{declared} bytes are declared, {size} are there" if declared > size + 1 and declared < 0x7FFFFFFF else None


def _mp4(file: BinaryIO, size: int) -> str | None:
    """Boxes of (big-endian length, name, body); length 1 means a 64-bit length follows, 0 up to the end."""
    position, index = 0, False
    while position + 8 <= size:
        file.seek(position)
        length, name = struct.unpack(">I4s", file.read(8))
        if length == 1:
            length = struct.unpack(">Q", file.read(8))[0]
        if length == 0:
            length = size - position
        if length < 8:
            return "a part has an impossible length"
        if position + length > size:
            return f"a part of {length} bytes has only {size - position}"
        index = index or name == b"moov"
        position += length
    return None if index else "it has no index"


def _matroska(file: BinaryIO, size: int) -> str | None:
    """Two elements of (id, length, body): the EBML header, then the segment, of unknown length in live recordings."""

    def number(keep_marker: bool) -> tuple[int, bool]:
        first = file.read(1)[0]
        width = 9 - first.bit_length()
        value = int.from_bytes(bytes([first if keep_marker else first & (0xFF >> width)]) + file.read(width - 1))
        return value, value == (1 << 7 * width) - 1

    number(keep_marker=True)
    header, _ = number(keep_marker=False)
    file.seek(header, 1)
    number(keep_marker=True)
    segment, unknown = number(keep_marker=False)
    there = size - file.tell()
    return None if unknown or segment <= there else f"{segment} bytes are declared, {there} are there"


def _ogg(file: BinaryIO, size: int) -> str | None:
    """Pages of (27-byte header, table of segment lengths, body); the last one carries the end-of-stream flag."""
    position, flags = 0, 0
    while position < size:
        file.seek(position)
        header = file.read(27)
        if header[:4] != b"OggS":
            return "a page does not follow the one before it"
        flags = header[5]
        position += 27 + header[26] + sum(file.read(header[26]))
    if position > size:
        return f"its last page lacks {position - size} bytes"
    return None if flags & 4 else "its last page is missing"


def _gif(file: BinaryIO, size: int) -> str | None:
    """Blocks up to the trailer: extensions and pictures, each a chain of sub-blocks that ends with an empty one."""

    def skip_colours(flags: int) -> None:
        if flags & 0x80:
            file.seek(3 << (flags & 7) + 1, 1)

    def skip_chain() -> None:
        while length := file.read(1)[0]:
            file.seek(length, 1)

    skip_colours(file.read(13)[10])
    while (block := file.read(1)[0]) != 0x3B:
        if block == 0x21:
            file.seek(1, 1)
        elif block == 0x2C:
            skip_colours(file.read(9)[8])
            file.seek(1, 1)
        else:
            return "a block is of no known type"
        skip_chain()
    return None


def _png(file: BinaryIO, size: int) -> str | None:
    """Chunks of (big-endian length, name, body, checksum) up to IEND."""
    position, name = 8, b""
    while name != b"IEND":
        file.seek(position)
        length, name = struct.unpack(">I4s", file.read(8))
        position += 12 + length
    return None if position <= size else f"its last part lacks {position - size} bytes"


def _mp3(file: BinaryIO, size: int) -> str | None:
    """The Xing or Info header in the first frame, where an encoder left one, tells how many bytes follow."""
    start = 0
    head = file.read(10)
    if head[:3] == b"ID3":  # its length is four bytes of seven bits
        start = 10 + sum(byte << 7 * (3 - place) for place, byte in enumerate(head[6:10]))
    file.seek(start)
    frame = file.read(64)
    found = max(frame.find(b"Xing"), frame.find(b"Info"))
    if found < 0:
        return None if start < size else "nothing follows its tags"
    flags = struct.unpack(">I", frame[found + 4 : found + 8])[0]
    if not flags & 2:
        return None
    place = found + 8 + 4 * (flags & 1)
    declared = struct.unpack(">I", frame[place : place + 4])[0]
    return f"{declared} bytes are declared, {size - start} are there" if start + declared > size else None


_CHECKS: dict[str, Callable[[BinaryIO, int], str | None]] = {
    "wav": _riff,
    "webp": _riff,
    "mp4": _mp4,
    "matroska": _matroska,
    "ogg": _ogg,
    "gif": _gif,
    "png": _png,
    "mp3": _mp3,
}
