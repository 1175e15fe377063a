"""Stills in motion, and sound where they hit."""

from pathlib import Path

import numpy as np
import pytest

from opencodi.collections.stickers.captions import PROCEDURAL_CLIPS, PROCEDURAL_SOUNDS, captions_of
from opencodi.collections.stickers.motion import FRAMES_PER_SECOND, MOTIONS, NUM_FRAMES, Beat, animate, draw_beat
from opencodi.collections.stickers.soundtrack import hit, soundtrack
from opencodi.data.shards import AUDIO_SAMPLES, SAMPLE_RATE, load_audio, load_concepts, load_images

DATA = Path(__file__).parents[2] / "data"
FRAME = 1 / FRAMES_PER_SECOND


@pytest.fixture(scope="module")
def still():
    images = load_images(DATA, ["images"])
    return images.media[next(i for i, r in enumerate(images.records) if (r["name"], r["style"]) == ("guitar", "noto"))]


@pytest.fixture(scope="module")
def sounds():
    return load_audio(DATA, ["sounds"])


def moved(still, motion, beat, seed=0):
    clip, impacts = animate(still, motion, np.random.default_rng(seed), beat)
    frames = np.round(impacts * FRAMES_PER_SECOND).astype(int)
    return clip[..., 3] > 127, frames, np.setdiff1d(np.arange(NUM_FRAMES), frames)


def lowest_row(opaque):
    return np.array([np.flatnonzero(frame.any(1)).max() for frame in opaque])


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_motion_follows_from_its_generator_and_moves(still, motion):
    (clip, impacts), (again, _), (other, _) = (animate(still, motion, np.random.default_rng(s)) for s in (1, 1, 2))
    assert clip.shape == (16, 64, 64, 4) and clip.dtype == np.uint8
    assert np.array_equal(clip, again) and not np.array_equal(clip, other)
    assert np.abs(np.diff(clip.astype(int), axis=0)).mean() > 1
    assert len(impacts) and np.all(np.diff(impacts) > 0) and impacts[0] >= 0 and impacts[-1] < 2
    # Nothing is cut off: each frame shows about as much of the picture as it should at its size.
    areas = (clip[..., 3] > 127).mean((1, 2)) / (still[..., 3] > 127).mean()
    assert areas.min() > 0.2 and areas.max() < 1.05


@pytest.mark.parametrize("beat", [Beat(4, 1), Beat(8, 0), Beat(16, 5)])
def test_a_bouncing_picture_is_lowest_when_it_hits_the_ground(still, beat):
    opaque, hits, between = moved(still, "bounce", beat)
    rows = lowest_row(opaque)
    assert list(hits) == list(range(beat.phase, 16, beat.period))
    assert np.ptp(rows[hits]) <= 1 and rows[hits].min() >= 60
    assert rows[between].max() < rows[hits].min()


@pytest.mark.parametrize("beat", [Beat(4, 3), Beat(8, 2)])
def test_a_sliding_picture_hits_one_side_then_the_other(still, beat):
    opaque, hits, between = moved(still, "slide", beat)
    left = np.array([np.flatnonzero(frame.any(0)).min() for frame in opaque])
    right = np.array([np.flatnonzero(frame.any(0)).max() for frame in opaque])
    at_left = left[hits] <= 2
    assert np.array_equal(at_left, right[hits] < 61) and np.all(at_left[1:] != at_left[:-1])
    assert left[between].min() > 2 and right[between].max() < 61


@pytest.mark.parametrize("beat", [Beat(4, 0), Beat(8, 7), Beat(16, 9)])
def test_a_zooming_picture_is_largest_and_a_shaking_one_jumps_at_its_impacts(still, beat):
    opaque, hits, between = moved(still, "zoom", beat)
    areas = opaque.sum((1, 2))
    assert areas[hits].min() > areas[between].max()
    opaque, hits, _ = moved(still, "shake", beat)
    centre = np.array([np.nonzero(frame)[1].mean() for frame in opaque])
    away = np.abs(centre - np.median(centre))
    assert away[hits].min() > 2 and away.argmax() in hits


@pytest.mark.parametrize("motion", ["spin", "swing"])
def test_a_turning_picture_turns_fastest_around_its_impacts(still, motion):
    clip, impacts = animate(still, motion, np.random.default_rng(0), Beat(8, 4))
    change = np.abs(np.diff(np.concatenate([clip, clip[:1]]).astype(int), axis=0)).mean((1, 2, 3))
    around = change[3] + change[4]
    assert impacts[0] == 0.5 and around > 1.5 * (change[0] + change[7])


def test_edges_keep_their_colour():
    red = np.zeros((64, 64, 4), np.uint8)
    red[16:48, 16:48] = (255, 0, 0, 255)  # transparent black around it
    clip, _ = animate(red, "spin", np.random.default_rng(0))
    seen = clip[clip[..., 3] > 16].astype(int)
    assert (seen[:, 3] < 240).any() and seen[:, 0].min() > 245 and seen[:, 1:3].max() < 10


def test_another_beat_is_another():
    rng = np.random.default_rng(0)
    beat = Beat(4, 0)
    drawn = [draw_beat("slide", rng, other_than=beat) for _ in range(50)]
    assert beat not in drawn and {each.period for each in drawn} == {4, 8}


def loudness(track):
    """Of 10 ms stretches."""
    samples = track[: len(track) // 160 * 160].astype(float).reshape(-1, 160)
    return np.sqrt((samples**2).mean(1))


def test_every_impact_has_its_onset_and_nothing_sounds_before(sounds):
    impacts = Beat(8, 4).impacts
    for recording in sounds.media:
        track = soundtrack(recording, impacts)
        assert track.shape == (AUDIO_SAMPLES,) and track.dtype == np.int16
        assert not track[: round((impacts[0] - 0.01) * SAMPLE_RATE)].any()
        loud = loudness(track)
        for impact in impacts:
            start = round(impact * 100)
            assert loud[start : start + round(100 * FRAME)].max() > 0.3 * loud.max()
            assert loud[max(start - 1, 0)] < 0.3 * loud.max()


def test_onsets_of_a_drum_are_where_the_impacts_are_and_nowhere_else(sounds):
    drums = [m for m, r in zip(sounds.media, sounds.records) if r["name"] == "drum"]
    assert drums
    for recording in drums:
        for beat in (Beat(4, 2), Beat(16, 6)):
            loud = loudness(soundtrack(recording, beat.impacts))
            rises = np.diff(np.concatenate([[0.0], loud])) > 0.4 * loud.max()
            onsets = np.flatnonzero(rises) / 100
            onsets = onsets[np.concatenate([[True], np.diff(onsets) > 0.1])]
            assert len(onsets) == len(beat.impacts)
            assert np.abs(onsets - beat.impacts).max() < FRAME


def test_silence_stays_silent_and_impacts_past_the_end_are_left_out(sounds):
    assert len(hit(np.zeros(AUDIO_SAMPLES, np.int16))) == 0
    assert not soundtrack(np.zeros(AUDIO_SAMPLES, np.int16), np.array([0.5])).any()
    assert np.array_equal(
        soundtrack(sounds.media[0], np.array([0.5, 9.0])), soundtrack(sounds.media[0], np.array([0.5]))
    )


def test_captions_name_the_motion_after_the_plain_name():
    concepts = load_concepts(DATA)
    guitar = next(r for r in load_images(DATA, ["images"]).records if (r["name"], r["style"]) == ("guitar", "noto"))
    clip = captions_of({**guitar, "shard": PROCEDURAL_CLIPS, "motion": "bounce"}, concepts)
    assert clip[0] == "guitar" and {"a guitar, bouncing", "a bouncing guitar"} < set(clip)
    sound = captions_of({**guitar, "shard": PROCEDURAL_SOUNDS, "motion": "swing"}, concepts)
    assert sound[0] == "guitar" and "the sound of a swinging guitar" in sound
