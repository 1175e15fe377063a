"""Clips as the world holds them: shapes of pixels, turns, time stamps, joined and cut files, rare containers."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from opencodi.errors import DamagedFile, NotFinite, WrongKind
from opencodi.media import Audio, Limits, Video, read_audio, read_video, write_audio, write_video

from .samples import click, clip, encode, grey_levels, onset, picture, psnr, tone

CASES = Path(__file__).parent / "cases"


def test_pixels_that_are_not_square_are_shown_as_they_are_seen():
    video = read_video(CASES / "non-square-pixels.mp4")
    assert video.frames.shape == (50, 120, 640, 3)


def with_shape_of_pixels(path, wide, high):
    """The clip with another shape of pixels in its H.264 headers."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(wide, high)
        for rgb in clip(4).frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("wide", "high", "shape"), [(1, 2, (128, 64)), (2, 1, (64, 128)), (200, 1, (64, 64))])
def test_tall_wide_and_absurd_pixels(tmp_path, wide, high, shape):
    assert read_video(with_shape_of_pixels(tmp_path / "a.mp4", wide, high)).frames.shape[1:3] == shape


TURNS = {
    "none": ((1, 0, 0, 1), lambda frames: frames),
    "mirrored": ((-1, 0, 0, 1), lambda frames: frames[:, :, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda frames: frames[:, ::-1]),
    "half a turn": ((-1, 0, 0, -1), lambda frames: frames[:, ::-1, ::-1]),
    "transposed": ((0, 1, 1, 0), lambda frames: frames.swapaxes(1, 2)),
    "clockwise": ((0, 1, -1, 0), lambda frames: np.rot90(frames, -1, axes=(1, 2))),
    "anticlockwise": ((0, -1, 1, 0), lambda frames: np.rot90(frames, 1, axes=(1, 2))),
}


@pytest.mark.parametrize("turn", TURNS)
def test_what_the_track_header_turns_and_mirrors(tmp_path, turn):
    """A point (x, y) is shown at (a x + c y, b x + d y) (ISO 14496-12, tkhd)."""
    (a, b, c, d), shown = TURNS[turn]
    write_video(clip(4, size=(64, 48)), tmp_path / "a.mp4")
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    matrix = content.find(b"tkhd") + 44
    content[matrix : matrix + 20] = struct.pack(">5i", *(65_536 * entry for entry in (a, b, 0, c, d)))
    (tmp_path / "a.mp4").write_bytes(content)
    wanted = shown(clip(4, size=(64, 48)).frames)
    video = read_video(tmp_path / "a.mp4")
    assert video.frames.shape == wanted.shape
    assert psnr(video.frames, wanted) > 30


def test_bytes_after_a_clip_do_no_harm(tmp_path):
    assert read_video(CASES / "mp4-trailing-bytes.mp4").seconds == pytest.approx(2.0)
    write_video(clip(8, audio=tone(1.0)), tmp_path / "a.mp4")
    content = (tmp_path / "a.mp4").read_bytes()
    for after in (bytes(3), bytes(1_000), b"junkjunk" * 100, np.random.default_rng(0).bytes(777)):
        (tmp_path / "a.mp4").write_bytes(content + after)
        assert len(read_video(tmp_path / "a.mp4").frames) == 8


def test_a_wrong_length_is_no_harm_where_all_media_are_there(tmp_path):
    write_video(clip(8), tmp_path / "a.mp4")
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    place = content.find(b"mdat")
    content[place - 4 : place] = struct.pack(">I", 10**6)
    (tmp_path / "a.mp4").write_bytes(content)
    assert len(read_video(tmp_path / "a.mp4").frames) == 8

    content = bytearray(encode(tmp_path / "a.webm", clip(8)).read_bytes())
    place = content.find(b"\x18\x53\x80\x67") + 4
    content[place : place + 8] = b"\x01" + (10**6).to_bytes(7, "big")
    (tmp_path / "a.webm").write_bytes(content)
    assert len(read_video(tmp_path / "a.webm").frames) == 8


@pytest.mark.parametrize("fragmented", [False, True])
def test_missing_media_are_counted(tmp_path, fragmented):
    options = {"movflags": "frag_keyframe+empty_moov"} if fragmented else {"movflags": "faststart"}
    with av.open(tmp_path / "a.mp4", "w", options=options) as container:
        stream = container.add_stream("libx264", rate=8, options={"g": "4"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for rgb in clip(16).frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    assert len(read_video(tmp_path / "a.mp4").frames) == 16
    content = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(content[: len(content) * 7 // 10])
    with pytest.raises(DamagedFile, match=r"is truncated"):
        read_video(tmp_path / "a.mp4")


@pytest.mark.parametrize(
    ("kind", "codec"),
    [("avi", "mpeg4"), ("flv", "flv1"), ("mpegts", "mpeg2video"), ("mpeg", "mpeg2video"), ("asf", "wmv2")],
)
def test_other_containers(tmp_path, kind, codec):
    video = clip(25, 25.0)
    with av.open(tmp_path / "a.clip", "w", format=kind) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt, stream.bit_rate = "yuv420p", 2_000_000
        for rgb in video.frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    found = read_video(tmp_path / "a.clip")
    assert found.frames.shape == video.frames.shape and found.fps == pytest.approx(25.0)
    assert psnr(found.frames, video.frames) > 25


def test_a_clip_of_one_frame(tmp_path):
    video = read_video(encode(tmp_path / "a.mp4", clip(1)))
    assert video.frames.shape == (1, 64, 64, 3) and video.fps == 8.0


def test_a_clip_without_pictures_is_a_sound(tmp_path):
    path = encode(tmp_path / "a.mp4", samples=tone(1.0, 48_000).samples[:, None])
    with pytest.raises(WrongKind, match="has no picture track, give a clip"):
        read_video(path)
    assert read_audio(path).seconds == pytest.approx(1.0, abs=0.03)


def test_frames_at_uneven_times_keep_them(tmp_path):
    """As telephones record: the rate varies with the light."""
    with av.open(tmp_path / "a.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1_000)
        for grey, time in zip(grey_levels([0, 60, 120, 180]), (0, 100, 200, 700)):
            frame = av.VideoFrame.from_image(grey)
            frame.pts, frame.time_base = time, Fraction(1, 1_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    video = read_video(tmp_path / "a.mp4")
    levels = [round(float(frame.mean()) / 60) for frame in video.frames]
    assert video.fps == pytest.approx(10.0)
    assert levels[:8] == [0, 1, 2, 2, 2, 2, 2, 3]


def test_an_edit_list_cuts_the_beginning(tmp_path):
    """As an editor's "save without encoding again" does: all is there, the first half a second is not shown."""
    write_video(clip(16, audio=click(2.0, at=1.25)), tmp_path / "a.mp4")
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    for _ in range(2):
        place = content.find(b"elst") + 4
        count, duration, start = struct.unpack(">IIi", content[place + 4 : place + 16])
        scale = struct.unpack(">I", content[(at := content.find(b"mdhd", place)) + 16 : at + 20])[0]
        assert count == 1 and start >= 0
        content[place + 8 : place + 16] = struct.pack(">Ii", duration - 500, start + scale // 2)
        content[place - 4 : place] = b"elsT"
    (tmp_path / "a.mp4").write_bytes(content.replace(b"elsT", b"elst"))
    video = read_video(tmp_path / "a.mp4")
    assert len(video.frames) == 12
    assert onset(video.audio) == pytest.approx(0.75, abs=0.02)


def test_a_long_clip_is_thinned_from_beginning_to_end(tmp_path):
    frames = np.stack([np.asarray(grey) for grey in grey_levels(list(range(0, 240, 3)))])
    write_video(Video(frames, 20.0, tone(4.0)), tmp_path / "a.mp4")
    write_video(Video(frames, 20.0), tmp_path / "a.gif")
    encode(tmp_path / "a.webm", Video(frames, 20.0))
    for name in ("a.mp4", "a.gif", "a.webm"):
        video = read_video(tmp_path / name, Limits(max_kept_bytes=20 * frames[0].nbytes))
        assert len(video.frames) == 20 and video.fps == pytest.approx(5.0)
        assert np.abs(video.frames.mean((1, 2, 3)) - np.arange(0, 240, 12)).max() < 3
    assert read_video(tmp_path / "a.mp4", Limits(max_kept_bytes=10**5)).audio.seconds == 4.0


@pytest.mark.parametrize("disposal", [0, 1, 2, 3])
def test_every_way_of_a_gif_to_clear_its_frames(tmp_path, disposal):
    frames = [Image.new("RGBA", (8, 8), (0, 0, 0, 0)) for _ in range(3)]
    for number, frame in enumerate(frames):
        frame.paste((255, 0, 0, 255), (2 * number, 0, 2 * number + 2, 8))
    frames[0].save(
        tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=[100, 200, 100], disposal=disposal
    )
    video = read_video(tmp_path / "a.gif")
    assert len(video.frames) == 4 and video.fps == pytest.approx(10.0)
    stays = disposal in (0, 1)
    for number, frame in zip((0, 1, 1, 2), video.frames):
        red = [tuple(frame[4, x]) == (255, 0, 0) for x in (1, 3, 5)]
        assert red == [place <= number if stays else place == number for place in range(3)]
        assert tuple(frame[4, 7]) == (255, 255, 255)


def test_samples_that_became_infinite_are_not_written(tmp_path):
    sound = Audio(np.zeros(100, np.float32), 16_000)
    sound.samples[50] = np.nan  # an array stays writable after it has been checked
    with pytest.raises(NotFinite):
        write_audio(sound, tmp_path / "a.wav")
    assert list(tmp_path.iterdir()) == []


def test_a_picture_as_a_clip_is_named(tmp_path):
    picture().save(tmp_path / "a.jpg")
    with pytest.raises(WrongKind, match=r"is a JPEG picture, give a clip \(MP4"):
        read_video(tmp_path / "a.jpg")
