"""Attending once to what does not change gives what attending at every step gives."""

from copy import deepcopy

import pytest
import torch

from opencodi.denoisers import Context
from opencodi.modality import Modality
from tests.denoisers.tiny_nets import joint_nets, noise, prompt

ALL = list(Modality)
TIMESTEPS = torch.tensor([100.0, 700.0])


@pytest.mark.parametrize("modality", ALL)
@torch.no_grad()
def test_a_kept_prompt_gives_the_same_bits_as_a_fresh_one(modality):
    net, context = joint_nets()[modality], joint_nets()[modality].context(prompt())
    for seed in range(2):
        x = noise(modality, seed=seed)[modality]
        environment = net.environment(x, TIMESTEPS)
        fresh = net(x, TIMESTEPS, prompt(), environment)
        assert torch.equal(net(x, TIMESTEPS, context, Context(environment)), fresh)


@torch.no_grad()
def test_a_kept_prompt_is_projected_once():
    net, x = deepcopy(joint_nets()[Modality.IMAGE]), noise(Modality.IMAGE)[Modality.IMAGE]
    context, seen = net.context(prompt()), []
    for name, module in net.named_modules():
        if name.endswith(".attention.attn2.to_v"):
            module.register_forward_hook(lambda *_, name=name: seen.append(name))
    for _ in range(3):
        net(x, TIMESTEPS, context)
    assert seen and len(seen) == len(set(seen))


@pytest.mark.parametrize("modality", ALL)
@pytest.mark.parametrize("num_tokens", [1, 2])
@torch.no_grad()
def test_only_the_rows_that_see_an_environment_are_changed_by_it(modality, num_tokens):
    net, x = joint_nets()[modality], noise(modality, batch_size=4)[modality]
    times, generator = torch.linspace(10, 900, 4), torch.Generator().manual_seed(3)
    tokens = torch.randn(4, num_tokens, 10, generator=generator)
    rows = torch.tensor([False, True, False, True])
    alone, seen = net(x, times, prompt(4)), net(x, times, prompt(4), tokens)
    mixed = net(x, times, prompt(4), Context(tokens, rows=rows))
    torch.testing.assert_close(mixed[rows], seen[rows], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mixed[~rows], alone[~rows], atol=1e-6, rtol=0)
    assert (seen - alone)[rows].abs().max() > 1e-3
    assert torch.equal(net(x, times, prompt(4), Context(tokens, rows=torch.zeros(4, dtype=torch.bool))), alone)


@torch.no_grad()
def test_passes_below_one_another_see_what_they_are_told_to():
    net, x = joint_nets()[Modality.IMAGE], noise(Modality.IMAGE)[Modality.IMAGE]
    tokens = net.environment(x, TIMESTEPS)
    passes = net(
        torch.cat([x, x]), torch.cat([TIMESTEPS] * 2), prompt().repeat(2, 1, 1), Context(tokens).stacked([False, True])
    )
    torch.testing.assert_close(passes[:2], net(x, TIMESTEPS, prompt()), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(passes[2:], net(x, TIMESTEPS, prompt(), tokens), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("modality", ALL)
@torch.no_grad()
def test_tokens_that_do_not_count_change_nothing(modality):
    net, x, tokens = joint_nets()[modality], noise(modality)[modality], prompt(num_tokens=3)
    mask = torch.tensor([[True, True, False], [True, True, False]])
    masked = net(x, TIMESTEPS, net.context(tokens, mask))
    torch.testing.assert_close(masked, net(x, TIMESTEPS, tokens[:, :2]), atol=1e-5, rtol=1e-5)
    assert (masked - net(x, TIMESTEPS, tokens)).abs().max() > 1e-3
    # A mask is per sample, so one prompt of a batch may be longer than another.
    uneven = net(x, TIMESTEPS, net.context(tokens, torch.tensor([[True, False, False], [True, True, True]])))
    torch.testing.assert_close(uneven[:1], net(x, TIMESTEPS, tokens[:, :1])[:1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(uneven[1:], net(x, TIMESTEPS, tokens)[1:], atol=1e-5, rtol=1e-5)


def test_training_gets_its_gradients_through_a_fresh_context_each_time():
    net, x = joint_nets()[Modality.IMAGE], noise(Modality.IMAGE)[Modality.IMAGE]
    tokens = prompt().requires_grad_()
    first, second = (torch.autograd.grad(net(x, TIMESTEPS, tokens).square().sum(), tokens)[0] for _ in range(2))
    assert torch.equal(first, second) and first.abs().max() > 0
