"""The whole way from inputs to outputs, on a tiny real model."""

from itertools import combinations

import numpy as np
import pytest
import torch
from PIL import Image

from opencodi import AnyToAnyOutput, Audio, Modality, Video
from opencodi.errors import ArgumentError

from . import tiny
from .tiny import differ, latents, seeded

SETS = [names for size in range(1, 5) for names in combinations([modality.value for modality in Modality], size)]
TYPES = {"text": str, "image": Image.Image, "video": Video, "audio": Audio}
SHAPES = {"text": (1, 8), "image": (1, 4, 4, 4), "video": (1, 4, 3, 4, 4), "audio": (1, 4, 4, 4)}


@pytest.mark.parametrize("inputs", SETS, ids="+".join)
def test_every_set_of_inputs_makes_every_set_of_outputs(pipe, inputs):
    given = {name: item for name, item in tiny.media().items() if name in inputs}
    for outputs in SETS:
        made = latents(pipe, **given, outputs=outputs, num_inference_steps=1, guidance_scale=1)
        assert {modality: tuple(latent.shape) for modality, latent in made.items()} == {
            name: SHAPES[name] for name in outputs
        }
    out = pipe(**given, outputs="all", num_inference_steps=1, guidance_scale=2.0, generator=seeded())
    assert all(isinstance(out[Modality(name)][0], kind) for name, kind in TYPES.items())


@pytest.mark.parametrize("outputs", SETS, ids="+".join)
def test_every_set_of_outputs_becomes_media_of_its_own_and_nothing_else(pipe, outputs):
    out = pipe(text="a rooster", outputs=outputs, num_inference_steps=1, generator=seeded())
    for modality in Modality:
        if modality not in outputs:
            assert out[modality] is None
            continue
        (item,) = out[modality]
        assert isinstance(item, TYPES[modality])
    if "image" in outputs:
        assert out.image[0].size == (16, 16)
    if "video" in outputs:
        assert out.video[0].frames.shape == (3, 16, 16, 3)
        assert out.video[0].audio is (out.audio[0] if "audio" in outputs else None)
    if "audio" in outputs:
        assert out.audio[0].samples.shape == (4096,)


def test_results_follow_every_input(pipe):
    """Another text, picture, clip or sound gives another result."""
    for name in TYPES:
        one = latents(pipe, **{name: tiny.media(0)[name]})["image"]
        other = latents(pipe, **{name: tiny.media(1)[name]})["image"]
        assert differ(one, other), name


def test_without_any_input_the_result_is_unconditional(pipe):
    out = pipe(outputs="all", num_inference_steps=2, generator=seeded())
    assert all(len(items) == 1 for items in out.to_tuple())
    # Nothing to be guided to, so guidance changes nothing.
    assert torch.equal(latents(pipe)["image"], latents(pipe, guidance_scale=7.0)["image"])


def test_the_same_seed_gives_the_same_result_and_another_another(pipe):
    call = {"text": "a rooster", "outputs": ["image", "audio"]}
    one, same, other = latents(pipe, 1, **call), latents(pipe, 1, **call), latents(pipe, 2, **call)
    for modality in call["outputs"]:
        assert torch.equal(one[modality], same[modality])
        assert differ(one[modality], other[modality])


def test_without_a_generator_results_differ(pipe):
    one, other = (latents(pipe, text="a rooster", generator=None)["image"] for _ in range(2))
    assert differ(one, other)


def test_one_prompt_in_a_batch_of_four_gives_what_it_gives_alone(pipe):
    batch = {name: [tiny.media(seed)[name] for seed in range(4)] for name in TYPES}
    together = latents(pipe, **batch, outputs="all", generator=[seeded(seed) for seed in range(4)])
    for place in range(4):
        prompt = {name: items[place] for name, items in batch.items()}
        alone = latents(pipe, **prompt, outputs="all", generator=seeded(place))
        for modality, result in alone.items():
            torch.testing.assert_close(together[modality][place : place + 1], result, atol=1e-4, rtol=0)


def test_a_single_generator_gives_each_result_noise_of_its_own(pipe):
    batch = latents(pipe, text=["a rooster"] * 3, generator=seeded(5))["image"]
    first = latents(pipe, text="a rooster", generator=seeded(5))["image"]
    torch.testing.assert_close(batch[:1], first, atol=1e-4, rtol=0)
    assert differ(batch[0], batch[1]) and differ(batch[1], batch[2])


def test_the_noise_of_an_output_does_not_depend_on_the_other_outputs():
    pipe = tiny.pipeline()
    alone = latents(pipe)["image"]
    assert differ(alone, latents(pipe, outputs="all")["image"])
    for block in pipe.image_alignment.blocks:  # what the others say no longer counts; what is left is the noise
        block.proj_out.requires_grad_(False).weight.zero_()
        block.proj_out.bias.zero_()
    alone, joint = latents(pipe)["image"], latents(pipe, outputs="all")["image"]
    torch.testing.assert_close(alone, joint, atol=1e-5, rtol=0)


def test_given_latents_replace_the_noise(pipe):
    noise = torch.randn(1, 4, 4, 4, generator=seeded(9))
    one = latents(pipe, latents={"image": noise}, generator=seeded(1))["image"]
    assert torch.equal(one, latents(pipe, latents={"image": noise}, generator=seeded(2))["image"])
    assert differ(one, latents(pipe, generator=seeded(1))["image"])


def test_joint_generation_listens_only_with_exchange_others():
    loud = {"image": torch.full((1, 4, 4, 4), 2.0)}
    for exchange, listens in (("others", True), ("self", False)):
        pipe = tiny.pipeline(exchange=exchange)
        plain = latents(pipe, outputs=["image", "audio"])["audio"]
        other = latents(pipe, outputs=["image", "audio"], latents=loud)["audio"]
        assert differ(plain, other, 1e-6) == listens, exchange


# ------------------------------------------------------------------------------------------------- inputs


def test_lists_are_batches_and_single_items_serve_every_prompt(pipe):
    pictures = [tiny.media(0)["image"], tiny.media(1)["image"]]
    out = pipe(text="a rooster", image=pictures, outputs=["text", "image"], num_inference_steps=1)
    assert len(out.image) == len(out.text) == 2
    noise = {"image": torch.zeros(2, 4, 4, 4)}
    both = latents(pipe, text="a rooster", image=pictures, latents=noise)["image"]
    for place, picture in enumerate(pictures):
        one = latents(pipe, text=["a rooster"], image=[picture], latents={"image": noise["image"][:1]})["image"]
        torch.testing.assert_close(both[place : place + 1], one, atol=1e-4, rtol=0)
    assert differ(both[0], both[1])


def test_a_tuple_is_several_conditions_of_one_prompt(pipe):
    one, other = tiny.media(0)["image"], tiny.media(1)["image"]
    mixed = latents(pipe, image=(one, other))["image"]
    assert mixed.shape[0] == 1
    assert torch.equal(mixed, latents(pipe, image=[(one, other)])["image"])
    assert differ(mixed, latents(pipe, image=one)["image"])
    torch.testing.assert_close(
        latents(pipe, image=one)["image"], latents(pipe, image=(one, one))["image"], atol=1e-5, rtol=0
    )
    only_first = latents(pipe, image=(one, other), weights={"image": (1, 0)})["image"]
    torch.testing.assert_close(only_first, latents(pipe, image=one)["image"], atol=1e-5, rtol=0)


def test_weights_are_proportions_and_default_to_one(pipe):
    media = {name: tiny.media()[name] for name in ("text", "image")}
    even = latents(pipe, **media)["image"]
    assert torch.equal(even, latents(pipe, **media, weights={"text": 1, "image": 1})["image"])
    torch.testing.assert_close(
        even, latents(pipe, **media, weights={"text": 5, "image": 5})["image"], atol=1e-5, rtol=0
    )
    assert differ(even, latents(pipe, **media, weights={"image": 0.1})["image"])
    text_only = latents(pipe, **media, weights={"image": 0})["image"]
    torch.testing.assert_close(text_only, latents(pipe, text=media["text"])["image"], atol=1e-5, rtol=0)


def test_a_number_is_shared_by_the_conditions_of_its_modality(pipe):
    one, other = tiny.media(0)["image"], tiny.media(1)["image"]
    shared = latents(pipe, text="a rooster", image=(one, other), weights={"text": 1, "image": 1})["image"]
    spelled = latents(pipe, text="a rooster", image=(one, other), weights={"text": 2, "image": (1, 1)})["image"]
    torch.testing.assert_close(shared, spelled, atol=1e-5, rtol=0)


# ------------------------------------------------------------------------------------------------- outputs


def test_saved_results_are_files_of_their_kind(pipe, tmp_path):
    out = pipe(**tiny.media(), outputs="all", num_inference_steps=1, num_outputs_per_prompt=2, generator=seeded())
    out.text = ["a rooster", "two roosters"]
    files = out.save(tmp_path / "new" / "folder")
    expected = [f"{name}-{n}" for name in ("text", "image", "video", "audio") for n in range(2)]
    assert [file.stem for file in files] == expected
    written = [*(file.name for file in files), "text-0.c2pa", "text-1.c2pa"]
    assert sorted(file.name for file in (tmp_path / "new/folder").iterdir()) == sorted(written)
    assert files[0].read_text().strip() == "a rooster"
    assert Image.open(files[2]).size == (16, 16)
    from opencodi.media import read_video

    assert read_video(files[4]).audio is not None


def test_latents_are_no_files(pipe, tmp_path):
    out = pipe(num_inference_steps=1, output_type="latent")
    with pytest.raises(ArgumentError, match="output_type='pil'"):
        out.save(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_tuple_can_be_had_instead(pipe):
    text, image, video, audio = pipe(outputs=["image"], num_inference_steps=1, return_dict=False)
    assert (text, video, audio) == (None, None, None)
    assert isinstance(image[0], Image.Image)
    assert isinstance(pipe(num_inference_steps=1), AnyToAnyOutput)


def test_sizes_can_be_chosen(pipe):
    size = {"height": 8, "width": 24, "num_frames": 2, "seconds": 0.512}
    out = pipe(outputs=["image", "video", "audio"], num_inference_steps=1, **size)
    assert out.image[0].size == (24, 8)
    assert out.video[0].frames.shape == (2, 8, 24, 3)
    assert out.audio[0].samples.shape == (8192,)


def test_odd_sizes_and_other_lengths_can_be_made(pipe):
    """Sides that the autoencoder takes but that the denoiser halves unevenly; seconds to the nearest that can be made."""
    size = {"height": 12, "width": 20, "num_frames": 5, "seconds": 0.2}
    out = pipe(outputs=["image", "video", "audio"], num_inference_steps=1, **size)
    assert out.image[0].size == (20, 12)
    assert out.video[0].frames.shape == (5, 12, 20, 3)
    assert out.audio[0].samples.shape == (3072,)
    assert pipe(outputs=["video"], num_inference_steps=1, num_frames=1).video[0].frames.shape == (1, 16, 16, 3)
    assert pipe(outputs=["video"], num_inference_steps=1, num_frames=30).video[0].frames.shape == (30, 16, 16, 3)


def test_words_can_be_drawn_with_the_generator(pipe):
    call = {"text": ["a rooster", "a red apple"], "outputs": ["text"], "num_inference_steps": 1}
    greedy = pipe(**call, generator=[seeded(0), seeded(1)]).text
    drawn = [pipe(**call, text_decoding="sample", generator=[seeded(s), seeded(s + 1)]).text for s in (0, 0, 7)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2] and drawn[0] != greedy
    # A sentence does not depend on the others of its batch.
    alone = pipe(
        text="a red apple", outputs=["text"], num_inference_steps=1, text_decoding="sample", generator=seeded(1)
    )
    assert alone.text == drawn[0][1:]


def test_results_can_be_had_as_arrays(pipe):
    call = {"text": "a rooster", "outputs": "all", "num_inference_steps": 1, "num_outputs_per_prompt": 2}
    arrays, media = (pipe(**call, generator=seeded(), output_type=kind) for kind in ("np", "pil"))
    assert arrays.text == media.text
    assert (arrays.image.shape, arrays.video.shape, arrays.audio.shape) == (
        (2, 16, 16, 3),
        (2, 3, 16, 16, 3),
        (2, 4096),
    )
    assert {arrays.image.dtype, arrays.video.dtype, arrays.audio.dtype} == {np.dtype("float32")}
    for made, shown in ((arrays.image[1], np.asarray(media.image[1])), (arrays.video[1], media.video[1].frames)):
        assert made.min() >= 0 and made.max() <= 1
        assert np.abs(made * 255 - shown).max() < 0.51
    assert np.array_equal(arrays.audio[1], media.audio[1].samples)
    with pytest.raises(ArgumentError, match="not arrays or latents"):
        arrays.save("nowhere")


def test_a_model_says_how_many_steps_it_takes_by_default(pipe):
    usual = {"guidance_interval": (0.0, 1.0), "modality_scale": None, "modality_interval": (0.0, 1.0)}
    assert pipe.defaults == {"num_inference_steps": 20, "guidance_scale": 2.0, **usual}
    own = tiny.pipeline(num_inference_steps=3, guidance_scale=1.0)
    assert own.defaults == {"num_inference_steps": 3, "guidance_scale": 1.0, **usual}
    ticks = []
    own(text="a rooster", callback_on_step_end=lambda pipe, step, timesteps, tensors: ticks.append(step))
    assert ticks == [0, 1, 2]
    assert torch.equal(
        latents(own, text="a rooster", guidance_scale=None)["image"],
        latents(own, text="a rooster", guidance_scale=1)["image"],
    )


def test_a_model_may_take_other_steps_and_guidance_for_each_output():
    own = tiny.pipeline(num_inference_steps={"image": 2, "audio": 3}, guidance_scale={"image": 1.0, "audio": 3.0})
    call = {"text": "a rooster", "outputs": ["image", "audio"], "generator": seeded(), "output_type": "latent"}
    made = own(**call)
    assert made.num_inference_steps == {"image": 2, "audio": 3}
    spelled = {"num_inference_steps": {"image": 2, "audio": 3}, "guidance_scale": {"image": 1.0, "audio": 3.0}}
    expected = tiny.pipeline()(**call | {"generator": seeded()}, **spelled)
    assert torch.equal(made.image, expected.image) and torch.equal(made.audio, expected.audio)
    assert own(**call, num_inference_steps={"audio": 5}).num_inference_steps == {"image": 2, "audio": 5}
    assert own(text="a rooster", outputs=["text"]).num_inference_steps == {"text": 20}, "it says nothing of texts"


def test_partners_are_guided_to_by_a_scale_of_their_own(pipe):
    call = {"text": "a rooster", "outputs": ["image", "audio"], "guidance_scale": 3.0}
    seen_by_all, led, far = (latents(pipe, **call, modality_scale=scale)["image"] for scale in (None, 3.0, 6.0))
    assert differ(seen_by_all, led) and differ(led, far)
    nobody = latents(pipe, **call | {"outputs": ["image"]})["image"]
    torch.testing.assert_close(latents(pipe, **call, modality_scale=0.0)["image"], nobody, atol=1e-4, rtol=0)


def test_a_caller_may_stop_between_steps(pipe):
    ticks = []

    def stop(pipeline, step, timesteps, tensors):
        ticks.append(step)
        pipeline._interrupt = step == 1

    out = pipe(text="a rooster", outputs="all", num_inference_steps=5, callback_on_step_end=stop, generator=seeded())
    assert ticks == [0, 1] and out.image[0].size == (16, 16)
    pipe(text="a rooster", num_inference_steps=3, callback_on_step_end=lambda p, step, *_: ticks.append(step))
    assert ticks[2:] == [0, 1, 2], "the next call runs to its end"


def test_an_unknown_argument_is_refused_by_name(pipe):
    with pytest.raises(ArgumentError, match="num_candidate: is no argument"):
        pipe(text="a rooster", num_candidate=3)
    with pytest.raises(ArgumentError, match="did you mean 'proofreading'"):
        pipe(text="a rooster", extras=["proofreding"])


def test_the_phases_are_timed(pipe):
    out = pipe(text="a rooster", num_inference_steps=1)
    assert list(out.seconds) == ["encode", "denoise", "decode"]
    assert all(value > 0 for value in out.seconds.values())
