"""Predictions of a tick in several threads: the same results, and nothing of it is left behind."""

import threading

import pytest
import torch

from opencodi.modality import Modality
from opencodi.sampling import Guidance, sample
from tests.denoisers.tiny_nets import joint_nets, noise

from .test_sample import SCHEDULERS, condition, run


def even() -> dict[str, torch.Tensor]:
    """Latents of about one size, so that two threads have equal work."""
    long_sound = torch.randn(2, 2, 16, 8, generator=torch.Generator().manual_seed(0))
    return noise(Modality.IMAGE) | {Modality.AUDIO: long_sound}


@pytest.fixture(autouse=True)
def _two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


class Watched:
    """A denoiser that notes in which threads it ran, with how many threads an operation, and how large its batch was."""

    def __init__(self, inner):
        self.inner, self.seen = inner, []

    def __call__(self, sample, *others):
        mine = threading.current_thread().name.startswith("denoiser")
        self.seen.append((mine, torch.get_num_threads(), torch.is_grad_enabled(), len(sample)))
        return self.inner(sample, *others)

    def __getattr__(self, name):
        return getattr(self.inner, name)


def watched_run(latents, scale=2.0, **options):
    nets = {m: Watched(net) for m, net in joint_nets().items()}
    each = dict.fromkeys
    made = sample(
        nets,
        each(latents, SCHEDULERS["ddim"]),
        latents,
        condition(),
        condition(seed=8),
        num_inference_steps=each(latents, 2),
        guidance=each(latents, Guidance(scale)),
        **options,
    )
    return made, {m: net.seen for m, net in nets.items() if net.seen}


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_what_is_made_in_threads_is_what_is_made_in_one(scale):
    apart, seen = watched_run(even(), scale, side_by_side=True)
    assert all(each == (True, 1, False, each[3]) for calls in seen.values() for each in calls)
    torch.testing.assert_close(apart, run(even(), scale=scale, steps=2), atol=1e-5, rtol=1e-5)
    assert torch.get_num_threads() == 2


def test_both_passes_of_a_single_output_run_side_by_side():
    made, seen = watched_run(noise(Modality.IMAGE), side_by_side=True)
    assert [each[3] for each in seen[Modality.IMAGE]] == [2, 2, 2, 2]
    torch.testing.assert_close(made, run(noise(Modality.IMAGE), steps=2), atol=1e-5, rtol=1e-5)


def test_one_prediction_that_is_nearly_all_of_the_work_has_all_threads():
    latents = noise(Modality.TEXT) | {Modality.IMAGE: torch.randn(2, 3, 16, 16)}
    _, seen = watched_run(latents, scale=1.0, side_by_side=True)
    assert {each[:2] for calls in seen.values() for each in calls} == {(False, 2)}


def test_without_being_told_no_thread_is_started():
    _, seen = watched_run(even())
    assert {each[:2] for calls in seen.values() for each in calls} == {(False, 2)}


def test_an_error_in_a_thread_is_the_callers_and_threads_are_as_before(monkeypatch):
    def broken(*_):
        raise RuntimeError("broken network")

    monkeypatch.setattr(Watched, "__call__", broken)
    with pytest.raises(RuntimeError, match="broken network"):
        watched_run(even(), side_by_side=True)
    assert torch.get_num_threads() == 2


def test_two_calls_at_once_leave_the_number_of_threads_alone():
    def make():
        for _ in range(3):
            run(even(), steps=2, side_by_side=True)

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.get_num_threads() == 2
    run(even(), steps=1, side_by_side=True)
