"""Maps say where: with one prompt token, attention says the same everywhere."""

import pytest
import torch

from opencodi.denoisers import ComposedDenoiser, Context
from opencodi.errors import ConfigurationError
from opencodi.extras import EnvironmentMap, MotionMap, PromptMap
from opencodi.quantized import with_exact, with_quantized

from .tiny_nets import alignment_for, image_net, prompt, randomise, temporal_for, text_net

TIMES = torch.tensor([10, 900])


def samples(*shape: int) -> torch.Tensor:
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))


def prompt_map(net, size=(4, 4), **config) -> PromptMap:
    return PromptMap.for_denoiser(
        net.config, dim=8, **({} if "feature_tokens" in net.config else {"size": size}), **config
    )


def motion_map(net, **config) -> MotionMap:
    return MotionMap.for_denoiser(net.config, dim=8, size=(4, 4), **config)


def test_fresh_maps_change_nothing():
    net = randomise(image_net())
    mapped = ComposedDenoiser(net, temporal_for(net), extras=[prompt_map(net), motion_map(net)])
    assert torch.equal(mapped(samples(3, 8, 8), TIMES, prompt()), net(samples(3, 8, 8), TIMES, prompt()))
    plain = ComposedDenoiser(net, mapped.temporal)
    assert torch.equal(mapped(samples(3, 4, 8, 8), TIMES, prompt()), plain(samples(3, 4, 8, 8), TIMES, prompt()))


def test_a_prompt_map_differs_from_place_to_place():
    drawn = randomise(prompt_map(image_net(), (8, 8)))
    features = drawn(prompt()[:, 0], (8, 8))
    assert features.shape == (2, 16, 8, 8)
    inside = features[:, :, 2:6, 2:6]  # away from the border, whose padding differs anyway
    assert (inside - inside[:, :, :1, :1]).abs().max() > 0.1


def test_a_prompt_map_fits_latents_of_any_size_and_every_frame():
    net = image_net()
    mapped = randomise(ComposedDenoiser(net, temporal_for(net), extras=[prompt_map(net)]))
    assert mapped(samples(3, 8, 12), TIMES, prompt()).shape == (2, 3, 8, 12)
    assert mapped(samples(3, 2, 8, 8), TIMES, prompt()).shape == (2, 3, 2, 8, 8)


def test_the_prompt_map_of_a_vector_network_reaches_its_output():
    net = text_net()
    mapped = randomise(ComposedDenoiser(net, extras=[prompt_map(net)]))
    before = mapped(samples(6), TIMES, prompt())
    mapped.extras[0].entry.weight.data.mul_(2)
    assert (mapped(samples(6), TIMES, prompt()) - before).abs().max() > 1e-3


def moving() -> ComposedDenoiser:
    net = image_net()
    return randomise(ComposedDenoiser(net, temporal_for(net), extras=[prompt_map(net), motion_map(net, harmonics=2)]))


def test_a_motion_map_draws_loops_and_leaves_pictures_alone():
    net = moving()
    drawn = net.extras[1].draw(prompt()[:, 0], 8, (4, 4))
    assert drawn.shape == (2, 8, 3, 4, 4) and drawn.std(dim=1).min() > 0
    spectrum = torch.fft.rfft(drawn, dim=1).abs().amax((0, 2, 3, 4))
    assert (spectrum[:3] > 0.01).all() and (spectrum[3:] < 1e-4).all()
    # Twice as many frames show the same course, twice as finely.
    torch.testing.assert_close(net.extras[1].draw(prompt()[:, 0], 16, (4, 4))[:, ::2], drawn)
    picture, clip = ((samples(*shape), TIMES, prompt()) for shape in ((3, 8, 8), (3, 4, 8, 8)))
    before = net(*picture), net(*clip)
    net.extras[1].entry.weight.data.mul_(2)
    torch.testing.assert_close(net(*picture), before[0])
    assert (net(*clip) - before[1]).abs().max() > 1e-3


def test_each_sample_of_a_batch_moves_by_its_own_prompt():
    net, clips = moving(), samples(3, 4, 8, 8)
    alone = torch.cat([net(clips[i : i + 1], TIMES[i : i + 1], prompt()[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(net(clips, TIMES, prompt()), alone, atol=1e-5, rtol=1e-5)


def joint(**extra) -> ComposedDenoiser:
    net = image_net()
    maps = [prompt_map(net, (8, 8)), EnvironmentMap.for_denoiser(net.config)]
    return ComposedDenoiser(net, alignment=alignment_for(net, environment_dim=12), extras=maps)


def test_a_fresh_environment_map_changes_nothing_and_without_partners_none_does():
    net = joint()
    for part in (net.denoiser, net.alignment, net.extras[0]):
        randomise(part)
    seen = torch.randn(2, 1, 12, generator=torch.Generator().manual_seed(1))
    without = ComposedDenoiser(net.denoiser, alignment=net.alignment, extras=net.extras[:1])
    arguments = samples(3, 8, 8), TIMES, prompt()
    assert torch.equal(net(*arguments, seen), without(*arguments, seen))
    randomise(net.extras[1])
    assert torch.equal(net(*arguments), without(*arguments))
    assert (net(*arguments, seen) - without(*arguments, seen)).abs().max() > 1e-3


def test_the_environment_map_draws_what_the_others_show_as_a_prompt_is_drawn():
    net = randomise(joint())
    drawn, environment_map = net.extras
    embedding = torch.nn.functional.normalize(prompt()[:, 0], dim=-1)
    tokens = Context(embedding[:, None].expand(-1, 3, -1))  # three tokens that say the same
    expected = environment_map.entry(drawn.draw(embedding * net.config.context_scale, (8, 8)))
    torch.testing.assert_close(environment_map.draw(drawn, tokens, (8, 8)), expected)
    early, late = (environment_map(expected, net.denoiser.time_embedding(t, torch.float32)) for t in TIMES[:, None])
    assert (early - late).abs().max() > 1e-3  # how much they count depends on the timestep


def test_an_environment_map_needs_a_prompt_map():
    net = joint()
    lone = ComposedDenoiser(net.denoiser, alignment=net.alignment, extras=net.extras[1:])
    with pytest.raises(ConfigurationError, match="draws with the prompt map"):
        lone(samples(3, 8, 8), TIMES, prompt(), torch.zeros(2, 1, 12))


@pytest.mark.parametrize("kind", [PromptMap, MotionMap])
def test_maps_of_integers_draw_nearly_the_same_from_half_the_file_and_can_learn_again(tmp_path, kind):
    exact = randomise(kind.for_denoiser(image_net().config, dim=64, size=(8, 8)))
    small = with_quantized(exact)
    assert small.config.quantized and with_quantized(small) is small and with_exact(exact) is exact
    drawing = (prompt()[:, 0], (8, 8)) if kind is PromptMap else (prompt()[:, 0], 4, (8, 8))
    assert 0 < (small.draw(*drawing) - exact.draw(*drawing)).norm() < 0.05 * exact.draw(*drawing).norm()
    small.half().save_pretrained(tmp_path)
    stored = kind.from_pretrained(tmp_path)
    again = with_exact(stored.float())
    assert not again.config.quantized and again.state_dict().keys() == exact.state_dict().keys()
    torch.testing.assert_close(again.draw(*drawing), stored.draw(*drawing), atol=1e-3, rtol=1e-2)
    again.draw(*drawing).sum().backward()
    assert again.linear_1.weight.grad.abs().sum() > 0
