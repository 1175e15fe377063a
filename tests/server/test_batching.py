"""Jobs that wait together are made together, and come out as if each had been alone."""

import numpy as np
import pytest

from opencodi.server.batching import Work, call_arguments, run

from .. import tiny
from .serving import QUICK, serving

TOLERANCE = 2e-4
"""Of float32 sounds in [-1, 1]; pictures may differ by one of 255 levels. A batch adds up in another order, no more."""


def work(seed: int, inputs: dict, **more) -> Work:
    settings = {"num_inference_steps": 3, **more.pop("settings", {})}
    return Work(inputs, ["text", "image", "video", "audio"], more.pop("number", 1), seed, settings=settings, **more)


def same(one: dict, other: dict) -> bool:
    pictures = np.abs(np.asarray(one["image"][0], float) - np.asarray(other["image"][0], float)).max() <= 1
    clips = np.abs(one["video"][0].frames.astype(float) - other["video"][0].frames).max() <= 1
    sounds = np.abs(one["audio"][0].samples - other["audio"][0].samples).max() <= TOLERANCE
    return one["text"] == other["text"] and pictures and clips and sounds


@pytest.mark.parametrize("inputs", ["none", "text", "two texts", "all"])
@pytest.mark.parametrize("negative", [None, "a red apple"])
def test_results_in_a_batch_are_those_of_each_alone(pipe, inputs, negative):
    def inputs_of(seed: int) -> dict:
        media = {name: [item] for name, item in tiny.media(seed).items()}
        texts = {"text": [tiny.SENTENCES[seed], tiny.SENTENCES[seed - 1]]}
        return {"none": {}, "text": {"text": media["text"]}, "two texts": texts, "all": media}[inputs]

    works = [work(seed * 10, inputs_of(seed), number=seed, negative_prompt=negative) for seed in (1, 2, 3)]
    assert len({each.key for each in works}) == 1
    together = run(pipe, works, lambda _: None)
    alone = [run(pipe, [each], lambda _: None)[0] for each in works]
    assert [len(made["image"]) for made in together] == [1, 2, 3]
    assert all(same(one, other) for one, other in zip(together, alone, strict=True))
    assert not same(alone[0], alone[1])


def test_a_single_work_is_the_call_that_a_user_would_write(pipe):
    (made,) = run(pipe, [work(5, {"text": ["a rooster"]})], lambda _: None)
    straight = pipe(text="a rooster", outputs="all", num_inference_steps=3, generator=[tiny.seeded(5)])
    assert np.array_equal(np.asarray(made["image"][0]), np.asarray(straight.image[0]))
    assert made["text"] == straight.text


@pytest.mark.parametrize(
    "other",
    [
        work(1, {"text": ["a"]}, settings={"num_inference_steps": 4}),
        work(1, {"text": ["a", "b"]}),
        work(1, {"image": [tiny.media()["image"]]}),
        work(1, {"text": ["a"]}, settings={"weights": {"text": 2.0}}),
        work(1, {"text": ["a"]}, negative_prompt="b"),
        Work({"text": ["a"]}, ["image"], 1, 1, settings={"num_inference_steps": 3}),
    ],
)
def test_what_one_call_cannot_make_is_not_put_into_one(other):
    assert work(1, {"text": ["a"]}).key != other.key


def test_without_inputs_only_the_same_negative_prompt_fits():
    assert work(1, {}, negative_prompt="a").key != work(1, {}, negative_prompt="b").key
    assert call_arguments([work(1, {}, number=2), work(4, {})])["num_outputs_per_prompt"] == 3


def test_eight_waiting_jobs_are_one_run_and_each_is_as_alone(pipe):
    names = [tiny.SENTENCES[place % 4] for place in range(8)]
    with serving(pipe, max_batch=8) as running:
        long = running.busy()
        jobs = [running.generate(text=name, seed=seed) for seed, name in enumerate(names)]
        running.http.delete(f"/v1/generations/{long['id']}")
        together = [running.wait(job) for job in jobs]
        assert {job["together"] for job in together} == {8}
        alone = [running.make(text=name, seed=seed) for seed, name in enumerate(names)]
        assert {job["together"] for job in alone} == {1}
        pairs = [(running.picture(one), running.picture(other)) for one, other in zip(together, alone, strict=True)]
    assert all(np.abs(one - other).max() <= 1 for one, other in pairs)


def test_batches_stay_within_their_limit_and_others_settings_wait_their_turn(pipe):
    with serving(pipe, max_batch=3) as running:
        long = running.busy()
        plain = [running.generate(text="a rooster", seed=seed) for seed in range(4)]
        pair = running.generate(text="a drum", num_outputs_per_prompt=2)
        other = running.generate(text="a drum", num_inference_steps=3)
        running.http.delete(f"/v1/generations/{long['id']}")
        sizes = [running.wait(job)["together"] for job in [*plain, pair, other]]
    assert sizes == [3, 3, 3, 3, 3, 1]
    assert QUICK["num_inference_steps"] != 3
