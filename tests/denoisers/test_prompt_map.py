"""The prompt map says where: with one prompt token, attention says the same everywhere."""

import torch

from .tiny_nets import image_net, prompt, randomise, text_net

TIMES = torch.tensor([10, 900])


def samples(*shape: int) -> torch.Tensor:
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))


def test_a_fresh_prompt_map_changes_nothing():
    plain = randomise(image_net())
    mapped = image_net(prompt_map_dim=8, prompt_map_size=(4, 4)).eval()
    mapped.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(mapped(samples(3, 8, 8), TIMES, prompt()), plain(samples(3, 8, 8), TIMES, prompt()))


def test_a_prompt_map_differs_from_place_to_place():
    net = randomise(image_net(prompt_map_dim=8, prompt_map_size=(8, 8)))
    features = net.prompt_map(prompt()[:, 0], (8, 8))
    assert features.shape == (2, 16, 8, 8)
    inside = features[:, :, 2:6, 2:6]  # away from the border, whose padding differs anyway
    assert (inside - inside[:, :, :1, :1]).abs().max() > 0.1


def test_a_prompt_map_fits_latents_of_any_size_and_every_frame():
    net = randomise(image_net(prompt_map_dim=8, prompt_map_size=(4, 4), temporal=True))
    assert net(samples(3, 8, 12), TIMES, prompt()).shape == (2, 3, 8, 12)
    assert net(samples(3, 2, 8, 8), TIMES, prompt()).shape == (2, 3, 2, 8, 8)


def test_the_prompt_map_of_a_vector_network_reaches_its_output():
    net = randomise(text_net(prompt_map_dim=8))
    before = net(samples(6), TIMES, prompt())
    net.prompt_map.entry.weight.data.mul_(2)
    assert (net(samples(6), TIMES, prompt()) - before).abs().max() > 1e-3
