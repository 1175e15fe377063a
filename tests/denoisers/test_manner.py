"""A denoiser is told the manner beside the prompt, or knows of none."""

import torch

from opencodi.prompts import Condition
from opencodi.sampling.guidance import Guidance, Prompts, guided_prediction

from .tiny_nets import image_net, prompt, randomise

TIMES = torch.tensor([10, 900])
MAPPED = {"prompt_map_dim": 8, "prompt_map_size": (4, 4)}


def sample() -> torch.Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_a_fresh_manner_changes_nothing_and_a_learned_one_changes_map_and_features():
    fresh = randomise(image_net(**MAPPED))
    told = image_net(**MAPPED, manner_dim=5).eval()
    told.load_state_dict(fresh.state_dict(), strict=False)
    manner = torch.eye(5)[:2]
    expected = fresh(sample(), TIMES, prompt())
    torch.testing.assert_close(told(sample(), TIMES, told.context(prompt(), attributes={"manner": manner})), expected)
    for part in (told.prompt_map.linear_manner, told.manner_embedding):
        before = told(sample(), TIMES, told.context(prompt(), attributes={"manner": manner}))
        torch.nn.init.normal_(part.weight)
        assert (told(sample(), TIMES, told.context(prompt(), attributes={"manner": manner})) - before).abs().amax(
            (1, 2, 3)
        ).min() > 1e-3
    torch.testing.assert_close(told(sample(), TIMES, prompt()), expected)
    torch.testing.assert_close(told(sample(), TIMES, told.context(prompt(), attributes={"manner": 0 * manner})), expected)


def test_guidance_leads_from_no_manner_to_the_one_asked_for():
    net = randomise(image_net(**MAPPED, manner_dim=5))
    manner, mask = torch.eye(5)[2:4], torch.ones(2, 1, dtype=torch.bool)
    asked, nothing = Condition(prompt(), mask, {"manner": manner}), Condition(0 * prompt(), mask)
    with torch.no_grad():
        found = guided_prediction(
            net, sample(), TIMES, Prompts(net, asked, nothing, torch.float32), Guidance(3.0).terms(0.0)
        )
        with_it = net(sample(), TIMES, net.context(prompt(), attributes={"manner": manner}))
        without = net(sample(), TIMES, 0 * prompt())
    torch.testing.assert_close(found, without + 3 * (with_it - without), atol=1e-4, rtol=1e-4)


def test_every_frame_of_a_clip_is_in_the_manner_asked_for():
    net = randomise(image_net(**MAPPED, manner_dim=5))
    clip = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    context = net.context(prompt(), attributes={"manner": torch.eye(5)[:2]})
    # Without training, the frames do not see one another.
    made = net.extended(temporal=True)(clip, TIMES, context)
    for frame in range(4):
        torch.testing.assert_close(made[:, :, frame], net(clip[:, :, frame], TIMES, context), atol=1e-4, rtol=1e-4)
    other = net.context(prompt(), attributes={"manner": torch.eye(5)[1:3]})
    assert (net(clip[:, :, 0], TIMES, other) - made[:, :, 0]).abs().amax((1, 2, 3)).min() > 1e-3
