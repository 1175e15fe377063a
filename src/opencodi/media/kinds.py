"""What kind of file it is, told by its first bytes; names of files lie."""

import re
from typing import BinaryIO

KINDS: dict[str, str] = {
    "png": "a PNG picture",
    "jpeg": "a JPEG picture",
    "webp": "a WebP picture",
    "gif": "a GIF picture",
    "bmp": "a BMP picture",
    "avif": "an AVIF picture",
    "heif": "a HEIF picture",
    "tiff": "a TIFF picture",
    "svg": "an SVG drawing",
    "wav": "a WAV sound",
    "w64": "a Wave64 sound",
    "aiff": "an AIFF sound",
    "caf": "a Core Audio sound",
    "au": "a Sun AU sound",
    "flac": "a FLAC sound",
    "ogg": "an Ogg file",
    "mp3": "an MPEG sound",
    "aac": "an AAC sound",
    "ac3": "an AC-3 sound",
    "amr": "an AMR sound",
    "wv": "a WavPack sound",
    "ape": "a Monkey's Audio sound",
    "tta": "a True Audio sound",
    "voc": "a Creative VOC sound",
    "nistsphere": "a NIST Sphere sound",
    "ircam": "an IRCAM sound",
    "svx": "an Amiga 8SVX sound",
    "avr": "an Audio Visual Research sound",
    "paf": "an Ensoniq PARIS sound",
    "pvf": "a Portable Voice sound",
    "sds": "a MIDI sample dump",
    "wve": "a Psion sound",
    "xi": "a FastTracker instrument",
    "mat": "a MATLAB file",
    "midi": "a MIDI score, which holds notes and no sound",
    "mp4": "an MP4 or QuickTime file",
    "matroska": "a WebM or Matroska file",
    "avi": "an AVI file",
    "asf": "a Windows Media file",
    "flv": "a Flash video",
    "mpegts": "an MPEG transport stream",
    "mpeg": "an MPEG program stream",
    "pdf": "a PDF document",
    "zip": "a ZIP archive",
    "gzip": "a gzip archive",
}

PICTURE_KINDS = ("png", "gif", "webp")
"""Kinds that may be moving pictures; Pillow decodes them."""

FFMPEG_PARSERS: dict[str, str] = {
    "wav": "wav",
    "w64": "w64",
    "aiff": "aiff",
    "caf": "caf",
    "au": "au",
    "flac": "flac",
    "ogg": "ogg",
    "mp3": "mp3",
    "aac": "aac",
    "ac3": "ac3",
    "amr": "amr",
    "wv": "wv",
    "ape": "ape",
    "tta": "tta",
    "mp4": "mov",
    "matroska": "matroska",
    "avi": "avi",
    "asf": "asf",
    "flv": "flv",
    "mpegts": "mpegts",
    "mpeg": "mpeg",
}
"""Kind → the one of FFmpeg's parsers that reads it: no other gets to see a crafted file."""

SNDFILE_KINDS = (
    *("w64", "aiff", "caf", "au", "flac", "voc", "nistsphere", "ircam"),
    *("svx", "avr", "paf", "pvf", "sds", "wve", "xi", "mat"),
)
"""Kinds that libsndfile reads, which knows to a sample where a sound ends; FFmpeg reads what it refuses."""

SOUND_KINDS = tuple(dict.fromkeys((*SNDFILE_KINDS, *FFMPEG_PARSERS)))

CLIP_KINDS = ("mp4", "matroska", "avi", "asf", "flv", "mpegts", "mpeg", "ogg")

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (rb"\x89PNG\r\n\x1a\n", "png"),
    (rb"\xff\xd8\xff", "jpeg"),
    (rb"GIF8[79]a", "gif"),
    (rb"RIFF....WEBP", "webp"),
    (rb"BM.{4}\0\0\0\0", "bmp"),
    (rb"II\*\0|MM\0\*", "tiff"),
    (rb"(RIFF|RIFX|RF64|BW64)....WAVE", "wav"),
    (rb"RIFF....AVI ", "avi"),
    (rb"riff\x2e\x91\xcf\x11", "w64"),
    (rb"FORM....AIF[FC]", "aiff"),
    (rb"FORM....(8SVX|16SV)", "svx"),
    (rb"2BIT", "avr"),
    (rb" paf|fap ", "paf"),
    (rb"PVF1", "pvf"),
    (rb"\xf0\x7e.\x01", "sds"),
    (rb"ALawSoundFile\*\*", "wve"),
    (rb"Extended Instrument:", "xi"),
    (rb"MATLAB 5.0 MAT-file", "mat"),
    (rb"caff\0\x01", "caf"),
    (rb"\.snd\0", "au"),
    (rb"fLaC", "flac"),
    (rb"OggS", "ogg"),
    (rb"#!AMR", "amr"),
    (rb"wvpk", "wv"),
    (rb"MAC .[\x0c-\x10]", "ape"),
    (rb"TTA1", "tta"),
    (rb"Creative Voice", "voc"),
    (rb"NIST_1A", "nistsphere"),
    (rb"\x64\xa3[\x01-\x04]\0|\0[\x01-\x04]\xa3\x64", "ircam"),
    (rb"MThd", "midi"),
    (rb"\x1a\x45\xdf\xa3", "matroska"),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (rb"FLV\x01", "flv"),
    (rb"\0\0\x01\xba", "mpeg"),
    (rb"\x47.{187}\x47.{187}\x47", "mpegts"),
    (rb"....ftyp(avif|avis)", "avif"),
    (rb"....ftyp(heic|heix|hevc|mif1|msf1)", "heif"),
    (rb"....(ftyp|moov|mdat|wide|free|skip)", "mp4"),
    (rb"\x0b\x77", "ac3"),
    (rb"\xff[\xe2\xe3\xf2-\xf5\xfa-\xfd]", "mp3"),  # eleven bits of sync, a version, layer II or III
    (rb"\xff[\xf0\xf1\xf8\xf9]", "aac"),  # twelve bits of sync, a version, layer 0
    (rb"%PDF-", "pdf"),
    (rb"PK\x03\x04", "zip"),
    (rb"\x1f\x8b", "gzip"),
    (rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg", "svg"),
)
HEAD_BYTES = 1_024
_SEARCHED_BYTES = 2**16
_FRAMES_IN_A_ROW = 4
# kbit/s by (MPEG-1?, layer), ISO 11172-3 and 13818-3; hertz by version bits.
_BIT_RATES = {
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def kind_of(head: bytes) -> str | None:
    """The key of `KINDS` that the first `HEAD_BYTES` bytes announce, or None."""
    return next((kind for magic, kind in _MAGIC if re.match(magic, head, re.DOTALL)), None)


def find_kind(file: BinaryIO) -> tuple[str | None, int]:
    """The kind of an open file, and where its content begins: after ID3 tags, and after garbage before MP3 frames."""
    start = 0
    while (head := _at(file, start, HEAD_BYTES))[:3] == b"ID3" and len(head) >= 10:
        # The length is four bytes of seven bits; a flag says that a footer of ten bytes follows.
        length = sum((byte & 0x7F) << 7 * (3 - place) for place, byte in enumerate(head[6:10]))
        start += 10 + length + (10 if head[5] & 0x10 else 0)
    kind = kind_of(head)
    if kind not in (None, "mp3", "aac", "ac3") or (kind is None and not start and _is_text(head)):
        return kind, start
    # A sync word is only two bytes, and broadcasts begin in the middle of a frame: look for several in a row.
    searched = _at(file, start, _SEARCHED_BYTES)
    for match in re.finditer(rb"\xff[\xf2-\xf5\xfa-\xfd\xe2\xe3]", searched):
        if _are_frames(searched, match.start()):
            return "mp3", start + match.start()
    return "mp3" if start and kind is None and head else kind, start


def _at(file: BinaryIO, position: int, length: int) -> bytes:
    file.seek(position)
    return file.read(length)


def _is_text(head: bytes) -> bool:
    return b"\0" not in head and b"\xff" not in head


def _are_frames(content: bytes, position: int) -> bool:
    for _ in range(_FRAMES_IN_A_ROW):
        length = _frame_length(content[position : position + 4])
        if length is None:
            return False
        position += length
    return True


def _frame_length(header: bytes) -> int | None:
    """Bytes of the MPEG sound frame of layer II or III that begins so, or None."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bit_rate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer not in (2, 3) or bit_rate in (0, 15) or rate == 3:
        return None
    samples = 576 if layer == 3 and version != 3 else 1152
    return samples // 8 * _BIT_RATES[version == 3, layer][bit_rate - 1] * 1_000 // _RATES[version][rate] + padding
