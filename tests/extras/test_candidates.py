"""A pipeline that makes several of an output and keeps the one its prompt encoder reads nearest to the prompt."""

import pytest
import torch
import torch.nn.functional as F

from opencodi import Modality
from opencodi.errors import ArgumentError
from opencodi.extras.candidates import chosen, cosines

from .. import tiny


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def sounds(pipe, **call):
    return pipe(
        **{"outputs": ["audio"], "num_inference_steps": 2, "generator": seeded(), "output_type": "latent"} | call
    )


@torch.no_grad()
def nearness(pipe, latents, text):
    """Cosine of sounds to a text, both read by the pipeline's encoders."""
    heard = pipe.audio_prompt_encoder.encode(pipe.rooms.codec(Modality.AUDIO).decode(latents)).tokens[:, 0]
    return F.cosine_similarity(heard, pipe.text_prompt_encoder.encode([text]).tokens[:, 0])


def test_the_one_that_its_prompt_lies_nearest_to_is_kept_for_each_sample():
    prompts = F.normalize(torch.randn(3, 5, generator=seeded(0)), dim=-1)
    embeddings = torch.randn(6, 5, generator=seeded(1))
    embeddings[1], embeddings[2] = 7 * prompts[0], 0.1 * prompts[1]  # by cosine, whatever the length
    prompts[2] = 0
    kept = chosen(torch.arange(6.0)[:, None], cosines(embeddings, prompts))
    assert kept.flatten().tolist() == [1, 2, 4]


def test_outputs_made_together_are_kept_together():
    pipe, call = tiny.pipeline(), {"text": "a rooster", "outputs": ["image", "audio"], "num_inference_steps": 2}
    both = pipe(**call, num_candidates={"audio": 4}, generator=seeded(), output_type="latent")
    seen = []
    pipe(
        **call,
        num_candidates={"audio": 4},
        generator=seeded(),
        output_type="latent",
        callback_on_step_end=lambda pipe, step, timesteps, tensors: seen.append(tensors["latents"]),
    )
    last = seen[-1]
    assert {name: len(x) for name, x in last.items()} == dict.fromkeys(call["outputs"], 4)
    places = {name: [i for i in range(4) if torch.equal(last[name][i], both[name][0])] for name in call["outputs"]}
    assert places["image"] == places["audio"] != []


def test_what_is_kept_is_read_nearer_to_the_prompt_and_no_worse_the_more_there_are():
    pipe, text = tiny.pipeline(), "a rooster"
    found = [
        nearness(pipe, sounds(pipe, text=[text] * 6, num_candidates=number, generator=seeded()).audio, text)
        for number in (1, 2, 8)
    ]
    assert (found[1] >= found[0] - 1e-4).all() and (found[2] >= found[1] - 1e-4).all()
    assert (found[2] > found[0] + 1e-3).sum() > 3


def test_it_is_a_setting_of_the_model_and_each_output_may_have_its_own():
    own = tiny.pipeline(extras={"in_turn": {}, "candidates": {"num_candidates": {"audio": 8}}})
    call = {"text": "a rooster", "outputs": ["image", "audio"]}
    made, eight, one = (
        sounds(own, **call),
        sounds(own, **call, num_candidates={"audio": 8}),
        sounds(own, **call, num_candidates=1),
    )
    assert torch.equal(made.audio, eight.audio) and torch.equal(made.image, eight.image)
    assert not torch.equal(made.audio, one.audio)
    with pytest.raises(ArgumentError, match="belongs to the extra 'candidates'"):
        sounds(own, extras=(), num_candidates=2)
    with pytest.raises(ArgumentError, match="num_candidates: must be a whole number"):
        sounds(own, num_candidates=0)


@pytest.mark.parametrize("output", list(Modality))
def test_every_output_can_be_chosen_and_does_not_depend_on_its_batch(output):
    pipe = tiny.pipeline(extras={"proofreading": {}})
    call = {"outputs": [output], "num_candidates": 2, "output_type": "latent", "num_inference_steps": 2}
    both = pipe(text=["a rooster", "a red apple"], generator=[seeded(1), seeded(2)], **call)[output]
    alone = pipe(text="a red apple", generator=[seeded(2)], **call)[output]
    assert both.shape[0] == 2
    torch.testing.assert_close(both[1:], alone, atol=1e-3, rtol=0)


def test_without_a_prompt_the_first_is_kept_and_given_noise_is_the_only_one():
    pipe = tiny.pipeline()
    torch.testing.assert_close(sounds(pipe, num_candidates=3).audio, sounds(pipe).audio, atol=1e-4, rtol=0)
    noise = torch.randn(sounds(pipe).audio.shape, generator=seeded(5))
    given = {"text": "a rooster", "latents": {"audio": noise}}
    assert torch.equal(sounds(pipe, **given, num_candidates=3).audio, sounds(pipe, **given).audio)


def test_a_model_that_cannot_read_what_it_makes_cannot_choose():
    deaf = tiny.pipeline(audio_prompt_encoder=None)
    with pytest.raises(
        ArgumentError, match="no audio_prompt_encoder, which it needs to choose among candidates of audio"
    ):
        sounds(deaf, text="a rooster", num_candidates=2)
    assert sounds(deaf, text="a rooster").audio.isfinite().all()
