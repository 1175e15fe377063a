"""Joint generation: who sees whom."""

import pytest
import torch

from opencodi.denoisers import environment_tokens, joint_forward
from opencodi.errors import ArgumentError
from opencodi.modality import Modality
from tests.denoisers.tiny_nets import joint_nets, noise, prompt

PAIRS = [(a, b) for a in Modality for b in Modality if a != b]


def run(latents, exchange="others", **options):
    timesteps = dict.fromkeys(latents, torch.tensor([100.0, 700.0]))
    with torch.no_grad():
        return joint_forward(joint_nets(), latents, timesteps, prompt(), exchange, **options)


@pytest.mark.parametrize(("watched", "changed"), PAIRS)
def test_a_modality_sees_the_other_ones_latent_and_with_self_it_does_not(watched, changed):
    latents = noise(watched, changed)
    altered = {**latents, changed: noise(changed, seed=1)[changed]}
    assert (run(latents)[watched] - run(altered)[watched]).abs().max() > 1e-4
    assert torch.equal(run(latents, "self")[watched], run(altered, "self")[watched])


def test_all_four_together_see_one_another():
    latents = noise(*Modality)
    altered = {**latents, Modality.TEXT: noise(Modality.TEXT, seed=1)[Modality.TEXT]}
    before, after = run(latents), run(altered)
    assert all((before[m] - after[m]).abs().max() > 1e-5 for m in Modality)
    assert all(before[m].shape == latents[m].shape for m in Modality)


def test_one_modality_runs_without_alignment():
    latents = noise(Modality.IMAGE)
    alone = joint_nets()[Modality.IMAGE](latents[Modality.IMAGE], torch.tensor([100.0, 700.0]), prompt())
    assert torch.equal(run(latents)[Modality.IMAGE], alone)


def test_only_the_others_timestep_matters_to_what_is_seen_of_it():
    latents = noise(Modality.IMAGE, Modality.AUDIO)
    t = {m: torch.full((2,), 500.0) for m in latents}
    later = {**t, Modality.AUDIO: torch.full((2,), 50.0)}
    before, after = (joint_forward(joint_nets(), latents, steps, prompt())[Modality.IMAGE] for steps in (t, later))
    assert (before - after).abs().max() > 1e-4


def test_environment_tokens_have_unit_length_and_can_be_handed_in():
    latents = noise(*Modality)
    tokens = environment_tokens(joint_nets(), latents, dict.fromkeys(latents, torch.tensor([100.0, 700.0])))
    for modality in Modality:
        assert tokens[modality].shape == (2, 1, 10)
        torch.testing.assert_close(tokens[modality].norm(dim=-1), torch.ones(2, 1))
    torch.testing.assert_close(run(latents, environments=tokens), run(latents))


def test_an_unknown_exchange_is_refused():
    with pytest.raises(ArgumentError, match="exchange"):
        run(noise(*Modality), "everyone")
