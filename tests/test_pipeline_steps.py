"""Guidance, steps, callbacks and schedulers of the pipeline."""

import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    UniPCMultistepScheduler,
)

from . import tiny
from .tiny import differ, latents


def test_guidance_of_one_runs_no_doubled_batch(pipe, monkeypatch):
    sizes = []
    forward = pipe.image_denoiser.forward

    def watched(sample, *args, **kwargs):
        sizes.append(sample.shape[0])
        return forward(sample, *args, **kwargs)

    monkeypatch.setattr(pipe.image_denoiser, "forward", watched)
    latents(pipe, text="a rooster", guidance_scale=1)
    assert sizes == [1, 1]
    latents(pipe, text="a rooster", guidance_scale=2.0)
    assert sizes == [1, 1, 2, 2]


def test_guidance_changes_the_result_for_each_output_by_itself(pipe):
    call = {"text": "a rooster", "outputs": ["image", "audio"]}
    pipe = tiny.pipeline(
        exchange="self", **{name: getattr(pipe, name) for name in ("image_denoiser", "audio_denoiser")}
    )
    plain = latents(pipe, **call, guidance_scale=1.0)
    guided = latents(pipe, **call, guidance_scale={"image": 6.0, "audio": 1.0})
    assert differ(plain["image"], guided["image"])
    torch.testing.assert_close(plain["audio"], guided["audio"], atol=1e-5, rtol=0)


def test_a_negative_prompt_takes_the_place_of_nothing(pipe):
    plain = latents(pipe, text="a rooster")["image"]
    negative = latents(pipe, text="a rooster", negative_prompt="a red apple")["image"]
    assert differ(plain, negative)
    assert torch.equal(negative, latents(pipe, text="a rooster", negative_prompt=["a red apple"])["image"])
    # Led away from the prompt itself, guidance has nowhere to go.
    nowhere = latents(pipe, text="a rooster", negative_prompt="a rooster")["image"]
    unguided = latents(pipe, text="a rooster", guidance_scale=1)["image"]
    torch.testing.assert_close(nowhere, unguided, atol=1e-5, rtol=0)
    assert differ(latents(pipe)["image"], latents(pipe, negative_prompt="a rooster")["image"])


def test_each_output_takes_its_own_number_of_steps(pipe):
    stepped = []
    latents(
        pipe,
        outputs=["text", "image"],
        num_inference_steps={"image": 4, "text": 2},
        callback_on_step_end=lambda pipe, step, timesteps, tensors: stepped.append(sorted(timesteps)),
    )
    assert len(stepped) == 4
    assert sum("image" in names for names in stepped) == 4
    assert sum("text" in names for names in stepped) == 2


def test_outputs_not_named_keep_the_default_number_of_steps(pipe):
    ticks = []
    latents(
        pipe,
        outputs=["text", "image"],
        num_inference_steps={"image": 1},
        guidance_scale=1,
        callback_on_step_end=lambda pipe, step, timesteps, tensors: ticks.append(step),
    )
    assert ticks == list(range(20))


def test_the_callback_sees_and_replaces_latents(pipe):
    seen = []

    def silence(pipeline, step, timesteps, tensors):
        assert pipeline is pipe
        seen.append((step, {name: tensor.shape for name, tensor in tensors["latents"].items()}))
        return {"latents": {"audio": torch.zeros_like(tensors["latents"]["audio"])}}

    made = latents(pipe, outputs=["image", "audio"], callback_on_step_end=silence)
    assert seen == [(step, {"image": (1, 4, 4, 4), "audio": (1, 4, 4, 4)}) for step in range(2)]
    assert made["audio"].abs().max() == 0
    assert made["image"].abs().max() > 0


def test_several_outputs_per_prompt_follow_their_prompt(pipe):
    out = latents(pipe, text=["a rooster", "a red apple"], num_outputs_per_prompt=2)["image"]
    assert out.shape[0] == 4
    noise = torch.zeros(4, 4, 4, 4)
    same_noise = latents(pipe, text=["a rooster", "a red apple"], num_outputs_per_prompt=2, latents={"image": noise})[
        "image"
    ]
    torch.testing.assert_close(same_noise[0], same_noise[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(same_noise[2], same_noise[3], atol=1e-5, rtol=0)
    assert differ(same_noise[0], same_noise[2])


@pytest.mark.parametrize(
    "scheduler",
    [
        DPMSolverMultistepScheduler.from_config(tiny.scheduler().config),
        UniPCMultistepScheduler.from_config(tiny.scheduler().config),
        FlowMatchEulerDiscreteScheduler(),
    ],
    ids=lambda scheduler: type(scheduler).__name__,
)
def test_the_scheduler_can_be_swapped(scheduler):
    pipe = tiny.pipeline()
    before = latents(pipe, text="a rooster", outputs=["image", "audio"], num_inference_steps=4)
    pipe.scheduler = scheduler
    after = latents(pipe, text="a rooster", outputs=["image", "audio"], num_inference_steps=4)
    for modality in before:
        assert after[modality].isfinite().all()
        assert differ(before[modality], after[modality])
    again = latents(pipe, text="a rooster", outputs=["image", "audio"], num_inference_steps=4)
    assert torch.equal(after["image"], again["image"])


def test_schedulers_of_second_order_are_counted_right():
    pipe = tiny.pipeline(scheduler=HeunDiscreteScheduler(beta_schedule="scaled_linear"))
    ticks = []
    out = latents(
        pipe,
        text="a rooster",
        outputs=["image", "text"],
        num_inference_steps={"image": 4, "text": 2},
        callback_on_step_end=lambda pipe, step, timesteps, tensors: ticks.append(step),
    )
    assert len(ticks) == pipe.num_ticks(["image", "text"], ["text"], {"image": 4, "text": 2}) == 7
    assert all(latent.isfinite().all() for latent in out.values())
