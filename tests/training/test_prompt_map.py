"""The prompt map alone learns what a prompt's latents look like on average."""

import pytest
import torch

from opencodi.denoisers import UNet
from opencodi.errors import ConfigurationError
from opencodi.training.prompt_map import fit_prompt_map, prompt_map_loss

CONFIG = {
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 16,
    "num_res_blocks": (1, 1),
    "num_attention_heads": 1,
    "norm_num_groups": 4,
    "cross_attention_dim": 8,
    "context_scale": 4.0,
    "prompt_map_size": (4, 4),
}


def test_the_map_learns_the_mean_of_each_prompt_and_nothing_else_changes(generator):
    torch.manual_seed(0)
    denoiser = UNet(**CONFIG, prompt_map_dim=64)
    before = {name: value.clone() for name, value in denoiser.state_dict().items()}
    conditions = torch.nn.functional.normalize(torch.randn(2, 8, generator=generator), dim=-1)
    means = torch.randn(2, 4, 4, 4, generator=generator)

    def draw(count):
        chosen = torch.randint(0, 2, (count,), generator=generator)
        return conditions[chosen], means[chosen] + 0.1 * torch.randn(count, 4, 4, 4, generator=generator)

    losses = fit_prompt_map(denoiser, draw, 300)
    assert len(losses) == 300
    # The noise of variance 0.01 is what a mean cannot explain.
    assert losses[-1] < 0.03 < 0.5 < losses[0]
    assert prompt_map_loss(denoiser, conditions, means) < 0.02
    changed = {name for name, value in denoiser.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"prompt_map.linear_{i}.{kind}" for i in (1, 2) for kind in ("weight", "bias")}
    assert all(parameter.grad is None for parameter in denoiser.parameters())


def test_the_motion_map_learns_the_course_of_each_prompt_beside_a_frozen_prompt_map(generator):
    torch.manual_seed(0)
    denoiser = UNet(**CONFIG, prompt_map_dim=16, temporal=True, temporal_num_heads=1, motion_map_dim=64)
    before = {name: value.clone() for name, value in denoiser.state_dict().items()}
    conditions = torch.nn.functional.normalize(torch.randn(2, 8, generator=generator), dim=-1)
    # Once round in one clip, thrice in the other: the fastest that three harmonics follow.
    angles = 2 * torch.pi * torch.arange(8) / 8 * torch.tensor([[1], [3]])
    clips = torch.randn(2, 4, 1, 4, 4, generator=generator) + angles.cos()[:, None, :, None, None]

    def draw(count):
        chosen = torch.randint(0, 2, (count,), generator=generator)
        return conditions[chosen], clips[chosen]

    losses = fit_prompt_map(denoiser, draw, 300)
    assert losses[-1] < 0.01 < 0.5 < losses[0]
    changed = {name for name, value in denoiser.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"motion_map.linear_{i}.{kind}" for i in (1, 2) for kind in ("weight", "bias")}


def test_a_network_without_a_map_is_refused_with_the_value_to_set():
    with pytest.raises(ConfigurationError, match="set prompt_map_dim"):
        fit_prompt_map(UNet(**CONFIG), lambda count: (None, torch.zeros(1, 4, 4, 4)), 1)
    still = UNet(**CONFIG, prompt_map_dim=8, temporal=True, temporal_num_heads=1)
    with pytest.raises(ConfigurationError, match="set motion_map_dim"):
        fit_prompt_map(still, lambda count: (None, torch.zeros(1, 4, 2, 4, 4)), 1)
