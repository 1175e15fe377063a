"""Whole files that a hasty check would call truncated, and kinds told from their first bytes."""

import io

import pytest

from opencodi.errors import DamagedFile
from opencodi.media import read_audio, read_image, read_video, write_audio, write_image, write_video
from opencodi.media.containers import missing_end
from opencodi.media.kinds import kind_of

from .samples import clip, encode, picture, tone


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"RIFF\x0a\x0a\x0a\x0aWEBPVP8 ", "webp"),
        (b"RIFF\x0a\x0a\x0a\x0aWAVEfmt ", "wav"),
        (b"RIFF\x0a\x0a\x0a\x0aAVI LIST", "avi"),
        (b"\x00\x00\x00\x1cftypisom\x00\x00\x02\x00", "mp4"),
        (b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00", "avif"),
        (b"\x00\x00\x00\x1cftypheic\x00\x00\x00\x00", "heif"),
        (b"\xff\xfb\x90\x00", "mp3"),
        (b"\xff\xf1\x50\x80", "aac"),
        (b"MAC users, read this", None),
        (b"\xff\xfea\x00", None),
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"GIF88a", None),
        (b"", None),
    ],
    ids=["webp", "wav", "avi", "mp4", "avif", "heic", "mp3", "adts", "a text", "utf-16", "jpeg", "no gif", "nothing"],
)
def test_kinds_by_their_first_bytes(head, kind):
    assert kind_of(head) == kind


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.gif", "a.jpg"])
def test_bytes_after_the_end_of_a_picture_do_no_harm(tmp_path, name):
    write_image(picture(), tmp_path / name)
    with (tmp_path / name).open("ab") as file:
        file.write(b"appended by a camera")
    assert read_image(tmp_path / name).size == picture().size


def test_a_live_recording_of_unknown_length_is_whole(tmp_path):
    """Browsers record WebM without ever knowing its length."""
    path = encode(tmp_path / "a.webm", clip(8), tone(1.0, 48_000).samples[:, None])
    content = bytearray(path.read_bytes())
    segment = content.find(b"\x18\x53\x80\x67") + 4
    assert content[segment] == 0x01
    content[segment : segment + 8] = b"\x01" + b"\xff" * 7
    path.write_bytes(content)
    assert len(read_video(path).frames) == 8


def test_a_last_box_up_to_the_end_of_the_file_is_whole(tmp_path):
    path = encode(tmp_path / "a.mp4", clip(8))  # not faststart: mdat, then moov
    content = bytearray(path.read_bytes())
    content += b"\x00\x00\x00\x00free" + bytes(100)
    path.write_bytes(content)
    assert len(read_video(path).frames) == 8


def test_an_mp3_without_a_length_is_read_as_far_as_it_goes(tmp_path):
    """Without the encoder's header nothing tells that the end is missing; players do not complain either."""
    path = encode(tmp_path / "a.mp3", samples=tone(1.0, 48_000).samples[:, None])
    content = path.read_bytes().replace(b"Xing", b"\0\0\0\0").replace(b"Info", b"\0\0\0\0")
    path.write_bytes(content)
    assert read_audio(path).seconds == pytest.approx(1.0, abs=0.1)


def test_a_wav_with_notes_around_its_samples_is_whole(tmp_path):
    write_audio(tone(), tmp_path / "a.wav")
    content = (tmp_path / "a.wav").read_bytes()
    note = b"LIST\x05\x00\x00\x00INFOx\x00"  # of odd length, padded
    content = content[:36] + note + content[36:] + note
    content = content[:4] + (len(content) - 8).to_bytes(4, "little") + content[8:]
    (tmp_path / "a.wav").write_bytes(content)
    assert len(read_audio(tmp_path / "a.wav").samples) == 16_000


@pytest.mark.parametrize("kind", ["png", "gif", "webp", "aiff", "ogg", "mp3", "mp4", "matroska"])
@pytest.mark.parametrize(
    ("content", "forgiving"),
    [
        (b"", set()),
        (b"\0" * 11, {"mp3"}),
        (b"\0" * 100, {"mp3", "matroska"}),
        (b"\xff" * 100, {"mp3"}),
    ],
    ids=["empty", "11", "zeros", "ones"],
)
def test_nonsense_ends_every_check_and_is_whole_only_where_its_lengths_allow_it(kind, content, forgiving):
    assert (missing_end(kind, io.BytesIO(content), len(content)) is None) == (kind in forgiving)


def test_every_byte_that_a_clip_needs_is_missed(tmp_path):
    write_video(clip(8, audio=tone(1.0)), tmp_path / "a.mp4")
    content = (tmp_path / "a.mp4").read_bytes()
    for lost in (1, 2, 8, 100):
        (tmp_path / "a.mp4").write_bytes(content[:-lost])
        with pytest.raises(DamagedFile, match="truncated"):
            read_video(tmp_path / "a.mp4")
