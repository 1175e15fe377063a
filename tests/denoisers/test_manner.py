"""Style and motion attributes reach a denoiser through its manner embedding and its prompt map, or not at all."""

import torch

from opencodi.denoisers import ComposedDenoiser
from opencodi.extras import MannerEmbedding, PromptMap
from opencodi.prompts import Condition
from opencodi.sampling.guidance import Guidance, Prompts, guided_prediction

from .tiny_nets import image_net, prompt, randomise, temporal_for

TIMES = torch.tensor([10, 900])


def sample() -> torch.Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def told(temporal=None) -> ComposedDenoiser:
    """A network with random weights that is told five manners."""
    net = image_net()
    prompt_map = PromptMap.for_denoiser(net.config, dim=8, size=(4, 4), manner_dim=5)
    embedding = MannerEmbedding.for_denoiser(net.config, manner_dim=5)
    return randomise(ComposedDenoiser(net, temporal, extras=[embedding, prompt_map]))


def with_manner(net: ComposedDenoiser, manner: torch.Tensor):
    return net.context(prompt(), attributes={"manner": manner})


def test_a_fresh_manner_changes_nothing_and_a_learned_one_changes_map_and_features():
    net, manner = told(), torch.eye(5)[:2]
    embedding, prompt_map = net.extras
    for part in (embedding.linear, prompt_map.linear_manner):
        torch.nn.init.zeros_(part.weight)
    expected = net(sample(), TIMES, prompt())
    torch.testing.assert_close(net(sample(), TIMES, with_manner(net, manner)), expected)
    for part in (prompt_map.linear_manner, embedding.linear):
        before = net(sample(), TIMES, with_manner(net, manner))
        torch.nn.init.normal_(part.weight)
        assert (net(sample(), TIMES, with_manner(net, manner)) - before).abs().amax((1, 2, 3)).min() > 1e-3
    torch.testing.assert_close(net(sample(), TIMES, prompt()), expected)
    torch.testing.assert_close(net(sample(), TIMES, with_manner(net, 0 * manner)), expected)


def test_guidance_leads_from_no_manner_to_the_one_asked_for():
    net = told()
    manner, mask = torch.eye(5)[2:4], torch.ones(2, 1, dtype=torch.bool)
    asked, nothing = Condition(prompt(), mask, {"manner": manner}), Condition(0 * prompt(), mask)
    prompts = Prompts(net, asked, nothing, torch.float32)
    with torch.no_grad():
        found = guided_prediction(net, sample(), TIMES, prompts, Guidance(3.0).terms(0.0))
        with_it = net(sample(), TIMES, with_manner(net, manner))
        without = net(sample(), TIMES, 0 * prompt())
    torch.testing.assert_close(found, without + 3 * (with_it - without), atol=1e-4, rtol=1e-4)


def test_every_frame_of_a_clip_is_in_the_manner_asked_for():
    still = told()
    # Without training, the frames do not see one another.
    net = ComposedDenoiser(still.denoiser, temporal_for(still.denoiser), extras=still.extras)
    clip = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    context = with_manner(net, torch.eye(5)[:2])
    made = net(clip, TIMES, context)
    for frame in range(4):
        torch.testing.assert_close(made[:, :, frame], still(clip[:, :, frame], TIMES, context), atol=1e-4, rtol=1e-4)
    other = with_manner(net, torch.eye(5)[1:3])
    assert (still(clip[:, :, 0], TIMES, other) - made[:, :, 0]).abs().amax((1, 2, 3)).min() > 1e-3
