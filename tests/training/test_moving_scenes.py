"""Clips on disk: moving scenes with the sounds of the same numbers, captions that name the motion, and their beats."""

import numpy as np
import pytest
import torch

from opencodi.collections.stickers.made import moving_scene_clip, moving_scene_of
from opencodi.collections.stickers.scene_parts import Source
from opencodi.denoisers import UNet
from opencodi.prompts import ImagePromptEncoder, VideoPromptEncoder
from opencodi.training.task import save_component

from .. import tiny
from . import making
from .test_scene_diffuser import SCHEDULER, UNET, folder  # noqa: F401
from .tiny_recipes import DATA

CLIPS = {
    **{"network": {"num_heads": 2, "seconds_per_frame": 0.125, "shared_frame_noise": 0.9}, "scheduler": SCHEDULER},
    **{"prompt_shares": {"text": 0.6, "video": 0.3}, "name_share": 0.3, "condition_noise": 0.0},
    **{"shards": {"videos": 1.0}, "scenes": 3, "any_scenes": 2, "held_scenes": 2, "scene_share": 0.7},
}


@pytest.fixture
def parts(folder):  # noqa: F811
    """The folder with what clips need beside pictures."""
    image = ImagePromptEncoder.from_pretrained(folder / "image_prompt_encoder")
    video = VideoPromptEncoder.for_image_encoder(
        image, num_frames=4, temporal_width=8, temporal_layers=1, frame_tokens=True
    )
    save_component(tiny.randomise(video, 5), folder / "video_prompt_encoder")
    save_component(tiny.randomise(UNet(**UNET), 6), folder / "image_denoiser")
    return folder


def test_events_are_those_of_the_clip_without_drawing_it():
    source = Source(DATA)
    for part, heard in ((source.clips(3), False), (source.soundtracks(3), True)):
        things, beats = part.known(0, 3)
        for number in range(3):
            moving, _ = moving_scene_of(source.drawings, source.sounds, (number, False), False, 1.0)
            clip = moving_scene_clip(moving, source.drawings, source.sounds, (number, False))
            expected = {round(second * 8) for name, second in clip.events if not heard or source.sounds.has(name)}
            assert set(np.flatnonzero(beats[number])) == expected
            assert things[number] and all(name in moving.plain_caption() for name in things[number])
    sounds, captions = source.soundtracks(3).draw(0, 2)
    assert sounds.shape[0] == 2 and captions == source.clips(3).draw(0, 2)[1]


@pytest.mark.slow
def test_clips_are_learned_and_prompted_by_words_and_by_clips(parts, generator, tmp_path):
    task = making.make_task("video_diffuser", parts, **CLIPS)
    batch = task.sample_batch(np.random.default_rng(0), 24)
    assert batch["latents"].shape == (24, 4, 16, 16, 16)
    assert {1, 5} <= set(batch["mask"].sum(1).tolist())  # none, and a clip with its four frames
    assert set(task.components()) == {"video_temporal", "scheduler"}
    small = {name: value[:4] for name, value in batch.items()}
    task(small, generator)["loss"].backward()
    assert all(p.grad is None for name, p in task.named_parameters() if "temporal" not in name)
    assert {"loss", "loss_at_0.9"} <= task.eval().validate(generator).keys()
    task.sample(tmp_path / "samples.png", generator)
    assert (tmp_path / "samples.png").is_file()
    again = making.make_task("video_diffuser", parts, **{**CLIPS, "freeze_image": False})
    assert {"video_temporal", "image_denoiser"} <= set(again.components())


def test_more_clips_are_learned_where_the_beat_is_decided(parts):
    task = making.make_task("video_diffuser", parts, **{**CLIPS, "window_share": 0.6})
    times = task.train().draw_times(4000, torch.Generator().manual_seed(0))
    assert (times >= 940).float().mean() == pytest.approx(0.624, abs=0.03)
    assert (task.eval().draw_times(4000, torch.Generator().manual_seed(0)) >= 940).float().mean() < 0.1
