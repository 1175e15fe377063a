"""Whether a file's media reach to its end: decoders forgive a missing end and read half a file as a shorter one.

Each check walks the container's own lengths (RIFF, AIFF, ISO 14496-12, EBML, Ogg RFC 3533, GIF89a, PNG) and decodes
nothing. What counts is media that are missing. A length that is merely wrong, a trailer that was never written and
bytes after the end are no fault: recorders that are killed and programs that write to a pipe leave such files.
"""

import errno
import math
import re
import struct
from collections.abc import Callable
from typing import BinaryIO

UNKNOWN_LENGTH = 0x7FFFF000
"""Programs that write to a pipe cannot know a length and leave one of this size or more."""


def missing_end(kind: str, file: BinaryIO, size: int, start: int = 0) -> str | None:
    """Say in words what is missing at the end of a file of `size` bytes, or None if it is whole or cannot be told.

    Args:
        kind: a key of `kinds.KINDS`.
        file: the open file.
        size: its length in bytes.
        start: where its content begins.
    """
    if kind not in _CHECKS:
        return None
    file.seek(start)
    try:
        return _CHECKS[kind](file, size)
    except (struct.error, IndexError, ValueError, OverflowError):
        return "it stops inside a header"
    except OSError as error:
        if error.errno != errno.EINVAL:  # a length that leads beyond what a file can hold
            raise
        return "it stops inside a header"


def _lack(what: str, length: int, there: int) -> str | None:
    return f"{what} of {length:,} bytes has only {max(0, there):,}" if length > there else None


_WEBP_CHUNKS = (b"VP8 ", b"VP8L", b"VP8X", b"ANMF", b"ANIM", b"ALPH", b"ICCP", b"EXIF", b"XMP ")


def _webp(file: BinaryIO, size: int) -> str | None:
    """Chunks of (name, little-endian length, body padded to even)."""
    position, is_there = file.tell() + 12, False
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        if is_there and name not in _WEBP_CHUNKS:
            break  # bytes after the end
        if lack := _lack("a part", length, size - position - 8):
            return lack
        is_there = is_there or name in (b"VP8 ", b"VP8L", b"ANMF")
        position += 8 + length + length % 2
    return None if is_there else "it has no picture"


def _chunks(order: str, data: bytes, also: int) -> Callable[[BinaryIO, int], str | None]:
    """A check of AIFF or Core Audio: chunks of (name, length, body); the one named `data` must be there and whole."""

    def check(file: BinaryIO, size: int) -> str | None:
        header = struct.Struct(order)
        file.seek(also, 1)
        position = file.tell()
        while True:
            file.seek(position)
            name, length = header.unpack(file.read(header.size))
            position += header.size
            if name == data:
                unknown = length < 0 or length % 2**32 >= UNKNOWN_LENGTH
                return None if unknown else _lack("its sound", length, size - position)
            if length < 0:
                return "a part has an impossible length"
            position += length + (length % 2 if data == b"SSND" else 0)

    return check


def _au(file: BinaryIO, size: int) -> str | None:
    offset, length = struct.unpack(">4xII", file.read(12))
    return None if length >= UNKNOWN_LENGTH else _lack("its sound", length, size - offset)


def _w64(file: BinaryIO, size: int) -> str | None:
    """Parts of (16-byte name, little-endian length with this header, body padded to eights)."""
    position = file.tell() + 40
    while True:
        file.seek(position)
        name, length = struct.unpack("<16sQ", file.read(24))
        if name[:4] == b"data":
            return None if length >= 2**60 else _lack("its sound", length - 24, size - position - 24)
        if length < 24:
            return "a part has an impossible length"
        position += -(-length // 8) * 8


def _nist(file: BinaryIO, size: int) -> str | None:
    """Lines of text that count the samples; what follows begins where the second line says."""
    head = file.read(1_024)
    fields = dict(re.findall(rb"(\w+) -i (\d+)", head))
    names = (b"sample_count", b"sample_n_bytes", b"channel_count")
    if not all(name in fields for name in names):
        return None
    return _lack("its sound", math.prod(int(fields[name]) for name in names), size - int(head[8:16]))


def _mp4(file: BinaryIO, size: int) -> str | None:
    """Boxes of (big-endian length, name, body); length 1 means a 64-bit length follows, 0 up to the end.

    Whether the media that the index names are there is seen when it has been parsed (see `worker/streams.py`), except in
    a file of fragments, each with an index of its own.
    """
    position, names = file.tell(), set()
    while position + 8 <= size:
        file.seek(position)
        length, name = struct.unpack(">I4s", file.read(8))
        if length == 1:
            length = struct.unpack(">Q", file.read(8))[0]
        if length == 0:
            length = size - position
        if b"moov" in names and not name.isalnum():
            return None  # bytes after the end
        if length < 8:
            return None if b"moov" in names else "a part has an impossible length"
        if position + length > size and (name == b"moov" or (name in (b"moof", b"mdat") and b"moof" in names)):
            return _lack("a part", length, size - position)
        names.add(name)
        position += length
    return None if b"moov" in names else "it has no index"


def _matroska(file: BinaryIO, size: int) -> str | None:
    """Elements of (id, length, body): the EBML header, then the segment, of unknown length in live recordings.

    Of a segment that should be longer, the last of its own elements must be cut: else only its length is wrong.
    """

    def number(keep_marker: bool) -> tuple[int, bool]:
        first = file.read(1)[0]
        width = 9 - first.bit_length()
        value = int.from_bytes(bytes([first if keep_marker else first & (0xFF >> width)]) + file.read(width - 1))
        return value, not keep_marker and value == (1 << 7 * width) - 1

    number(keep_marker=True)
    header, _ = number(keep_marker=False)
    file.seek(header, 1)
    number(keep_marker=True)
    segment, unknown = number(keep_marker=False)
    if unknown or segment <= size - file.tell():
        return None
    while file.tell() < size:
        number(keep_marker=True)
        length, unknown = number(keep_marker=False)
        if unknown:
            return None
        if lack := _lack("a part", length, size - file.tell()):
            return lack
        file.seek(length, 1)
    return None


def _ogg(file: BinaryIO, size: int) -> str | None:
    """Pages of (27-byte header, table of segment lengths, body). Bytes between and after them are skipped."""
    position, pages = file.tell(), 0
    if position >= size:
        return "nothing is there"
    while position < size:
        file.seek(position)
        header = file.read(27)
        if header[:4] != b"OggS":
            return None if pages else "it does not begin with a page"
        position += 27 + header[26] + sum(file.read(header[26]))
        pages += 1
    return f"its last page lacks {position - size} bytes" if position > size else None


def _gif(file: BinaryIO, size: int) -> str | None:
    """Blocks up to the trailer: extensions and pictures, each a chain of sub-blocks that ends with an empty one."""
    pictures = 0

    def skip_colours(flags: int) -> None:
        if flags & 0x80:
            file.seek(3 << (flags & 7) + 1, 1)

    def skip_chain() -> None:
        while length := file.read(1)[0]:
            file.seek(length, 1)

    skip_colours(file.read(13)[10])
    while block := file.read(1):
        if block == b"\x21":
            file.seek(1, 1)
        elif block == b"\x2c":
            skip_colours(file.read(9)[8])
            file.seek(1, 1)
            pictures += 1
        else:  # the trailer, or bytes after the last picture
            break
        skip_chain()
    return None if pictures else "it has no picture"


def _png(file: BinaryIO, size: int) -> str | None:
    """Chunks of (big-endian length, name, body, checksum) up to IEND."""
    position, name = file.tell() + 8, b""
    while name != b"IEND":
        if position == size and name in (b"IDAT", b"fdAT"):
            return None  # only the trailer was never written
        file.seek(position)
        length, name = struct.unpack(">I4s", file.read(8))
        position += 12 + length
        if position > size and name != b"IEND":
            return f"a part lacks {position - size} bytes"
    return None


def _mp3(file: BinaryIO, size: int) -> str | None:
    """The Xing or Info header in the first frame, where an encoder left one, tells how many bytes follow."""
    start = file.tell()
    frame = file.read(64)
    found = max(frame.find(b"Xing"), frame.find(b"Info"))
    if found < 0:
        return None if start < size else "nothing follows its tags"
    flags = struct.unpack(">I", frame[found + 4 : found + 8])[0]
    if not flags & 2:
        return None
    place = found + 8 + 4 * (flags & 1)
    declared = struct.unpack(">I", frame[place : place + 4])[0]
    # 128 bytes are a tag that was taken off the end, not media.
    return f"{declared:,} bytes are declared, {size - start:,} are there" if start + declared > size + 128 else None


_CHECKS: dict[str, Callable[[BinaryIO, int], str | None]] = {
    "webp": _webp,
    "aiff": _chunks(">4si", b"SSND", also=12),
    "caf": _chunks(">4sq", b"data", also=8),
    "au": _au,
    "w64": _w64,
    "nistsphere": _nist,
    "mp4": _mp4,
    "matroska": _matroska,
    "ogg": _ogg,
    "gif": _gif,
    "png": _png,
    "mp3": _mp3,
}
