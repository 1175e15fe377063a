"""How outputs that are made in turn see one another."""

import torch
import torch.nn.functional as F

from opencodi.extras.rereading import joined_by
from opencodi.prompts import Condition

from .. import tiny
from ..tiny import latents

IN_TURN = {"in_turn": {"order": ["text", "image"]}}


def test_outputs_in_turn_take_more_ticks_and_see_each_other_differently():
    together, in_turn = tiny.pipeline(), tiny.pipeline(extras={"in_turn": {"order": ["audio", "image"]}})
    call = {"text": "a rooster", "outputs": ["image", "audio"], "num_inference_steps": 4}
    ticks = []
    made = latents(in_turn, **call, callback_on_step_end=lambda pipe, step, *_: ticks.append(step))
    assert ticks == list(range(in_turn.num_ticks(call["outputs"], ["text"], 4))) == list(range(8))
    assert together.num_ticks(call["outputs"], ["text"], 4) == in_turn.num_ticks(call["outputs"], ["text"], 4, ()) == 4
    assert not torch.equal(made["image"], latents(together, **call)["image"])
    assert torch.equal(
        made["audio"], latents(together, text="a rooster", outputs=["audio"], num_inference_steps=4)["audio"]
    )
    assert torch.equal(latents(in_turn, text="a dog")["image"], latents(together, text="a dog")["image"])


def test_without_extras_outputs_are_made_together():
    plain, extended = tiny.pipeline(), tiny.pipeline(extras=IN_TURN | {"rereading": {}, "text_bridge": {}})
    call = {"text": "a rooster", "outputs": ["image", "audio"], "num_inference_steps": 2}
    expected, found = latents(plain, **call), latents(extended, **call, extras=())
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert not torch.equal(latents(extended, **call)["image"], expected["image"])


def test_a_finished_output_is_read_as_an_input_is():
    call = {"text": "a rooster", "outputs": ["text", "image"], "num_inference_steps": 2}
    felt, read = tiny.pipeline(extras=IN_TURN), tiny.pipeline(extras=IN_TURN | {"rereading": {"weight": 4.0}})
    seen = []
    encode = read.text_prompt_encoder.read
    read.text_prompt_encoder.read = lambda items: seen.append(list(items)) or encode(items)
    made = latents(read, **call)
    first = read(**call, generator=torch.Generator().manual_seed(0)).text
    assert seen[:2] == [["a rooster"], first], "the name that was made is read before the picture begins"
    before = latents(felt, **call)
    assert torch.equal(made["text"], before["text"]) and not torch.equal(made["image"], before["image"])


def test_a_finished_output_that_nothing_reads_does_not_join_the_prompt():
    order = {"in_turn": {"order": ["image", "text"]}}
    call = {"text": "a rooster", "outputs": ["text", "image"], "num_inference_steps": 2}
    blind = tiny.pipeline(extras=order | {"rereading": {}}, image_prompt_encoder=None)
    assert torch.equal(latents(blind, **call)["text"], latents(tiny.pipeline(extras=order), **call)["text"])


def test_an_output_joins_a_prompt_with_its_weight_and_alone_where_there_is_none():
    tokens = F.normalize(torch.randn(2, 1, 12, generator=torch.Generator().manual_seed(9)), dim=-1)
    prompt_before = Condition(tokens, torch.ones(2, 1, dtype=torch.bool))
    shown = torch.randn(2, 3, 12, generator=torch.Generator().manual_seed(1))
    direction = F.normalize(shown.mean(1), dim=-1)
    joined = joined_by(prompt_before, [shown], 0.5).tokens[:, 0]
    torch.testing.assert_close(joined, F.normalize(prompt_before.tokens[:, 0] + 0.5 * direction, dim=-1))
    torch.testing.assert_close(joined_by(Condition.zeros(2, 12, like=shown), [shown], 2.0).tokens[:, 0], direction)
    assert joined_by(prompt_before, [shown], 0.0) is prompt_before
