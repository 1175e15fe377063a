"""Several of an output are made, and the one nearest to its prompt is kept."""

import pytest
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from opencodi.sampling.joint_sampler import nearest

from opencodi.errors import ArgumentError
from tests.denoisers.tiny_nets import noise

from .test_joint_sampler import AUDIO, IMAGE, PAIR, condition, run

WIDTH = condition().tokens.shape[-1]


def embed(modality, latents):
    """Any map that tells latents apart."""
    return latents.flatten(1)[:, :WIDTH]


def of_two(*modalities):
    """Noise of two candidates of each sample: the first from seed 0, the second from seed 1."""
    first, second = noise(*modalities), noise(*modalities, seed=1)
    return {m: torch.stack([first[m], second[m]], dim=1).flatten(0, 1) for m in modalities}


def test_the_one_that_its_prompt_lies_nearest_to_is_kept_for_each_sample():
    prompts = F.normalize(torch.randn(3, 5, generator=torch.Generator().manual_seed(0)), dim=-1)
    embeddings = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    embeddings[1], embeddings[2] = 7 * prompts[0], 0.1 * prompts[1]  # by cosine, whatever the length
    prompts[2] = 0
    kept = nearest(torch.arange(6.0)[:, None], embeddings, prompts)
    assert kept.flatten().tolist() == [1, 2, 4]


def test_a_candidate_is_what_its_noise_gives_alone():
    each = [run(noise(AUDIO, seed=seed))[AUDIO] for seed in (0, 1)]
    prompts = F.normalize(condition().tokens[:, 0], dim=-1)
    cosines = torch.stack([(F.normalize(embed(AUDIO, made), dim=-1) * prompts).sum(-1) for made in each])
    expected = torch.stack([each[best][row] for row, best in enumerate(cosines.argmax(0))])
    found = run(of_two(AUDIO), embed=embed)[AUDIO]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("better", (0, 1))
def test_others_see_the_first_until_one_is_kept_and_then_that(better):
    latents = {IMAGE: of_two(IMAGE)[IMAGE], AUDIO: noise(AUDIO)[AUDIO]}

    def prefer(modality, made):
        towards = condition().tokens[:, 0].repeat_interleave(2, 0)
        return torch.where(torch.arange(len(made))[:, None] % 2 == better, towards, -towards)

    in_turn = {"exchange_order": (IMAGE, AUDIO), "exchange_lag": 1.0}
    found = run(latents, embed=prefer, **in_turn)
    alone = run(noise(IMAGE, seed=better) | noise(AUDIO), **in_turn)
    for modality in PAIR:
        torch.testing.assert_close(found[modality], alone[modality], atol=1e-4, rtol=1e-4)
    together, one = run(latents, embed=prefer), run(noise(IMAGE) | noise(AUDIO))
    torch.testing.assert_close(together[AUDIO], one[AUDIO], atol=1e-4, rtol=1e-4)


def test_a_callback_sees_all_candidates_and_at_last_the_one_that_is_kept():
    sizes = []
    run(of_two(IMAGE), embed=embed, callback=lambda tick, timesteps, latents: sizes.append(len(latents[IMAGE])))
    assert sizes == [4, 4, 2]


def test_candidates_of_a_sample_share_its_generator():
    def draw(seeds):
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        return run(of_two(IMAGE), embed=embed, scheduler=DDPMScheduler(clip_sample=False), generator=generators)[IMAGE]

    both = draw((3, 4))
    assert torch.equal(both, draw((3, 4)))
    torch.testing.assert_close(draw((3, 9))[0], both[0], atol=1e-4, rtol=1e-4)
    assert (draw((3, 9))[1] - both[1]).abs().max() > 1e-3


def test_without_a_way_to_choose_they_are_refused():
    with pytest.raises(ArgumentError, match="embed: choosing among candidates needs it"):
        run(of_two(IMAGE))
