"""How outputs that are made together exchange, as a model's own settings say."""

import torch

from opencodi import Modality

from . import tiny
from .tiny import latents


def test_outputs_in_turn_take_more_ticks_and_see_each_other_differently():
    together, in_turn = tiny.pipeline(), tiny.pipeline(exchange_order=["audio", "image"], exchange_lag=0.5)
    call = {"text": "a rooster", "outputs": ["image", "audio"], "num_inference_steps": 4}
    ticks = []
    made = latents(in_turn, **call, callback_on_step_end=lambda pipe, step, *_: ticks.append(step))
    assert ticks == list(range(in_turn.num_ticks({Modality.IMAGE: 4, Modality.AUDIO: 4}))) == list(range(6))
    before = latents(together, **call)
    assert not torch.equal(made["image"], before["image"])
    assert torch.equal(latents(in_turn, text="a dog")["image"], latents(together, text="a dog")["image"])


def test_guidance_towards_the_others_works_without_any_prompt():
    plain, guided = tiny.pipeline(), tiny.pipeline(guide_exchange=True)
    call = {"outputs": ["image", "audio"], "num_inference_steps": 2, "guidance_scale": 4.0}
    assert not torch.equal(latents(guided, **call)["image"], latents(plain, **call)["image"])
    assert torch.equal(latents(guided, outputs=["image"])["image"], latents(plain, outputs=["image"])["image"])


def test_a_finished_output_is_read_as_an_input_is():
    settings = {"exchange_order": ["text", "image"], "exchange_lag": 1.0, "exchange_weight": 4.0}
    call = {"text": "a rooster", "outputs": ["text", "image"], "num_inference_steps": 2}
    felt, read = tiny.pipeline(**settings), tiny.pipeline(**settings, reread_outputs=True)
    seen = []
    encode = read.text_prompt_encoder.encode
    read.text_prompt_encoder.encode = lambda items: seen.append(list(items)) or encode(items)
    made = latents(read, **call)
    first = read(**call, generator=torch.Generator().manual_seed(0)).text
    assert seen[:2] == [["a rooster"], first], "the name that was made is read before the picture begins"
    before = latents(felt, **call)
    assert torch.equal(made["text"], before["text"]) and not torch.equal(made["image"], before["image"])


def test_a_finished_output_that_nothing_reads_is_felt_by_its_environment():
    settings = {"exchange_order": ["image", "text"], "exchange_lag": 1.0, "exchange_weight": 4.0}
    call = {"text": "a rooster", "outputs": ["text", "image"], "num_inference_steps": 2}
    blind = tiny.pipeline(**settings, reread_outputs=True, image_prompt_encoder=None)
    felt = tiny.pipeline(**settings)
    assert torch.equal(latents(blind, **call)["text"], latents(felt, **call)["text"])
