import os
import re
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from opencodi.errors import ArgumentError, OverLimit, WrongKind
from opencodi.media import (
    Audio,
    Limits,
    Video,
    fit_square_frames,
    read_audio,
    read_video,
    sample_frames,
    write_image,
    write_video,
)
from opencodi.media.video import even_rate

from .samples import click, clip, encode, grey_levels, onset, picture, psnr, snr, tone


def numbered(num_frames: int, fps: float, audio: Audio | None = None) -> Video:
    """A clip whose frame n is grey 10 n."""
    frames = np.stack([np.asarray(grey) for grey in grey_levels([10 * number for number in range(num_frames)])])
    return Video(frames, fps, audio)


def numbers(video: Video) -> list[int]:
    """Which frame of `numbered` each frame is, by its grey."""
    return [round(float(frame.mean()) / 10) for frame in video.frames]


# -- writing and reading back ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "at_least"), [("a.mp4", 35.0), ("a.mov", 35.0), ("a.gif", 30.0), ("a.webp", 33.0)])
def test_a_clip_comes_back_as_it_was_written(tmp_path, name, at_least):
    write_video(clip(), tmp_path / name)
    video = read_video(tmp_path / name)
    assert video.frames.shape == clip().frames.shape
    assert video.fps == pytest.approx(8.0, abs=0.01)
    assert video.audio is None
    assert psnr(video.frames, clip().frames) > at_least


@pytest.mark.parametrize("fps", [1, 8, 12.5, 24, 29.97, 30000 / 1001, 60])
def test_mp4_preserves_the_frame_rate(tmp_path, fps):
    write_video(numbered(12, fps), tmp_path / "a.mp4")
    video = read_video(tmp_path / "a.mp4")
    assert video.fps == pytest.approx(fps, rel=1e-4)
    assert numbers(video) == list(range(12))


def test_gif_keeps_the_length_though_it_counts_in_hundredths(tmp_path):
    write_video(numbered(24, 24.0), tmp_path / "a.gif")
    video = read_video(tmp_path / "a.gif")
    assert video.seconds == pytest.approx(1.0, abs=0.005)
    assert numbers(video) == list(range(24))


@pytest.mark.parametrize("name", ["a.gif", "a.webp"])
def test_stickers_loop_for_ever(tmp_path, name):
    write_video(numbered(4, 8.0), tmp_path / name)
    with Image.open(tmp_path / name) as image:
        assert image.info["loop"] == 0


def test_sound_is_muxed_in_and_comes_back_in_step(tmp_path):
    write_video(numbered(16, 8.0, click(2.0, at=1.25)), tmp_path / "a.mp4")
    video = read_video(tmp_path / "a.mp4")
    assert video.audio.sample_rate == 16_000
    assert len(video.audio.samples) == 32_000
    assert video.seconds == video.audio.seconds == 2.0
    assert onset(video.audio) == pytest.approx(1.25, abs=0.005)


def test_a_muxed_tone_keeps_its_quality(tmp_path):
    write_video(clip(audio=tone(2.0)), tmp_path / "a.mp4")
    assert snr(read_video(tmp_path / "a.mp4").audio.samples, tone(2.0).samples) > 25


@pytest.mark.parametrize("num_samples", [1, 100, 1_023, 1_025])
def test_a_sound_shorter_than_an_aac_block_is_written(tmp_path, num_samples):
    sound = Audio(tone(1.0).samples[:num_samples], 16_000)
    write_video(numbered(4, 8.0, sound), tmp_path / "a.mp4")
    video = read_video(tmp_path / "a.mp4")
    assert numbers(video) == [0, 1, 2, 3]
    assert abs(len(video.audio.samples) - num_samples) <= 16  # the container counts in milliseconds


def test_a_sound_longer_than_the_frames_is_kept_whole(tmp_path):
    write_video(numbered(4, 8.0, tone(2.0)), tmp_path / "a.mp4")
    video = read_video(tmp_path / "a.mp4")
    assert (video.seconds, video.audio.seconds) == (0.5, 2.0)


def test_a_rate_that_aac_does_not_know_is_resampled(tmp_path):
    write_video(numbered(8, 8.0, tone(1.0, sample_rate=12_345)), tmp_path / "a.mp4")
    assert snr(read_video(tmp_path / "a.mp4").audio.samples, tone(1.0).samples) > 25


@pytest.mark.parametrize("size", [(63, 49), (1, 1), (2, 3)])
def test_odd_sizes_are_padded_to_even_ones(tmp_path, size):
    write_video(clip(4, size=size), tmp_path / "a.mp4")
    width, height = size
    video = read_video(tmp_path / "a.mp4")
    assert video.frames.shape == (4, height + height % 2, width + width % 2, 3)
    if width > 2:
        assert psnr(video.frames[:, :height, :width], clip(4, size=size).frames) > 33


def test_mp4_plays_everywhere(tmp_path):
    write_video(clip(audio=tone(2.0)), tmp_path / "a.mp4")
    with av.open(tmp_path / "a.mp4") as container:
        picture_codec, sound_codec = (stream.codec_context for stream in container.streams)
        assert (picture_codec.name, picture_codec.pix_fmt, sound_codec.name) == ("h264", "yuv420p", "aac")
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.find(b"moov") < content.find(b"mdat"), "a browser could not start before it has the whole file"
    assert len(content) < 60_000


def test_saturated_colours_survive_the_way_through_yuv(tmp_path):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 255, 255), (0, 0, 0)]
    frames = np.stack([np.full((32, 32, 3), colour, np.uint8) for colour in colours])
    write_video(Video(frames, 8.0), tmp_path / "a.mp4")
    assert np.abs(read_video(tmp_path / "a.mp4").frames.astype(int) - frames).max() <= 4


def test_only_clips_are_written(tmp_path):
    with pytest.raises(ArgumentError, match="ndarray"):
        write_video(clip().frames, tmp_path / "a.mp4")
    assert os.listdir(tmp_path) == []


# -- clips of other programs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.webm", "a.mov"])
def test_other_containers_are_read_with_their_stereo_sound(tmp_path, name):
    sound = np.repeat(click(1.0, at=0.5, sample_rate=48_000).samples[:, None], 2, axis=1)
    encode(tmp_path / name, clip(25, 25.0), sound)
    video = read_video(tmp_path / name)
    assert video.frames.shape == (25, 64, 64, 3)
    assert video.fps == pytest.approx(25.0)
    assert psnr(video.frames, clip(25, 25.0).frames) > 28
    assert onset(video.audio) == pytest.approx(0.5, abs=0.015)


@pytest.mark.parametrize(("turn", "cos", "sin"), [(90, 0, 1), (180, -1, 0), (-90, 0, -1)])
def test_a_clip_from_a_telephone_stands_upright(tmp_path, turn, cos, sin):
    """Telephones store what the sensor saw and a matrix in the track header that turns it (ISO 14496-12, tkhd)."""
    stored = np.rot90(clip(4, size=(64, 48)).frames, -turn // 90, axes=(1, 2))
    write_video(Video(np.ascontiguousarray(stored), 8.0), tmp_path / "a.mp4")
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    matrix = content.find(b"tkhd") + 44
    assert content[matrix : matrix + 4] == b"\0\1\0\0"
    content[matrix : matrix + 20] = struct.pack(">5i", *(65_536 * entry for entry in (cos, -sin, 0, sin, cos)))
    (tmp_path / "a.mp4").write_bytes(content)
    video = read_video(tmp_path / "a.mp4")
    assert video.frames.shape == (4, 48, 64, 3)
    assert psnr(video.frames, clip(4, size=(64, 48)).frames) > 30


def test_sound_that_begins_after_the_first_frame_stays_there(tmp_path):
    with av.open(tmp_path / "a.mp4", "w") as container:
        pictures = container.add_stream("libx264", rate=8)
        pictures.width = pictures.height = 32
        pictures.pix_fmt = "yuv420p"
        sound = container.add_stream("aac", rate=16_000, layout="mono")
        for number, grey in enumerate(grey_levels(list(range(0, 240, 15)))):
            frame = av.VideoFrame.from_image(grey)
            frame.pts, frame.time_base = number, Fraction(1, 8)
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        frame = av.AudioFrame.from_ndarray(click(1.0, at=0.25).samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = 16_000, Fraction(1, 16_000), 8_000  # half a second later
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    assert onset(read_video(tmp_path / "a.mp4").audio) == pytest.approx(0.75, abs=0.005)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.apng"])
def test_frames_that_last_unevenly_keep_their_timing(tmp_path, name):
    first, *others = grey_levels([0, 10, 20, 30])
    durations = [100, 100, 500, 100]
    kind = {"a.apng": "PNG"}.get(name)
    first.save(tmp_path / name, format=kind, save_all=True, append_images=others, duration=durations, lossless=True)
    video = read_video(tmp_path / name)
    assert video.fps == pytest.approx(10.0)
    assert numbers(video) == [0, 1, 2, 2, 2, 2, 2, 3]


@pytest.mark.parametrize(
    ("name", "disposal", "edge"),  # GIF knows no half transparency: its writer makes the edge opaque
    [("a.gif", 2, (0, 0, 255)), ("a.webp", 0, (204, 204, 255)), ("a.png", 1, (204, 204, 255))],
)
def test_moving_stickers_are_laid_over_white(tmp_path, name, disposal, edge):
    frames = [Image.new("RGBA", (16, 16), (0, 0, 0, 0)) for _ in range(3)]
    for number, frame in enumerate(frames):
        frame.paste((255, 0, 0, 255), (4 * number, 0, 4 * number + 4, 16))
        frame.paste((0, 0, 255, 51), (0, 0, 16, 2))  # a soft edge
    frames[0].save(
        tmp_path / name, save_all=True, append_images=frames[1:], duration=100, disposal=disposal, lossless=True
    )
    video = read_video(tmp_path / name)
    for number, frame in enumerate(video.frames):
        assert tuple(frame[8, 4 * number + 2]) == (255, 0, 0)
        assert tuple(frame[8, 14]) == (255, 255, 255)
        assert tuple(frame[0, 14]) == edge
        assert tuple(frame[8, 2]) == ((255, 0, 0) if number == 0 else (255, 255, 255))


def test_frames_without_a_duration_are_shown_as_browsers_do(tmp_path):
    first, *others = grey_levels([0, 100, 200])
    first.save(tmp_path / "a.gif", save_all=True, append_images=others, duration=0)
    assert read_video(tmp_path / "a.gif").fps == pytest.approx(10.0)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.gif"])
def test_a_still_picture_is_no_clip(tmp_path, name):
    write_image(picture(), tmp_path / name)
    with pytest.raises(WrongKind, match="give it as an image"):
        read_video(tmp_path / name)


def test_a_sound_is_no_clip(tmp_path):
    encode(tmp_path / "a.m4a", samples=tone(0.5, 48_000).samples[:, None])
    with pytest.raises(WrongKind, match="no picture track"):
        read_video(tmp_path / "a.m4a")


def test_large_frames_are_scaled_down_while_decoding(tmp_path):
    write_video(clip(3, size=(320, 160)), tmp_path / "a.mp4")
    limits = Limits(max_frame_side=40)
    assert read_video(tmp_path / "a.mp4", limits).frames.shape == (3, 40, 80, 3)
    write_video(clip(3, size=(320, 160)), tmp_path / "a.webp")
    assert read_video(tmp_path / "a.webp", limits).frames.shape == (3, 40, 80, 3)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (Limits(max_frames=15), "has .*frames.* limit .*15"),
        (Limits(max_seconds=1.5), "lasts .* the limit .*1.5 s"),
        (Limits(max_pixels=4_095), "64 x 64 = 4,096 pixels, the limit is 4,095"),
        (Limits(max_decoded_bytes=100_000), "the limit of 100,000 bytes when decoded"),
        (Limits(max_bytes=1_000), "the limit is 1,000"),
    ],
    ids=["frames", "seconds", "pixels", "decoded bytes", "bytes"],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.gif"])
def test_a_clip_over_a_limit_is_refused(tmp_path, name, limits, says):
    write_video(clip(), tmp_path / name)
    with pytest.raises(OverLimit, match=rf"{re.escape(name)}: .*{says}"):
        read_video(tmp_path / name, limits)


# -- timing ----------------------------------------------------------------------------------------------------------


def test_times_rounded_by_the_container_count_as_even():
    times = np.round(np.arange(30) / 29.97, 3)
    indices, fps = even_rate(times, 30 / 29.97, declared=29.97)
    assert list(indices) == list(range(30))
    assert fps == 29.97


def test_a_declared_rate_that_contradicts_the_times_is_not_believed():
    assert even_rate(np.arange(8) / 8, 1.0, declared=1000.0)[1] == pytest.approx(8.0)


def test_a_long_pause_in_a_fast_recording_repeats_the_frame_shown():
    times = np.array([0.0, 0.1, 0.2, 0.3, 1.3, 1.4])
    indices, fps = even_rate(times, 1.5)
    assert fps == pytest.approx(10.0)
    assert list(indices) == [0, 1, 2, *[3] * 10, 4, 5]


@pytest.mark.parametrize("times", [[0.0, 0.0, 0.0], [0.0, 0.2, 0.1]], ids=["equal", "backwards"])
def test_unusable_times_fall_back_to_the_declared_rate(times):
    indices, fps = even_rate(np.array(times), 0.3, declared=12.0)
    assert (list(indices), fps) == ([0, 1, 2], 12.0)


# -- other numbers of frames, rates and sizes ------------------------------------------------------------------------


def test_frames_are_spread_over_the_whole_clip():
    video = sample_frames(numbered(24, 24.0, tone(1.0)), 8)
    assert numbers(video) == [0, 3, 6, 9, 12, 15, 18, 21]
    assert video.fps == 8.0
    assert video.audio.seconds == video.seconds == 1.0


def test_more_frames_than_there_are_repeat_some():
    assert numbers(sample_frames(numbered(3, 3.0), 6)) == [0, 0, 1, 1, 2, 2]


def test_a_rate_takes_what_is_shown_at_each_moment_and_cuts_the_sound():
    video = sample_frames(numbered(24, 24.0, tone(1.0)), 4, fps=8.0)
    assert numbers(video) == [0, 3, 6, 9]
    assert video.audio.seconds == video.seconds == 0.5


def test_a_rate_that_does_not_divide_neither_skips_nor_drifts():
    video = sample_frames(numbered(20, 29.97), 5, fps=8.0)
    assert numbers(video) == [0, 3, 7, 11, 14]  # 3.75 frames apart, each shown until the next begins


def test_a_short_clip_starts_again_with_its_sound():
    video = sample_frames(numbered(4, 8.0, click(0.5, at=0.25)), 8, fps=8.0)
    assert numbers(video) == [0, 1, 2, 3, 0, 1, 2, 3]
    assert len(video.audio.samples) == 16_000
    assert np.array_equal(video.audio.samples[:8_000], video.audio.samples[8_000:])
    assert onset(video.audio) == pytest.approx(0.25, abs=0.001)


@pytest.mark.parametrize(("num_frames", "fps"), [(0, 8.0), (4, 0.0), (4, -1.0)])
def test_impossible_numbers_of_frames_are_refused(num_frames, fps):
    with pytest.raises(ArgumentError, match="sample_frames"):
        sample_frames(numbered(4, 8.0), num_frames, fps)


def test_square_frames_are_padded_with_white_like_images():
    video = fit_square_frames(Video(np.zeros((2, 16, 32, 3), np.uint8), 8.0, tone()), 8)
    assert video.frames.shape == (2, 8, 8, 3)
    assert (video.frames[:, 0] > 200).all() and (video.frames[:, 4] < 50).all()
    assert video.audio is not None


def test_the_sound_of_a_clip_and_of_its_file_are_one(tmp_path):
    write_video(numbered(8, 8.0, tone(1.0)), tmp_path / "a.mp4")
    assert np.array_equal(read_video(tmp_path / "a.mp4").audio.samples, read_audio(tmp_path / "a.mp4").samples)
