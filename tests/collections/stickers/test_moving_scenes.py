"""Moving scenes: what is said to happen can be seen, and is heard in the moment in which it is seen."""

import numpy as np
import pytest

from opencodi.collections.stickers.moving_scenes import (
    MovingScene,
    Sounds,
    draw_moving_scene,
    random_moving_scene,
)
from opencodi.collections.stickers.scene_motions import MOTIONS
from opencodi.collections.stickers.scene_sampling import is_withheld
from opencodi.collections.stickers.scenes import Part, Scene
from opencodi.collections.stickers.things import Drawings
from opencodi.data.shards import AUDIO_SAMPLES, SAMPLE_RATE, Items

from .drawn import drawn_items


@pytest.fixture(scope="module")
def drawings() -> Drawings:
    return Drawings(drawn_items())


@pytest.fixture(scope="module")
def sounds() -> Sounds:
    """A loud noise for the dog and a lower one for the drum; nothing else is heard."""
    rng = np.random.default_rng(0)
    media = np.zeros((2, AUDIO_SAMPLES), np.int16)
    media[0, 800:8000] = rng.normal(0, 6000, 7200)
    media[1, 400:4000] = 9000 * np.sin(np.arange(3600) * 0.2)
    return Sounds(Items(media, [{"name": "dog face"}, {"name": "drum"}]))


def moving(names, motion, frame, relation="", direction=-1) -> MovingScene:
    motions = (motion,) if isinstance(motion, str) else motion
    frames = (frame,) if isinstance(frame, int) else frame
    return MovingScene(Scene("noto", tuple(Part(name) for name in names), relation), motions, frames, direction)


def centre_of(frame: np.ndarray, colour) -> tuple[float, float]:
    """(row, column) of the middle of what is nearly of this colour."""
    near = (np.abs(frame[..., :3].astype(int) - colour).sum(-1) < 40) & (frame[..., 3] > 200)
    rows, columns = np.nonzero(near)
    return float(rows.mean()), float(columns.mean())


DOG, DRUM = (220, 170, 90), (200, 60, 50)


@pytest.mark.parametrize("frame", [4, 9, 13])
def test_what_falls_is_high_before_the_event_and_rests_after_it(drawings, sounds, frame):
    clip = draw_moving_scene(
        moving(("dog", "drum"), "falls on", frame, "on"), drawings, sounds, np.random.default_rng(0)
    )
    assert clip.frames.shape == (16, 128, 128, 4) and clip.frames.dtype == np.uint8
    rows = [centre_of(picture, DOG)[0] for picture in clip.frames]
    assert rows[0] < rows[frame] - 15 and abs(rows[-1] - rows[min(frame + 2, 15)]) < 4
    assert clip.events == (("dog", frame / 8), ("drum", frame / 8))


@pytest.mark.parametrize("frame", [3, 8, 12])
def test_the_sound_begins_at_the_event_at_any_beat(drawings, sounds, frame):
    clip = draw_moving_scene(moving(("dog",), "shakes", frame), drawings, sounds, np.random.default_rng(0))
    first = int(np.flatnonzero(np.abs(clip.sound.astype(int)) > 300)[0]) / SAMPLE_RATE
    assert clip.events[0] == ("dog", frame / 8) and abs(first - frame / 8) < 0.02
    still = [np.array_equal(a, b) for a, b in zip(clip.frames, clip.frames[1:])]
    assert all(still[: frame - 1]) and not still[frame - 1]


def test_two_that_act_are_heard_each_in_its_own_moment(drawings, sounds):
    both = moving(("dog", "drum"), ("jumps", "spins"), (5, 11), "beside")
    clip = draw_moving_scene(both, drawings, sounds, np.random.default_rng(1))
    assert dict(clip.events) == {"dog": 5 / 8, "drum": 11 / 8}
    loud = np.abs(clip.sound.astype(int)) > 300
    assert not loud[: round(0.6 * SAMPLE_RATE)].any()
    assert loud[round(5 / 8 * SAMPLE_RATE) :][:800].any() and loud[round(11 / 8 * SAMPLE_RATE) :][:800].any()


@pytest.mark.parametrize("direction", [-1, 1])
def test_what_passes_goes_its_way_and_is_nearest_at_the_event(drawings, sounds, direction):
    passing = moving(("dog", "house"), "walks past", 8, "in front of", direction)
    clip = draw_moving_scene(passing, drawings, sounds, np.random.default_rng(0))
    columns = [centre_of(picture, DOG)[1] for picture in clip.frames[7:10]]
    assert np.sign(columns[2] - columns[0]) == direction
    house = centre_of(clip.frames[0], (200, 170, 120))[1]
    assert abs(columns[1] - house) < 8


def test_what_jumps_over_lands_on_the_other_side(drawings, sounds):
    clip = draw_moving_scene(
        moving(("dog", "drum"), "jumps over", 10, "left of", 1), drawings, sounds, np.random.default_rng(0)
    )
    drum = centre_of(clip.frames[0], DRUM)[1]
    first, top, last = (centre_of(clip.frames[number], DOG) for number in (0, 7, 15))
    assert first[1] < drum < last[1] and top[0] < first[0] - 10


def test_what_grows_is_larger_afterwards_and_what_appears_was_not_there(drawings, sounds):
    grown = draw_moving_scene(moving(("dog",), "grows", 6), drawings, sounds, np.random.default_rng(0))
    area = (grown.frames[..., 3] > 128).sum((1, 2))
    assert area[-1] > 2 * area[0] and area[0] == area[4]
    popped = draw_moving_scene(
        moving(("dog", "drum"), "appears", 9, "beside"), drawings, sounds, np.random.default_rng(0)
    )
    area = (popped.frames[..., 3] > 128).sum((1, 2))
    assert area[8] == area[0] < area[-1]


def test_bounces_are_heard_at_every_contact(drawings, sounds):
    clip = draw_moving_scene(moving(("dog",), "bounces", 3), drawings, sounds, np.random.default_rng(2))
    seconds = [second for _, second in clip.events]
    assert len(seconds) >= 2 and len(set(np.diff(seconds))) == 1
    for second in seconds:
        start = round(second * SAMPLE_RATE)
        assert np.abs(clip.sound[start : start + 800].astype(int)).max() > 1000


def test_random_clips_are_repeatable_sensible_and_heard_where_that_is_asked(drawings, sounds):
    def made(seed: int) -> tuple:
        rng = np.random.default_rng(seed)
        found = random_moving_scene(drawings, sounds, rng, audible=1.0)
        return found, draw_moving_scene(found, drawings, sounds, rng), found.caption(rng)

    (scene, clip, caption), (again, same, text) = made(5), made(5)
    assert (
        scene == again and (clip.frames == same.frames).all() and (clip.sound == same.sound).all() and caption == text
    )
    for seed in range(20):
        scene, clip, caption = made(seed)
        assert not is_withheld(scene.scene)
        assert np.abs(clip.sound.astype(int)).max() > 1000 and caption
        assert clip.frames[..., 3].any()


def test_every_motion_is_said_in_several_ways(drawings, sounds):
    for name, motion in MOTIONS.items():
        assert len(set(motion.wordings)) >= 3, name
    assert moving(("dog", "drum"), "falls on", 4, "on").plain_caption() == "a dog falls on a drum"
    assert moving(("dog", "drum"), "spins", 4, "on").plain_caption() == "a dog spinning on a drum"
    assert (
        moving(("dog", "drum"), ("jumps", "shakes"), (4, 6), "beside").plain_caption()
        == "a dog jumps and a drum shakes"
    )
