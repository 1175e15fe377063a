"""Whole trajectories of the reference, through our joint sampler and diffusers' DDIM (SPEC §5; tolerance 1e-3)."""

import pytest
import torch
from diffusers import DDIMScheduler

from opencodi.modality import Modality
from opencodi.prompts import Condition
from opencodi.prompts.mixing import mix
from opencodi.sampling import Guidance, sample
from tests.denoisers.reference import cases, denoisers, descriptions
from tests.published import assert_close


def reference_scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        set_alpha_to_one=False,
        clip_sample=False,
        timestep_spacing="leading",
    )


def one_token(tokens: torch.Tensor) -> Condition:
    return Condition(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool))


@pytest.mark.parametrize("name", ["ddim_joint_image_audio", "ddim_video", "ddim_text"])
def test_every_step_of_a_stored_trajectory_is_reproduced(name):
    case, stored = descriptions()[name], cases()
    modalities = [Modality(kind) for kind in case["xtype"]]
    weights = [case["mix_weight"][kind] for kind in case["condition_types"]]
    halves = [stored[f"{name}.cond.{i}"].chunk(2) for i in range(len(weights))]
    unconditional, condition = (mix([one_token(half[i]) for half in halves], weights) for i in (0, 1))
    trajectory = []
    result = sample(
        denoisers(case["xtype"]),
        dict.fromkeys(modalities, reference_scheduler()),
        {m: stored[f"{name}.xT.{m}"] for m in modalities},
        condition,
        unconditional,
        num_inference_steps=dict.fromkeys(modalities, case["steps"]),
        guidance=dict.fromkeys(modalities, Guidance(case["scale"])),
        exchange="self",
        callback=lambda timesteps, latents: trajectory.append(latents),
    )
    assert len(trajectory) == case["steps"]
    for i, latents in enumerate(trajectory):
        for m in modalities:
            assert_close(latents[m], stored[f"{name}.step{i}.xt.{m}"], 1e-3)
    assert all(torch.equal(result[m], trajectory[-1][m]) for m in modalities)


def test_the_noise_schedule_is_the_references():
    scheduler, stored = reference_scheduler(), cases()
    assert_close(scheduler.betas, stored["schedule.betas"], 1e-7)
    assert_close(scheduler.alphas_cumprod, stored["schedule.alphas_cumprod"], 1e-6)
    assert_close(scheduler.alphas_cumprod.sqrt(), stored["schedule.sqrt_alphas_cumprod"], 1e-6)
    assert_close((1 - scheduler.alphas_cumprod).sqrt(), stored["schedule.sqrt_one_minus_alphas_cumprod"], 1e-6)


@pytest.mark.parametrize("steps", [5, 20, 50])
def test_step_counts_that_divide_1000_give_the_references_timesteps(steps):
    scheduler, stored = reference_scheduler(), cases()
    scheduler.set_timesteps(steps)
    ascending = scheduler.timesteps.flip(0)
    assert torch.equal(ascending, stored[f"ddim{steps}.timesteps"].to(ascending.dtype))
    assert_close(scheduler.alphas_cumprod[ascending], stored[f"ddim{steps}.alphas"].float(), 1e-6)
    previous = ascending - 1000 // steps
    alphas = torch.where(previous >= 0, scheduler.alphas_cumprod[previous.clamp(min=0)], scheduler.final_alpha_cumprod)
    assert_close(alphas, stored[f"ddim{steps}.alphas_prev"].float(), 1e-6)


def test_asking_for_30_steps_gives_30_where_the_reference_runs_31():
    """1000 // 30 = 33 makes the reference walk 0, 33, … 990: 31 steps. diffusers stops after the 30 asked for."""
    scheduler = reference_scheduler()
    scheduler.set_timesteps(30)
    theirs = cases()["ddim30.timesteps"]
    assert len(theirs) == 31 and len(scheduler.timesteps) == 30
    assert torch.equal(scheduler.timesteps.flip(0), theirs[:30].to(scheduler.timesteps.dtype))
