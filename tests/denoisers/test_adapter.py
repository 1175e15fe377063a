"""Adapters come for a call and leave without a trace; what a call exchanges stays in the call."""

import threading

import pytest
import torch

from opencodi.denoisers import ComposedDenoiser, Context
from opencodi.errors import ConfigurationError
from opencodi.modality import Modality

from .tiny_nets import image_net, joint_nets, noise, prompt, temporal_for

TIMES = torch.tensor([100.0, 700.0])


def traces(net: torch.nn.Module) -> list:
    """Everything that is on the modules of a network."""
    return [(name, {key: repr(value) for key, value in vars(module).items()}) for name, module in net.named_modules()]


@torch.no_grad()
def test_after_a_call_nothing_is_left_and_the_plain_network_gives_the_same_bits():
    net, clip, picture = joint_nets()[Modality.VIDEO], *noise(Modality.VIDEO, Modality.IMAGE).values()
    before, expected = traces(net.denoiser), net.denoiser(picture, TIMES, prompt())
    net(clip, TIMES, prompt(), net.environment(clip, TIMES))
    assert traces(net.denoiser) == before
    assert torch.equal(net.denoiser(picture, TIMES, prompt()), expected)


def test_an_error_within_a_call_leaves_nothing_either():
    net = joint_nets()[Modality.IMAGE]
    before = traces(net.denoiser)
    with pytest.raises(RuntimeError):
        net(torch.zeros(2, 3, 8, 8), TIMES, torch.zeros(2, 1, 5))  # a prompt of another width
    assert traces(net.denoiser) == before


@torch.no_grad()
def test_attached_twice_it_acts_once_and_stays_until_the_last_has_left():
    net, clip = joint_nets()[Modality.VIDEO], noise(Modality.VIDEO)[Modality.VIDEO]
    before, expected = traces(net.denoiser), net(clip, TIMES, prompt())
    with net.temporal.attached(net.denoiser):
        with net.temporal.attached(net.denoiser):
            assert torch.equal(net(clip, TIMES, prompt()), expected)
        assert traces(net.denoiser) != before
        assert torch.equal(net(clip, TIMES, prompt()), expected)
    assert traces(net.denoiser) == before


@torch.no_grad()
def test_while_attached_it_acts_only_on_calls_that_name_it():
    net, picture = joint_nets()[Modality.IMAGE], noise(Modality.IMAGE)[Modality.IMAGE]
    expected = net.denoiser(picture, TIMES, prompt())
    with net.alignment.attached(net.denoiser):
        assert torch.equal(net.denoiser(picture, TIMES, prompt()), expected)


@torch.no_grad()
def test_threads_with_different_calls_on_one_network_do_not_mix():
    """Two threads with partners of their own, one without, one with clips, and one on the plain network."""
    net = joint_nets()[Modality.IMAGE]
    clip, picture = noise(Modality.VIDEO, Modality.IMAGE).values()
    partners = [torch.randn(2, 2, 10, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    calls = [
        lambda: net(picture, TIMES, prompt(), Context(partners[0])),
        lambda: net(picture, TIMES, prompt(seed=4), Context(partners[1], rows=torch.tensor([True, False]))),
        lambda: net(picture, TIMES, prompt()),
        lambda: net(clip, TIMES, prompt(), Context(partners[1])),
        lambda: net.denoiser(picture, TIMES, prompt()),
    ]
    before, expected = traces(net.denoiser), [call() for call in calls]
    start, found, errors = threading.Barrier(len(calls)), [[] for _ in calls], []

    def work(number: int) -> None:
        try:
            with torch.no_grad():
                start.wait()
                for _ in range(15):
                    found[number].append(calls[number]())
        except Exception as error:  # a thread's error would be lost
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for made, wanted in zip(found, expected):
        assert len(made) == 15 and all(torch.equal(each, wanted) for each in made)
    assert traces(net.denoiser) == before


def test_an_adapter_of_another_network_names_the_module_that_is_missing():
    small, large = image_net(), image_net(num_res_blocks=(3, 3))
    net = ComposedDenoiser(small, temporal_for(large))
    with pytest.raises(ConfigurationError, match="UNet has no module 'encoder"):
        net(torch.zeros(1, 3, 2, 8, 8), TIMES[:1], prompt(1))
