"""Sets of procedural clips and sounds, and alignment on the beat, with tiny real components on the sample collection."""

import numpy as np
import pytest
import torch

from opencodi.collections.stickers.motion import FRAMES_PER_SECOND
from opencodi.collections.stickers.paired_sets import audio_set, of_styles, video_set
from opencodi.collections.stickers.procedural import (
    animated,
    on_the_beat,
    procedural_clips,
    procedural_sounds,
    synchronous_pairs,
    two_beats,
)
from opencodi.collections.stickers.splits import split
from opencodi.data.paired import joined, other_beat
from opencodi.data.shards import Items, concepts_in, load_audio, load_images
from opencodi.errors import ConfigurationError
from opencodi.modality import Modality
from opencodi.training.components import ModelFolder, save_component

from ... import tiny
from ...training.making import make_task
from ...training.tiny_recipes import DATA, STYLES

PARTS = (
    *("text_prompt_encoder", "image_autoencoder", "audio_autoencoder"),
    *("text_denoiser", "image_denoiser", "audio_denoiser"),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    for name in PARTS:
        save_component(getattr(tiny, name)(), folder / name)
    return folder


def test_procedural_clips_are_stills_of_the_chosen_styles_on_their_side_of_the_split(model):
    training, validation = procedural_clips(DATA, 10, ["noto"], 0, ModelFolder(model), 0.0, ())
    assert len(training) >= 8 and len(validation) >= 1
    assert training.latents.shape[1:3] == (4, 16)
    held = {r["concept"] for r in split(of_styles(load_images(DATA, ["images"]), ["noto"]))[1].records}
    assert set(validation.concepts) <= held and not held & set(training.concepts)
    real = concepts_in(DATA, "videos")
    counts = {len(rows) for rows, code in zip(training.prompts["text"].rows, training.concepts) if code in real}
    others = {len(rows) for rows, code in zip(training.prompts["text"].rows, training.concepts) if code not in real}
    assert counts == {3} and others == {4}  # the plain name means the real clip
    again, _ = procedural_clips(DATA, 10, ["noto"], 0, ModelFolder(model), 0.0, ())
    assert torch.equal(again.latents, training.latents)


def test_an_unknown_style_is_named(model):
    with pytest.raises(ConfigurationError, match="no picture is in style 'crayon'"):
        procedural_clips(DATA, 4, ["crayon"], 0, ModelFolder(model), 0.0, ())


@pytest.mark.parametrize(
    ("read", "make"),
    [
        (
            lambda m: video_set(DATA, {"videos": 1.0}, m, 0.0, ()),
            lambda m: procedural_clips(DATA, 6, STYLES, 0, m, 0.0, ()),
        ),
        (lambda m: audio_set(DATA, {"sounds": 1.0}, m, 0.0, ()), lambda m: procedural_sounds(DATA, 6, 0, m, 0.0, ())),
    ],
)
def test_items_read_and_made_are_drawn_by_share_with_their_own_prompts(model, read, make):
    real, made = read(ModelFolder(model)), make(ModelFolder(model))
    both, _ = joined(real, made, 0.25)
    first = len(real[0])
    assert len(both) == first + len(made[0])
    np.testing.assert_allclose([both.weights[:first].sum(), both.weights[first:].sum()], [0.75, 0.25])
    for offset, part in ((0, real[0]), (first, made[0])):
        positions = np.arange(len(part))
        assert torch.equal(both.first_condition(positions + offset), part.first_condition(positions))
        assert torch.equal(both.latents[positions + offset], part.latents)


def test_a_picture_and_its_sound_hit_at_the_same_time():
    stills = of_styles(load_images(DATA, ["images"]), ["fluent-3d"])
    drums = stills.subset([i for i, r in enumerate(stills.records) if r["name"] == "drum"])
    clips, tracks = two_beats(drums, load_audio(DATA, ["sounds"]), 12, np.random.default_rng(0))
    bouncing = [i for i, record in enumerate(clips.records) if record["motion"] == "bounce"]
    assert bouncing and len(clips) == len(tracks) == 24
    for i in bouncing:
        lowest = np.array([np.flatnonzero((frame[..., 3] > 127).any(1)).max() for frame in clips.media[i]])
        impacts = np.flatnonzero(lowest >= lowest.max() - 1) / FRAMES_PER_SECOND
        track = np.abs(tracks.media[i].astype(float))
        loud = np.array([track[round(s * 16000) :][:1600].max() for s in np.arange(16) / FRAMES_PER_SECOND])
        quiet = np.array([track[max(0, round(s * 16000) - 160) : round(s * 16000)].max(initial=0) for s in impacts])
        assert loud[(impacts * FRAMES_PER_SECOND).astype(int)].min() > 0.3 * track.max() > quiet.max()
        assert impacts[0] == 0 or not track[: round(impacts[0] * 16000) - 160].any()


def test_sounds_on_the_beat_use_every_recording_before_one_comes_again():
    recordings = load_audio(DATA, ["sounds"])
    tracks = on_the_beat(recordings, len(recordings), np.random.default_rng(0))
    assert sorted(r["detail"] for r in tracks.records) == sorted(r["detail"] for r in recordings.records)


def test_synchronous_pairs_come_as_the_same_thing_on_two_beats(model):
    training, validation = synchronous_pairs(DATA, 12, STYLES, ModelFolder(model))
    for side in (training, validation):
        clips, sounds = side[Modality.VIDEO], side[Modality.AUDIO]
        assert len(clips) == len(sounds) >= 2 and clips.concepts == sounds.concepts
        positions = np.arange(len(clips))
        other = other_beat(positions)
        assert [clips.concepts[i] for i in other] == clips.concepts and (other != positions).all()
        for each in (clips, sounds):
            assert ((each.latents - each.latents[other]).flatten(1).abs().amax(1) > 0).all()


def alignment(model, **changes):
    values = {
        **{"pair": ["video", "audio"], "train": ["video"], "network": {}, "scheduler": {"class": "DDIMScheduler"}},
        **{"shards": {"video": ["videos"], "audio": ["sounds"]}, "prompt_share": 0.5, "contrastive_weight": 0.1},
        **{"temperature": 0.1, "styles": STYLES, **changes},
    }
    return make_task("alignment", model, **values)


def test_alignment_draws_synchronous_pairs_by_share_and_measures_another_beat(model):
    changes = {
        "image_denoiser": {"environment_tokens": 4, "seconds_per_frame": 0.125},
        "audio_denoiser": {"environment_tokens": 4, "seconds_per_row": 0.128},
    }
    task = alignment(model, synchronous_share=1.0, synchronous_clips=4, network=changes).eval()
    assert task.networks["image_denoiser"].config.environment_tokens == 4
    batch = task.sample_batch(np.random.default_rng(0), 3)
    clips, sounds = (task.synchronous[0][m].latents.float() for m in task.pair)
    matches = [
        {int(i) for i in np.flatnonzero((known == drawn).flatten(1).all(1))}
        for known, name in ((clips, "video"), (sounds, "audio"))
        for drawn in batch[name]
    ]
    assert all(one & other for one, other in zip(matches[:3], matches[3:]))
    with torch.no_grad():
        measures = task.validate(torch.Generator().manual_seed(0))
    for modality in ("video", "audio"):
        assert measures[f"{modality}_on_the_beat"] != measures[f"{modality}_beside_another_beat"]


def test_without_a_share_alignment_has_no_synchronous_pairs(model):
    task = alignment(model)
    assert not task.synchronous
    assert task.sample_batch(np.random.default_rng(0), 3)["concept"].shape == (3,)


def test_synchronous_pairs_are_for_video_and_audio(model):
    with pytest.raises(ConfigurationError, match="synchronous_share"):
        alignment(model, pair=["text", "image"], train=["text"], synchronous_share=0.5)


def test_a_motion_that_goes_one_way_moves_every_still_alike():
    stills = of_styles(load_images(DATA, ["images"]), STYLES)
    same = Items(np.stack([stills.media[0]] * 12), [stills.records[0]] * 12)
    for ways in (1, 0):
        clips = animated(same, 12, np.random.default_rng(0), ways)
        motions = [record["motion"] for record in clips.records]
        often = max(set(motions), key=motions.count)
        alike = {clip.tobytes() for clip, motion in zip(clips.media, motions) if motion == often}
        assert motions.count(often) > 1 and (len(alike) == 1) == (ways == 1)
