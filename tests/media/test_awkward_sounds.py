"""Sounds as the world holds them: odd headers, rare kinds, files that were joined, piped and recorded until the end."""

import io
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from opencodi.errors import DamagedFile, EmptyFile, WrongKind
from opencodi.media import read_audio, write_audio

from .samples import encode, snr, tone

CASES = Path(__file__).parent / "cases"
ID3 = b"ID3\4\0\0\0\0\0\x0a" + bytes(10)


def written(kind: str, rate: int = 16_000, seconds: float = 1.0, **options: str) -> bytes:
    """The bytes of a tone in a kind that libsndfile writes."""
    file = io.BytesIO()
    soundfile.write(file, tone(seconds, rate).samples, rate, format=kind, **options)
    return file.getvalue()


def read(tmp_path, content: bytes, name: str = "a.wav"):
    (tmp_path / name).write_bytes(content)
    return read_audio(tmp_path / name)


@pytest.mark.parametrize(("name", "seconds"), [("gsm610.wav", 1.0), ("speex.ogg", 1.5), ("id3-before.flac", 1.5)])
def test_files_that_once_failed_are_read(name, seconds):
    audio = read_audio(CASES / name)
    assert audio.seconds == pytest.approx(seconds, abs=0.001)
    assert np.abs(audio.samples).max() > 0.1


@pytest.mark.parametrize("length", [0, 0x7FFFF000, 0x7FFFF024, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_wav_of_unknown_length_is_read_to_its_end(tmp_path, length):
    """From a pipe, or from a recorder that was killed."""
    content = written("WAV")
    for riff in (content[4:8], struct.pack("<I", length)):
        audio = read(tmp_path, content[:4] + riff + content[8:40] + struct.pack("<I", length) + content[44:])
        assert len(audio.samples) == 16_000


def test_a_wav_whose_length_counts_its_header_is_whole(tmp_path):
    content = written("WAV")
    assert len(read(tmp_path, content[:40] + struct.pack("<I", len(content)) + content[44:]).samples) == 16_000


def test_a_wav_with_wrong_riff_length_is_whole_and_half_a_wav_is_not(tmp_path):
    content = written("WAV")
    assert len(read(tmp_path, content[:4] + struct.pack("<I", 10**6) + content[8:]).samples) == 16_000
    assert len(read(tmp_path, content + b"appended").samples) == 16_000
    with pytest.raises(DamagedFile, match=r"truncated .15,9\d\d bytes of its samples are missing"):
        read(tmp_path, content[: len(content) // 2])


def test_a_wav_of_no_samples_but_notes_is_empty(tmp_path):
    with pytest.raises(EmptyFile):
        read(tmp_path, written("WAV")[:40] + bytes(4) + b"LIST\4\0\0\0INFO")


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
def test_wav_in_all_its_forms(tmp_path, kind, subtype):
    audio = read(tmp_path, written(kind, subtype=subtype))
    assert len(audio.samples) == 16_000
    assert snr(audio.samples, tone().samples) > 30


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        *(("AIFF", "PCM_16"), ("AIFF", "PCM_24"), ("AIFF", "FLOAT"), ("AIFF", "ULAW"), ("AIFF", "PCM_U8")),
        *(("CAF", "PCM_16"), ("CAF", "ALAC_16"), ("CAF", "DOUBLE"), ("W64", "PCM_16"), ("W64", "ALAW")),
        *(("AU", "PCM_16"), ("AU", "ULAW"), ("FLAC", "PCM_24"), ("FLAC", "PCM_S8"), ("NIST", "PCM_16")),
        *(("IRCAM", "FLOAT"), ("SVX", "PCM_16"), ("AVR", "PCM_16"), ("PAF", "PCM_16"), ("PVF", "PCM_16")),
        *(("SDS", "PCM_16"), ("MAT5", "FLOAT"), ("VOC", "ALAW"), ("WAV", "GSM610"), ("AIFF", "GSM610")),
    ],
)
def test_rare_kinds_are_simply_read(tmp_path, kind, subtype):
    audio = read(tmp_path, written(kind, subtype=subtype), "a.sound")
    assert abs(len(audio.samples) - 16_000) <= 1
    assert snr(audio.samples, tone().samples) > 25


@pytest.mark.parametrize(
    ("kind", "codec"),
    [
        *(("adts", "aac"), ("mp2", "mp2"), ("wv", "wavpack"), ("tta", "tta"), ("matroska", "libopus")),
        *(("mpegts", "aac"), ("avi", "libmp3lame"), ("flv", "aac"), ("mov", "pcm_s16be"), ("ogg", "flac")),
        *(("ipod", "alac"), ("wav", "adpcm_ima_wav"), ("mpeg", "mp2"), ("ac3", "ac3")),
    ],
)
def test_kinds_that_ffmpeg_writes(tmp_path, kind, codec):
    rate = 48_000 if codec in ("libopus", "ac3") else 16_000
    with av.open(tmp_path / "a.sound", "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone().samples[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16_000, 0, Fraction(1, 16_000)
        stream.codec_context.open()
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate, frame_size=size)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    audio = read_audio(tmp_path / "a.sound")
    assert audio.seconds == pytest.approx(1.0, abs=0.1)  # streams do not say how much of their first block is filling
    spectrum = np.abs(np.fft.rfft(audio.samples[4_000:12_000]))
    assert np.argmax(spectrum) * 2 == 440


@pytest.mark.parametrize("before", [1, 100, 5_000, 60_000])
def test_an_mp3_after_garbage(tmp_path, before):
    """A recording of a broadcast begins in the middle of a frame."""
    encode(tmp_path / "a.mp3", samples=tone(1.0, 44_100).samples[:, None], rate=44_100)
    garbage = np.random.default_rng(before).bytes(before)
    audio = read(tmp_path, garbage + (tmp_path / "a.mp3").read_bytes(), "b.mp3")
    assert audio.seconds == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("name", ["a.mp3", "a.flac", "a.wav", "a.ogg"])
def test_tags_before_and_after(tmp_path, name):
    if name == "a.mp3":
        encode(tmp_path / name, samples=tone(1.0, 44_100).samples[:, None], rate=44_100)
    else:
        write_audio(tone(), tmp_path / name)
    content = (tmp_path / name).read_bytes()
    assert read(tmp_path, ID3 + ID3 + content + b"TAG" + bytes(125), name).seconds == pytest.approx(1.0, abs=0.001)


def test_an_mp3_with_garbage_in_the_middle_goes_on(tmp_path):
    encode(tmp_path / "a.mp3", samples=tone(2.0, 44_100).samples[:, None], rate=44_100)
    content = (tmp_path / "a.mp3").read_bytes()
    garbage = np.random.default_rng(0).bytes(2_000)
    assert read(tmp_path, content[:9_000] + garbage + content[9_000:], "a.mp3").seconds == pytest.approx(2.0, abs=0.1)


def test_a_flac_from_a_pipe_does_not_know_its_length(tmp_path):
    content = bytearray(written("FLAC"))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    assert len(read(tmp_path, bytes(content), "a.flac").samples) == 16_000


def test_chained_ogg_files_are_read_to_their_end(tmp_path):
    """What a radio station sends: one file after the other, of whatever rate and codec."""
    encode(tmp_path / "a.opus", samples=tone(1.0, 48_000).samples[:, None])
    links = [written("OGG"), written("OGG", rate=8_000, seconds=0.5), (tmp_path / "a.opus").read_bytes()]
    links.append((CASES / "speex.ogg").read_bytes())
    assert read(tmp_path, b"".join(links), "a.ogg").seconds == pytest.approx(4.0, abs=0.01)


def test_an_ogg_that_was_cut_between_pages_is_read_as_far_as_it_goes(tmp_path):
    content = written("OGG", seconds=20.0)
    audio = read(tmp_path, content[: content.rfind(b"OggS")], "a.ogg")
    assert 15 < audio.seconds < 20
    with pytest.raises(DamagedFile, match="last page lacks"):
        read(tmp_path, content[:-100], "a.ogg")


@pytest.mark.parametrize("kind", ["AIFF", "AU", "CAF", "W64", "FLAC", "NIST"])
def test_half_a_sound_of_a_rare_kind_is_damaged(tmp_path, kind):
    content = written(kind)
    with pytest.raises(DamagedFile):
        read(tmp_path, content[: len(content) // 2], "a.sound")


def test_what_is_no_sound_is_named(tmp_path):
    with pytest.raises(WrongKind, match=r"MIDI score, which holds notes and no sound, give a sound \(WAV"):
        read(tmp_path, b"MThd\0\0\0\6" + bytes(50), "a.mid")
    with pytest.raises(WrongKind):
        read(tmp_path, b"MAC users like this text\n" * 10, "a.wav")
    with pytest.raises(DamagedFile, match="Decoder not found"):
        content = written("WAV")
        read(tmp_path, content[:20] + b"\x99\x99" + content[22:])
