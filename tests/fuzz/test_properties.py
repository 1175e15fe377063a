"""What must hold for any input, tried on inputs that nobody chose."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from diffusers import DDIMScheduler, EulerDiscreteScheduler, HeunDiscreteScheduler
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from opencodi.arguments import CallArguments
from opencodi.errors import ArgumentError, ConfigurationError
from opencodi.latents.mel import LOG_FLOOR, MelSpectrogram, prepare_waveform
from opencodi.latents.normalisation import denormalise, normalise
from opencodi.latents.transparent import to_channels, to_rgba
from opencodi.media import Audio, Video, read_audio, read_video, sample_frames, write_audio, write_video
from opencodi.media.containers import missing_end
from opencodi.prompts import Condition
from opencodi.prompts.mixing import mix
from opencodi.sampling.guidance import Guidance
from opencodi.sampling.noise import Noise
from opencodi.sampling.sample import interleave
from opencodi.sampling.trajectory import Trajectory, num_timesteps
from opencodi.training.recipe import load_recipe

settings.register_profile(
    "properties",
    max_examples=40,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("properties")

RECIPES = sorted((Path(__file__).parents[2] / "recipes" / "stickers").glob("*.yaml"))

weights = st.floats(0, 1e30, allow_nan=False, allow_infinity=False)
scales = st.floats(-20, 20, allow_nan=False)


@st.composite
def conditions(draw) -> list[Condition]:
    width, batch = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    seed, lengths = draw(st.integers(0, 2**31)), draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    random = torch.Generator().manual_seed(seed)
    return [
        Condition(
            torch.randn(batch, length, width, generator=random),
            torch.cat([torch.ones(batch, 1), torch.rand(batch, length - 1, generator=random)], 1) > 0.4,
        )
        for length in lengths
    ]


@given(conditions(), st.data())
def test_mixtures_do_not_depend_on_order_or_scale_of_weights_and_one_prompt_stays_itself(given_conditions, data):
    chosen = data.draw(st.lists(weights, min_size=len(given_conditions), max_size=len(given_conditions)))
    assume(max(chosen) > 1e-20)
    mixed = mix(given_conditions, chosen)
    turned = mix(given_conditions[::-1], chosen[::-1])
    torch.testing.assert_close(mixed.tokens, turned.tokens)
    assert torch.equal(mixed.mask, turned.mask)
    torch.testing.assert_close(mix(given_conditions, [weight / 8 for weight in chosen]).tokens, mixed.tokens)
    first, shares = given_conditions[0], [1.0] + [0.0] * (len(given_conditions) - 1)
    alone = mix(given_conditions, shares).tokens[:, : first.tokens.shape[1]]
    torch.testing.assert_close(alone, first.tokens * first.mask.unsqueeze(-1))
    largest = max(condition.tokens.abs().max() for condition in given_conditions)
    assert mixed.tokens.abs().max() <= largest * (1 + 1e-5)


@given(st.lists(st.floats(), min_size=1, max_size=3))
def test_weights_that_mean_nothing_are_refused(chosen):
    same = [Condition(torch.ones(1, 1, 2), torch.ones(1, 1, dtype=torch.bool))] * len(chosen)
    if all(math.isfinite(weight) and weight >= 0 for weight in chosen) and max(chosen) > 0:
        torch.testing.assert_close(mix(same, chosen).tokens, same[0].tokens)
    else:
        with pytest.raises(ArgumentError, match="weights"):
            mix(same, chosen)


@given(scales, st.none() | scales, st.floats(0, 1), st.booleans(), st.booleans())
def test_factors_of_guidance_add_up_to_one(guidance_scale, modality_scale, progress, is_prompted, has_partners):
    guidance = Guidance(guidance_scale, modality_scale=modality_scale)
    terms = guidance.terms(progress, is_prompted, has_partners)
    assert sum(terms.values()) == pytest.approx(1, abs=1e-6)
    assert all(has_partners or not each.partners for each in terms)


@given(st.dictionaries(st.sampled_from(["text", "image", "video", "audio"]), st.integers(1, 60), min_size=1), st.data())
def test_every_modality_takes_all_its_steps_in_order_and_no_tick_is_empty(steps, data):
    spans = data.draw(st.dictionaries(st.sampled_from(sorted(steps)), st.floats(0.05, 1.0)))
    ticks = interleave(steps, spans)
    assert all(ticks) and all(len(set(tick)) == len(tick) for tick in ticks)
    for modality, count in steps.items():
        assert sum(modality in tick for tick in ticks) == count
    assert set(ticks[0]) == set(steps)  # all begin together


@given(
    st.sampled_from([DDIMScheduler, EulerDiscreteScheduler, HeunDiscreteScheduler]),
    st.integers(2, 30),
    st.integers(0, 9),
)
def test_a_trajectory_descends_ends_when_it_is_said_to_and_leaves_the_scheduler_alone(kind, steps, seed):
    scheduler = kind()
    trajectory = Trajectory(scheduler, torch.randn(2, 3, generator=torch.Generator().manual_seed(seed)), steps)
    before, seen = scheduler.num_inference_steps, []
    while not trajectory.is_finished:
        assert trajectory.current()[0].shape == (2, 3)
        seen.append(float(trajectory.step(torch.zeros(2, 3), None)))
    assert len(seen) == num_timesteps(scheduler, steps) and seen == sorted(seen, reverse=True)
    assert trajectory.progress == 1 and trajectory.current()[1].tolist() == [0, 0]
    assert torch.isfinite(trajectory.latents).all() and scheduler.num_inference_steps == before


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=4, unique=True), st.data())
def test_a_samples_noise_depends_neither_on_its_place_nor_on_its_neighbours(seeds, data):
    def noise(of: list[int], modality: str = "image") -> torch.Tensor:
        return Noise(of, lambda _: (len(of), 2, 4), lambda _: 0.0).draw(modality)

    order = data.draw(st.permutations(range(len(seeds))))
    together, turned = noise(seeds), noise([seeds[place] for place in order])
    assert torch.equal(turned, together[list(order)])
    assert torch.equal(noise(seeds[:1]), together[:1])
    assert not torch.equal(noise(seeds, "audio"), together)


@given(st.integers(1, 2), st.integers(513, 6_000), st.floats(0, 1), st.integers(0, 2**31))
def test_mel_spectrograms_are_finite_and_have_a_frame_for_each_hop(count, length, loudness, seed):
    noise = torch.randn(count, length, generator=torch.Generator().manual_seed(seed))
    mel = MelSpectrogram()(noise * loudness)
    assert mel.shape == (count, length // 256, 64)
    assert torch.isfinite(mel).all() and mel.min() >= math.log(LOG_FLOOR) - 1e-4


@given(st.integers(0, 2**31), st.floats(0.01, 1.0), st.floats(0.001, 1.0), st.integers(1, 5_000))
def test_prepared_waveforms_have_one_peak_whatever_their_loudness(seed, peak, loudness, length):
    waveform = torch.randn(2, 3_000, generator=torch.Generator().manual_seed(seed))
    found = prepare_waveform(waveform * loudness + 0.3, peak)
    torch.testing.assert_close(found.abs().amax(-1), torch.full((2,), peak))
    torch.testing.assert_close(found, prepare_waveform(waveform, peak), atol=1e-4, rtol=1e-3)
    assert prepare_waveform(waveform, peak, length).shape == (2, length)


@given(
    st.integers(0, 2**31),
    st.floats(0.05, 5.0),
    st.none() | st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    st.none() | st.lists(st.floats(1e-2, 9), min_size=3, max_size=3),
)
def test_latents_come_back_from_their_normalised_form(seed, scale, mean, std):
    config = {"scaling_factor": scale, "latents_mean": mean, "latents_std": std}
    raw = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(denormalise(normalise(raw, config), config), raw, atol=1e-4, rtol=1e-4)


@given(arrays(np.uint8, (3, 5, 4)))
def test_transparent_pictures_come_back_where_they_show(rgba):
    found = to_rgba(to_channels(rgba))
    clear, solid = rgba[..., 3] <= 7, rgba[..., 3] >= 248
    assert (found[..., 3][clear] == 0).all() and (found[..., 3][solid] == 255).all()
    seen = rgba[..., 3] > 40
    assert np.abs(found[..., :3][seen].astype(int) - rgba[..., :3][seen]).max(initial=0) <= 1


@settings(max_examples=12)
@given(
    arrays(np.float32, st.integers(1, 300), elements=st.floats(-1, 1, width=32)),
    st.sampled_from([8_000, 16_000, 44_100]),
)
def test_sounds_come_back_from_files(tmp_path, samples, rate):
    write_audio(Audio(samples, rate), tmp_path / "a.wav")
    found = read_audio(tmp_path / "a.wav", sample_rate=None)
    assert found.sample_rate == rate
    np.testing.assert_allclose(found.samples, samples, atol=2**-14)


@settings(max_examples=3)  # each is decoded by a process of its own
@given(st.integers(1, 12), st.sampled_from([4.0, 8.0, 12.5]), st.integers(0, 2**31))
def test_clips_come_back_from_files(tmp_path, count, fps, seed):
    frames = np.random.default_rng(seed).integers(0, 256, (max(2, count), 8, 8, 3), np.uint8)
    write_video(Video(frames, fps), tmp_path / "a.webp")
    found = read_video(tmp_path / "a.webp")
    assert found.frames.shape == frames.shape and found.fps == pytest.approx(fps, rel=0.05)


@given(st.integers(1, 40), st.floats(0.5, 60), st.integers(1, 40), st.none() | st.floats(0.5, 60))
def test_as_many_frames_are_chosen_as_were_asked_for_and_in_order(count, fps, wanted, rate):
    frames = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    numbers = sample_frames(Video(frames, fps), wanted, rate).frames[:, 0, 0, 0].tolist()
    assert len(numbers) == wanted and set(numbers) <= set(range(count))
    assert rate is not None or numbers == sorted(numbers)
    assert rate is None or numbers[0] == 0


@given(
    st.sampled_from(["png", "gif", "webp", "mp4", "matroska", "ogg", "w64", "aiff", "caf", "au", "mp3"]), st.binary()
)
def test_any_bytes_are_whole_or_lack_something_that_can_be_said(kind, content):
    lack = missing_end(kind, io.BytesIO(content), len(content))
    assert lack is None or (isinstance(lack, str) and lack.isprintable())


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
"""Anything that YAML, JSON or a careless caller may bring."""


@given(st.sampled_from(RECIPES), st.data())
def test_a_recipe_with_any_value_replaced_is_read_or_refused_in_words(tmp_path, path, data):
    recipe = yaml.safe_load(path.read_text())
    key = data.draw(st.sampled_from(sorted(recipe)))
    recipe[key] = data.draw(values)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    try:
        found = load_recipe(tmp_path / "recipe.yaml")
    except ConfigurationError as error:
        assert "recipe.yaml" in str(error)
    else:
        assert found.task


ARGUMENTS = ("outputs", "weights", "num_inference_steps", "guidance_scale", "modality_scale", "num_outputs_per_prompt")


@given(st.dictionaries(st.sampled_from(ARGUMENTS), values, min_size=1), st.text(max_size=20) | values)
def test_a_call_with_any_arguments_is_accepted_or_refused_in_words(pipe, arguments, text):
    inputs = {"text": text, "image": None, "video": None, "audio": None}
    try:
        found = CallArguments.check(inputs, pipe.defaults, **{"outputs": "image", **arguments})
    except ArgumentError as error:
        assert str(error)
    else:
        assert found.batch_size >= 1 and found.outputs
