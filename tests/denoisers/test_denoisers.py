"""What a denoiser and its adapters promise whatever their weights: identities, independence, round trips."""

from copy import deepcopy

import pytest
import torch

from opencodi.denoisers import AlignmentAdapter, ComposedDenoiser, FlatUNet, TemporalAdapter, UNet
from opencodi.errors import ArgumentError, ConfigurationError
from opencodi.modality import MODALITIES, Modality
from tests.denoisers import reference
from tests.denoisers.tiny_nets import (
    alignment_for,
    audio_net,
    image_net,
    joint_nets,
    noise,
    prompt,
    randomise,
    temporal_for,
    text_net,
    video_parts,
)

BUILDERS = {Modality.TEXT: text_net, Modality.IMAGE: image_net, Modality.AUDIO: audio_net}
ALL = list(Modality)


def timesteps(batch_size: int = 2) -> torch.Tensor:
    return torch.linspace(10, 900, batch_size)


@pytest.mark.parametrize("modality", ALL)
@torch.no_grad()
def test_one_prompt_in_a_batch_of_four_gives_what_it_gives_alone(modality):
    net, x, t, context = joint_nets()[modality], noise(modality, batch_size=4)[modality], timesteps(4), prompt(4)
    environment = net.environment(x, t)
    together, alone = net(x, t, context, environment), net(x[2:3], t[2:3], context[2:3], environment[2:3])
    torch.testing.assert_close(together[2:3], alone, atol=1e-4, rtol=0)
    torch.testing.assert_close(environment[2:3], net.environment(x[2:3], t[2:3]), atol=1e-4, rtol=0)


@torch.no_grad()
def test_an_image_beside_a_temporal_adapter_equals_the_plain_networks():
    net = joint_nets()[Modality.IMAGE]
    x = noise(Modality.IMAGE)[Modality.IMAGE]
    assert torch.equal(net(x, timesteps(), prompt()), net.denoiser(x, timesteps(), prompt()))


@torch.no_grad()
def test_an_untrained_temporal_adapter_gives_each_frame_what_the_image_network_gives():
    image = randomise(image_net())
    clip = noise(Modality.VIDEO)[Modality.VIDEO]
    out = ComposedDenoiser(image, temporal_for(image))(clip, timesteps(), prompt())
    for frame in range(clip.shape[2]):
        expected = image(clip[:, :, frame], timesteps(), prompt())
        torch.testing.assert_close(out[:, :, frame], expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_trained_temporal_adapter_lets_frames_see_one_another():
    net = joint_nets()[Modality.VIDEO]
    clip = noise(Modality.VIDEO)[Modality.VIDEO]
    changed = clip.clone()
    changed[:, :, 0] += 1
    difference = net(changed, timesteps(), prompt()) - net(clip, timesteps(), prompt())
    assert difference[:, :, 3].abs().max() > 1e-3


@pytest.mark.parametrize("modality", list(BUILDERS))
@torch.no_grad()
def test_untrained_alignment_changes_nothing(modality):
    net = randomise(BUILDERS[modality]())
    joint, x = ComposedDenoiser(net, alignment=alignment_for(net)), noise(modality)[modality]
    environment = torch.nn.functional.normalize(
        torch.randn(2, 2, 10, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    assert torch.equal(joint(x, timesteps(), prompt(), environment), net(x, timesteps(), prompt()))


@pytest.mark.parametrize("modality", ALL)
def test_one_prompt_token_equals_attending_to_it(modality):
    """Two copies of a token are really attended to; one token takes the constant path. Gradients agree too."""
    net, x = joint_nets()[modality], noise(modality)[modality]
    outputs, gradients = [], []
    for context in (prompt(), prompt().repeat(1, 2, 1)):
        out = net(x, timesteps(), context)
        outputs.append(out)
        parameters = [p for name, p in net.named_parameters() if ".attn2.to_v" in name or ".attn2.to_out" in name]
        parameters = [p for p in parameters if p.requires_grad]
        gradients.append(torch.autograd.grad(out.square().sum(), parameters, allow_unused=True))
    torch.testing.assert_close(*outputs, atol=1e-4, rtol=1e-4)
    assert any(g is not None for g in gradients[0])
    torch.testing.assert_close(*[[g for g in grads if g is not None] for grads in gradients], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("modality", list(BUILDERS))
def test_what_needs_an_adapter_says_so_without_it(modality):
    net, x = ComposedDenoiser(BUILDERS[modality]()), noise(modality)[modality]
    with pytest.raises(ConfigurationError, match="alignment"):
        net.environment(x, timesteps())
    with pytest.raises(ConfigurationError, match="alignment"):
        net(x, timesteps(), prompt(), torch.zeros(2, 1, 10))
    with pytest.raises(ConfigurationError, match="temporal"):
        net(noise(Modality.VIDEO)[Modality.VIDEO], timesteps(), prompt())


def test_every_parameter_learns_but_the_queries_and_keys_of_one_token():
    net = randomise(video_parts()).train()
    x, t = noise(Modality.VIDEO)[Modality.VIDEO], timesteps()
    net(x, t, prompt(), net.environment(x, t)).square().mean().backward()
    idle = {name for name, p in net.named_parameters() if p.grad is None}
    unused = [f".{layer}" for layer in ("attn2.to_q", "attn2.to_k", "norm2")]
    attends = (".attention.", "alignment.blocks.")
    assert idle == {
        name
        for name, _ in net.named_parameters()
        if any(layer in name for layer in unused) and any(part in name for part in attends)
    }


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: image_net(num_res_blocks=(1,)), "num_res_blocks"),
        (lambda: image_net(skip="sideways"), "skip"),
        (lambda: image_net(norm_num_groups=5), "norm_num_groups"),
        (lambda: image_net(num_attention_heads=3), "num_attention_heads"),
        (lambda: alignment_for(text_net(), environment_tokens=3), "environment_tokens: 3"),
        (lambda: alignment_for(image_net(), environment_tokens=0), "environment_tokens: 0"),
        (lambda: alignment_for(image_net(), environment_channels=(8, 16)), "norm_num_groups"),
        (lambda: alignment_for(image_net(), width_mult=0.8), "num_heads"),
        (lambda: alignment_for(image_net(), layout="sideways"), "layout"),
        (lambda: temporal_for(image_net(), num_heads=5), "num_heads"),
        (lambda: temporal_for(image_net(), channels=(16,)), "channels: 1 widths"),
    ],
)
def test_an_impossible_config_is_named(build, named):
    with pytest.raises(ConfigurationError, match=named):
        build()


KINDS = {"denoiser": UNet, "temporal": TemporalAdapter, "alignment": AlignmentAdapter}


@pytest.mark.parametrize("modality", [Modality.TEXT, Modality.VIDEO])
@torch.no_grad()
def test_saving_and_loading_gives_the_same_network(modality, tmp_path):
    net, x, t = joint_nets()[modality], noise(modality)[modality], timesteps()
    kinds = KINDS | ({"denoiser": FlatUNet} if modality == Modality.TEXT else {})
    parts = {name: kind for name, kind in kinds.items() if getattr(net, name) is not None}
    for name in parts:
        getattr(net, name).save_pretrained(tmp_path / name)
    loaded = ComposedDenoiser(**{name: kind.from_pretrained(tmp_path / name) for name, kind in parts.items()})
    assert torch.equal(loaded(x, t, prompt(), loaded.environment(x, t)), net(x, t, prompt(), net.environment(x, t)))


@pytest.mark.parametrize("modality", ALL)
@torch.no_grad()
def test_half_precision_weights_stay_in_half_precision(modality):
    net, x, t = joint_nets()[modality], noise(modality)[modality], timesteps()
    expected = net(x, t, prompt(), net.environment(x, t))
    half, x = deepcopy(net).to(torch.bfloat16), x.bfloat16()
    out = half(x, t, prompt(), half.environment(x, t))
    assert out.dtype == torch.bfloat16
    assert (out.float() - expected).abs().mean() < 0.1 * expected.abs().mean()


@torch.no_grad()
def test_context_scale_multiplies_the_prompt():
    plain, scaled = randomise(image_net()), randomise(image_net(context_scale=4.0))
    x = noise(Modality.IMAGE)[Modality.IMAGE]
    assert torch.equal(scaled(x, timesteps(), prompt()), plain(x, timesteps(), 4 * prompt()))


def test_more_frames_than_positions_are_refused_by_number():
    with pytest.raises(ArgumentError, match="num_frames: 5 frames asked, this model knows positions for 4"):
        video_parts()(torch.zeros(1, 3, 5, 8, 8), torch.tensor([1]), torch.zeros(1, 1, 12))


@pytest.mark.parametrize(
    ("modality", "shape"),
    [
        (Modality.IMAGE, (4, 6, 13)),
        (Modality.VIDEO, (4, 3, 7, 10)),
        (Modality.VIDEO, (4, 1, 5, 5)),
        (Modality.AUDIO, (8, 25, 16)),
        (Modality.AUDIO, (8, 3, 16)),
    ],
)
@torch.no_grad()
def test_any_size_comes_back_as_it_went_in(modality, shape):
    """Four levels, as published: sides that are no multiples of 8 are halved rounding up and cut on the way back."""
    net = reference.network(MODALITIES[modality].denoiser.removesuffix("_denoiser"))
    x, context = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 1, 48)
    out = net(x, torch.tensor([500]), context, net.environment(x, torch.tensor([500])))
    assert out.shape == x.shape and out.isfinite().all()


def test_an_odd_side_is_cut_only_where_it_is_odd():
    net, (even, odd) = joint_nets()[Modality.IMAGE], (torch.randn(1, 3, side, 8) for side in (8, 7))
    hooked = []
    last = net.denoiser.decoder[-1]
    handle = last.register_forward_pre_hook(lambda module, given: hooked.append(given[0].shape[-2:]))
    with torch.no_grad():
        for x in (even, odd):
            net(x, torch.tensor([5.0]), prompt(1))
    handle.remove()
    assert hooked == [(8, 8), (7, 8)]


@torch.no_grad()
@pytest.mark.parametrize("modality", [Modality.TEXT, Modality.VIDEO, Modality.AUDIO])
def test_no_attention_writes_out_its_matrix(modality):
    net, x = joint_nets()[modality], noise(modality)[modality]
    with torch.profiler.profile() as profile:
        net(x, timesteps(), prompt(num_tokens=3), net.environment(x, timesteps()))
    ran = {event.key for event in profile.key_averages()}
    assert any("scaled_dot_product" in name for name in ran)
    assert not any("softmax" in name for name in ran)
