"""Targets are what the schedulers' own steps assume: a perfect prediction leads back to the data."""

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from opencodi.training.objective import blurred, draw_timesteps, noised


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_the_target_is_what_a_diffusion_scheduler_inverts(prediction_type, generator):
    scheduler = DDIMScheduler(prediction_type=prediction_type, clip_sample=False)
    scheduler.set_timesteps(1000)
    latents, noise = torch.randn(2, 3, 4, 4, 4, generator=generator)
    timesteps = torch.full((3,), 600)
    noisy, target = noised(scheduler, latents, noise, timesteps)
    found = scheduler.step(target, 600, noisy).pred_original_sample
    torch.testing.assert_close(found, latents, atol=1e-4, rtol=1e-4)


def test_a_perfect_flow_leads_from_noise_to_data(generator):
    scheduler = FlowMatchEulerDiscreteScheduler()
    latents, noise = torch.randn(2, 3, 5, generator=generator)
    noisy, target = noised(scheduler, latents, noise, torch.full((3,), 1000.0))
    torch.testing.assert_close(noisy, noise)
    scheduler.set_timesteps(4)
    x = noise
    for t in scheduler.timesteps:
        x = scheduler.step(target, t, x).prev_sample
    torch.testing.assert_close(x, latents, atol=1e-5, rtol=1e-5)


def test_timesteps_cover_the_schedule_and_repeat_with_the_seed(generator):
    scheduler = DDIMScheduler(num_train_timesteps=50)
    drawn = draw_timesteps(scheduler, 2000, generator, torch.device("cpu"))
    assert set(drawn.tolist()) == set(range(50))
    again = draw_timesteps(scheduler, 2000, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert torch.equal(drawn, again)


def test_blurred_embeddings_are_unit_and_each_strays_by_its_own_amount_up_to_the_most(generator):
    embeddings = torch.nn.functional.normalize(torch.randn(4000, 256, generator=generator), dim=-1)
    found = blurred(embeddings, 0.06, generator)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(4000))
    tangent = (1 / (found * embeddings).sum(1).square() - 1).clamp_min(0).sqrt() / 16  # its size per dimension
    assert tangent.min() < 0.003 and 0.055 < tangent.max() < 0.075
    assert tangent.mean() == pytest.approx(0.03, rel=0.05)
    torch.testing.assert_close(blurred(embeddings, 0.0, generator), embeddings)
