"""Several threads on one pipeline, from its very first call on: each gets what it would get alone."""

import threading
from collections.abc import Callable
from functools import partial

import pytest
import torch

from opencodi import AnyToAnyPipeline

from . import tiny
from .tiny import latents

CALLS = (
    {"text": "a rooster", "outputs": ["image"]},
    {"text": "a red apple", "outputs": ["text", "audio"]},
    {"image": tiny.media()["image"], "outputs": ["audio"]},
    {**tiny.media(), "outputs": "all"},
)


def at_once(*works: Callable) -> list:
    """What several functions return, all begun at the same moment; raises what the first of them raised."""
    barrier, results, errors = threading.Barrier(len(works)), [None] * len(works), []

    def run(place: int, work: Callable) -> None:
        barrier.wait()
        try:
            results[place] = work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=each) for each in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not any(thread.is_alive() for thread in threads), "threads wait for one another"
    if errors:
        raise errors[0]
    return results


@pytest.fixture(scope="module")
def folder(pipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    pipe.save_pretrained(folder)
    return folder


def opened(folder, **options):
    pipe = AnyToAnyPipeline.from_pretrained(folder, **options)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def enable(pipe, way: str, folder) -> None:
    if way == "disk":
        pipe.enable_disk_offload()
    elif way == "model":
        pipe.enable_model_cpu_offload(device="cpu")
    elif way == "sequential":
        pipe.enable_sequential_cpu_offload(device="cpu")
    elif way == "group to disk":
        pipe.enable_group_offload("cpu", offload_type="leaf_level", offload_to_disk_path=folder)


@pytest.mark.parametrize("way", ["in memory", "disk", "model", "sequential", "group to disk"])
def test_the_first_calls_of_four_threads(pipe, folder, tmp_path, way):
    alone = [latents(pipe, seed, **call) for seed, call in enumerate(CALLS)]
    for _ in range(3 if way == "in memory" else 1):
        shared = opened(folder)
        enable(shared, way, tmp_path)
        works = [partial(latents, shared, seed, **call) for seed, call in enumerate(CALLS)]
        for made, expected in zip(at_once(*works), alone):
            assert made.keys() == expected.keys()
            for modality in expected:
                torch.testing.assert_close(made[modality], expected[modality], atol=1e-5, rtol=0)
        again = latents(shared, 0, **CALLS[0])  # usable afterwards
        torch.testing.assert_close(again["image"], alone[0]["image"], atol=1e-5, rtol=0)


def test_four_threads_load_a_part_once(folder):
    shared = opened(folder)
    found = at_once(*[lambda: shared.image_denoiser] * 4)
    assert len({id(part) for part in found}) == 1
    assert not any(parameter.is_meta for parameter in found[0].parameters())


def test_different_parts_are_loaded_at_once(folder, pipe):
    names = ["text_denoiser", "image_denoiser", "audio_denoiser", "image_prompt_encoder"]
    shared = opened(folder)
    for name, part in zip(names, at_once(*[lambda name=name: getattr(shared, name) for name in names])):
        assert not any(tensor.is_meta for tensor in part.state_dict().values())
        assert all(torch.equal(tensor, pipe.components[name].state_dict()[key]) for key, tensor in part.state_dict().items())


def test_loading_in_half_precision_does_not_change_the_precision_of_others(folder, pipe):
    expected = latents(pipe, **CALLS[1])
    for _ in range(3):
        half, whole = opened(folder, torch_dtype=torch.float16), opened(folder)
        works = [partial(latents, half, **CALLS[0])] * 2 + [partial(latents, whole, **CALLS[1])] * 3
        for made in at_once(half.parts.load_all, *works)[3:]:
            torch.testing.assert_close(made["audio"], expected["audio"], atol=0, rtol=0)
        assert torch.get_default_dtype() == torch.float32
        assert {tensor.dtype for tensor in half.image_denoiser.state_dict().values()} == {torch.float16}


def test_the_shipped_model_serves_four_threads():
    shared = opened("stickers")
    call = {"num_inference_steps": 1, "num_candidates": 1}
    outputs = ("image", "text", "audio", "image")
    made = at_once(*[lambda output=output: shared("a cat", outputs=output, **call) for output in outputs])
    assert [out[output] is not None for out, output in zip(made, outputs)] == [True] * 4
    for _ in range(2):
        at_once(*[lambda: shared("a cat", outputs="text", **call)] * 4)
    assert shared("a cat", outputs="image", **call).image[0].size == (64, 64)
