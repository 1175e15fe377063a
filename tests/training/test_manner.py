"""What is to be read of the manner: texts of every kind, and the same courses as procedural clips have."""

import numpy as np
import pytest
import torch

from opencodi.collections.stickers.manners import DOINGS, MANNERS, STYLES, SYNONYMS, manner_text, manners_of
from opencodi.collections.stickers.motion import MOTIONS, animate, course
from opencodi.collections.stickers.paired_sets import styled_set, video_set
from opencodi.collections.stickers.procedural import at_rest, told_to_move
from opencodi.data.shards import load_images
from opencodi.extras.motion_renderer import moved
from opencodi.prompts import ImagePromptEncoder
from opencodi.training.components import ModelFolder, save_component

from .. import tiny
from .making import make_task
from .tiny_recipes import DATA
from .tiny_recipes import STYLES as SOME_STYLES


def test_texts_say_what_they_are_told_to_say():
    rng, seen = np.random.default_rng(0), set()
    for _ in range(300):
        text, told, alone = manner_text("red fox", rng)
        assert ("fox" in text) != alone and (told or not alone)
        for name in STYLES:
            if name in told:
                assert name in text
        for doing in DOINGS:
            assert any(word in text for word in SYNONYMS[doing]) == (doing in told)
        seen.add((len(told), alone))
    assert seen == {(0, False), (1, False), (2, False), (1, True), (2, True)}


def test_records_are_in_the_manner_that_they_tell():
    told = manners_of([{"style": "noto"}, {"style": "fluent-3d", "motion": "spin"}, {"caption": "a photo"}])
    named = [[name for name, value in zip(MANNERS, row) if value] for row in told]
    assert named == [["noto"], ["3d", "spinning"], []]


@pytest.fixture(scope="module")
def stills():
    return load_images(DATA, ["images"])


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_still_seen_through_its_course_is_the_clip_of_that_motion(stills, motion):
    still = stills.media[0]
    clip, _ = animate(still, motion, np.random.default_rng(0))
    over_white = [
        np.where(a[..., 3:] > 0, a[..., :3] * (a[..., 3:] / 255.0) + 255 - a[..., 3:], 255) for a in (still, *clip)
    ]
    frames = torch.from_numpy(np.stack(over_white)).permute(0, 3, 1, 2).float() / 127.5 - 1
    maps = torch.from_numpy(course(still, motion, np.random.default_rng(0))).float()
    seen = moved(frames[:1].expand(16, -1, -1, -1), maps)
    assert (seen - frames[1:]).abs().mean() < 0.02 < (frames[:1] - frames[1:]).abs().mean()


def test_what_comes_from_outside_a_frame_is_white_and_a_still_course_changes_nothing():
    frames = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    still = torch.eye(2, 3).repeat(2, 1, 1)
    assert torch.equal(moved(frames, still), frames)
    left = still.clone()
    left[1, 0, 2] = 0.5  # seen from two pixels further right
    shifted = moved(frames, left)
    assert torch.equal(shifted[0], frames[0])
    torch.testing.assert_close(shifted[1, :, :, :6], frames[1, :, :, 2:])
    torch.testing.assert_close(shifted[1, :, :, 6:], torch.ones(3, 8, 2))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_component(tiny.text_prompt_encoder(), folder / "text_prompt_encoder")
    save_component(tiny.image_autoencoder(), folder / "image_autoencoder")
    save_component(tiny.randomise(ImagePromptEncoder(**tiny.TOWER)), folder / "image_prompt_encoder")
    return folder


def test_courses_are_learned_in_a_few_steps(model):
    values = {"num_texts": 40, "hidden_size": 32, "dropout": 0.0, "harmonics": 8, "course_noise": 0.0}
    values["unnamed_styles"] = {"noto": 0.5}
    task = make_task("manner", model, shards=["images"], course_styles=SOME_STYLES, **values)
    optimizer, generator = torch.optim.Adam(task.parameters(), 0.01), torch.Generator().manual_seed(0)
    before = task.validate(generator)
    for step in range(150):
        losses = task(task.sample_batch(np.random.default_rng(step), 32), generator)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    assert task.validate(generator)["course_error"] < 0.4 * before["course_error"]
    assert losses["text"] < 0.3 and all(0 <= task.validate(generator)[n] <= 1 for n in ("texts_read", "styles_seen"))


def test_clips_at_rest_show_one_still_and_real_clips_may_be_told_to_move(stills, model):
    resting = at_rest(stills, 5, np.random.default_rng(0))
    assert (resting.media == resting.media[:, :1]).all() and {r["motion"] for r in resting.records} <= set(MOTIONS)
    real, _ = video_set(DATA, {"videos": 1.0}, ModelFolder(model), 0.0, ())
    first, counts = real.first_condition(np.arange(len(real))), [len(rows) for rows in real.prompts["text"].rows]
    told = told_to_move(real, ModelFolder(model))
    assert [len(rows) for rows in told.prompts["text"].rows] == [count + 2 * len(MOTIONS) for count in counts]
    assert torch.equal(told.first_condition(np.arange(len(told))), first)


def test_pictures_of_every_style_come_with_their_manner_but_not_without_a_prompt(model):
    pictures = styled_set(DATA, {"images": 1.0}, ModelFolder(model), 0.0, ("image",), by_manner=True)
    items, prompts = pictures.draw_batch(np.random.default_rng(0), 64, {"text": 0.5, "image": 0.2})
    prompted = prompts["condition"].norm(dim=1) > 0
    assert 0 < prompted.sum() < 64
    assert torch.equal(prompts["manner"][prompted], pictures.manners[items][prompted])
    assert (pictures.manners.sum(1) == 1).all() and not prompts["manner"][~prompted].any()
