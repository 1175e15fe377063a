"""The prompt map says where: with one prompt token, attention says the same everywhere."""

import pytest
import torch

from opencodi.denoisers.context import Context
from opencodi.denoisers.maps import with_exact_maps, with_quantized_maps
from opencodi.errors import ConfigurationError

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


MOVING = {"prompt_map_dim": 8, "prompt_map_size": (4, 4), "temporal": True}


def test_a_fresh_motion_map_changes_nothing_and_belongs_to_what_videos_add():
    still = randomise(image_net(**MOVING))
    moving = still.extended(motion_map_dim=8).eval()
    arguments = samples(3, 4, 8, 8), TIMES, prompt()
    torch.testing.assert_close(moving(*arguments), still(*arguments))
    new = {name for name, _ in moving.temporal_parameters()} - {name for name, _ in still.temporal_parameters()}
    assert {name.split(".")[0] for name in new} == {"motion_map"}


def test_a_motion_map_draws_loops_and_leaves_pictures_alone():
    net = randomise(image_net(**MOVING, motion_map_dim=8, motion_map_harmonics=2))
    drawn = net.motion_map.draw(prompt()[:, 0], 8, (4, 4))
    assert drawn.shape == (2, 8, 3, 4, 4) and drawn.std(dim=1).min() > 0
    spectrum = torch.fft.rfft(drawn, dim=1).abs().amax((0, 2, 3, 4))
    assert (spectrum[:3] > 0.01).all() and (spectrum[3:] < 1e-4).all()
    # Twice as many frames show the same course, twice as finely.
    torch.testing.assert_close(net.motion_map.draw(prompt()[:, 0], 16, (4, 4))[:, ::2], drawn)
    picture = samples(3, 8, 8), TIMES, prompt()
    before = net(*picture)
    net.motion_map.entry.weight.data.mul_(2)
    torch.testing.assert_close(net(*picture), before)


def test_each_sample_of_a_guided_batch_moves_by_its_own_prompt():
    net = randomise(image_net(**MOVING, motion_map_dim=8))
    clips = samples(3, 4, 8, 8)
    alone = torch.cat([net(clips[i : i + 1], TIMES[i : i + 1], prompt()[i : i + 1]) for i in range(2)])
    guided = net(torch.cat([clips, clips]), torch.cat([TIMES, TIMES]), net.context(prompt()).repeated(halves=2))
    torch.testing.assert_close(guided, torch.cat([alone, alone]))


JOINT = {"prompt_map_dim": 8, "prompt_map_size": (8, 8), "alignment": True, "environment_dim": 12}


def test_a_fresh_environment_map_changes_nothing_and_belongs_to_the_alignment_parts():
    plain = randomise(image_net(**JOINT))
    mapped = plain.extended(with_environment_map=True).eval()
    seen = torch.randn(2, 1, 12, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        mapped(samples(3, 8, 8), TIMES, prompt(), seen), plain(samples(3, 8, 8), TIMES, prompt(), seen)
    )
    new = {name for name, _ in mapped.alignment_parameters()} - {name for name, _ in plain.alignment_parameters()}
    assert {name.split(".")[0] for name in new} == {"environment_map"}


def test_the_environment_map_draws_what_the_others_show_as_a_prompt_is_drawn():
    net = randomise(image_net(**JOINT, with_environment_map=True))
    embedding = torch.nn.functional.normalize(prompt()[:, 0], dim=-1)
    tokens = Context(embedding[:, None].expand(-1, 3, -1))  # three tokens that say the same
    expected = net.environment_map.entry(net.prompt_map.draw(embedding * net.config.context_scale, (8, 8)))
    torch.testing.assert_close(net._map_of(tokens, (8, 8)), expected)
    early, late = (net.environment_map(expected, net.time_embedding(t, torch.float32)) for t in TIMES[:, None])
    assert (early - late).abs().max() > 1e-3  # how much they count depends on the timestep


def test_an_environment_map_needs_tokens_that_are_like_prompts():
    with pytest.raises(ConfigurationError, match="make it 12"):
        image_net(**{**JOINT, "environment_dim": 32}, with_environment_map=True)
    with pytest.raises(ConfigurationError, match="prompt_map_dim"):
        image_net(alignment=True, environment_dim=12, with_environment_map=True)


def test_maps_of_integers_draw_nearly_the_same_from_half_the_file_and_can_learn_again(tmp_path):
    exact = randomise(image_net(temporal=True, prompt_map_dim=64, motion_map_dim=64))
    small = with_quantized_maps(exact)
    assert small.config.quantized_maps and with_quantized_maps(small) is small
    embedding = prompt()[:, 0]
    for draw in (lambda n: n.prompt_map.draw(embedding, (8, 8)), lambda n: n.motion_map.draw(embedding, 4, (8, 8))):
        assert 0 < (draw(small) - draw(exact)).norm() < 0.05 * draw(exact).norm()
    small.half().save_pretrained(tmp_path)
    stored = type(exact).from_pretrained(tmp_path)
    again = with_exact_maps(stored.float())
    assert not again.config.quantized_maps and again.state_dict().keys() == exact.state_dict().keys()
    torch.testing.assert_close(
        again.prompt_map.draw(embedding, (8, 8)), stored.prompt_map.draw(embedding, (8, 8)), atol=1e-3, rtol=1e-2
    )
    again.prompt_map.draw(embedding, (8, 8)).sum().backward()
    assert again.prompt_map.linear_1.weight.grad.abs().sum() > 0
