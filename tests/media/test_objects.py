import numpy as np
import pytest

from opencodi.errors import ArgumentError
from opencodi.media import Audio, Limits, Video


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(4),
        np.zeros(4, np.int16),
        np.zeros((4, 2), np.float32),
        np.zeros(0, np.float32),
        np.array([0, np.nan], np.float32),
        np.array([0, np.inf], np.float32),
        np.array([0, 1.01], np.float32),
        [0.0, 0.5],
    ],
    ids=["float64", "int16", "stereo", "empty", "nan", "infinite", "too loud", "list"],
)
def test_audio_refuses_samples_that_are_not_finite_mono_float32_within_one(samples):
    with pytest.raises(ArgumentError, match=r"^Audio\.samples: "):
        Audio(samples, 16_000)


@pytest.mark.parametrize("rate", [0, -1, 16_000.0, None])
def test_audio_refuses_a_rate_that_is_not_a_positive_whole_number(rate):
    with pytest.raises(ArgumentError, match="sample_rate"):
        Audio(np.zeros(4, np.float32), rate)


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 4, 4, 3)),
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((0, 4, 4, 3), np.uint8),
        np.zeros((2, 4, 4, 4), np.uint8),
    ],
    ids=["float", "one picture", "none", "RGBA"],
)
def test_video_refuses_frames_that_are_not_rgb_bytes(frames):
    with pytest.raises(ArgumentError, match=r"^Video\.frames: "):
        Video(frames, 8.0)


@pytest.mark.parametrize("fps", [0, -8.0, float("nan"), float("inf"), "8"])
def test_video_refuses_a_rate_that_is_not_positive(fps):
    with pytest.raises(ArgumentError, match="fps"):
        Video(np.zeros((2, 4, 4, 3), np.uint8), fps)


def test_video_refuses_a_sound_that_is_a_bare_array():
    with pytest.raises(ArgumentError, match="audio"):
        Video(np.zeros((2, 4, 4, 3), np.uint8), 8.0, audio=np.zeros(4, np.float32))


def test_seconds_count_samples_and_frames():
    audio = Audio(np.zeros(24_000, np.float32), 16_000)
    assert audio.seconds == 1.5
    assert Video(np.zeros((12, 4, 4, 3), np.uint8), 8.0, audio).seconds == 1.5


def test_limits_refuse_what_would_forbid_everything():
    with pytest.raises(ArgumentError, match="max_frames"):
        Limits(max_frames=0)
