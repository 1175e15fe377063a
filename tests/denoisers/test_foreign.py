"""Alignment adapters let networks of diffusers that know nothing of us see one another while they denoise."""

import threading

import pytest
import torch
from diffusers import DiTTransformer2DModel, StableAudioDiTModel, UNet2DConditionModel

from opencodi.denoisers import AlignmentAdapter, ComposedDenoiser, exchanged, joint_forward
from opencodi.errors import ConfigurationError

from .test_adapter import traces
from .tiny_nets import randomise

WIDTH = 12
ADAPTER = {"num_heads": 2, "norm_num_groups": 4, "feed_forward_mult": 1.0, "environment_dim": 10}
ADAPTER |= {"environment_channels": (8, 8), "time_channels": 8, "time_embedding_dim": 8}
TIMES = torch.tensor([100.0, 700.0])


def unet() -> ComposedDenoiser:
    """Pictures: feature maps, in which skips go past the middle."""
    net = UNet2DConditionModel(
        sample_size=8,
        in_channels=3,
        out_channels=3,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
    )
    # Blocks on the way down return their skips beside their features; an adapter takes the features.
    blocks = {"down_blocks.0.resnets.0": 8, "mid_block": 16, "up_blocks.0": 16}
    adapter = AlignmentAdapter.for_blocks(net, blocks, in_channels=3, **ADAPTER)
    return ComposedDenoiser(net, alignment=adapter, forward=lambda net, x, t, prompt: net(x, t, prompt.tokens).sample)


def transformer() -> ComposedDenoiser:
    """Pictures as patches, prompted by a class."""
    net = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=3,
        out_channels=3,
        num_layers=2,
        sample_size=8,
        patch_size=2,
        norm_num_groups=4,
        num_embeds_ada_norm=1000,
    )
    blocks = {"transformer_blocks.0": 16, "transformer_blocks.1": 16}
    adapter = AlignmentAdapter.for_blocks(net, blocks, layout="tokens", in_channels=3, **ADAPTER)
    labels = torch.tensor([1, 2])
    return ComposedDenoiser(
        net, alignment=adapter, forward=lambda net, x, t, prompt: net(x, t.long(), class_labels=labels).sample
    )


def stable_audio() -> ComposedDenoiser:
    """Sounds: sequences [B, C, T] with a global token before them."""
    net = StableAudioDiTModel(
        sample_size=16,
        in_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        num_key_value_attention_heads=1,
        out_channels=4,
        cross_attention_dim=WIDTH,
        time_proj_dim=8,
        global_states_input_dim=8,
        cross_attention_input_dim=WIDTH,
    )
    blocks = {f"transformer_blocks.{i}": 16 for i in range(2)}
    adapter = AlignmentAdapter.for_blocks(net, blocks, layout="tokens", latents="sequence", in_channels=4, **ADAPTER)

    def predict(net, x, t, prompt):
        return net(x, t, prompt.tokens, global_hidden_states=torch.zeros(len(x), 1, 8)).sample

    return ComposedDenoiser(net, alignment=adapter, forward=predict)


@pytest.fixture(scope="module")
def nets() -> dict[str, ComposedDenoiser]:
    return {name: randomise(build(), seed) for seed, (name, build) in enumerate(BUILDERS.items())}


BUILDERS = {"unet": unet, "transformer": transformer, "stable audio": stable_audio}
SHAPES = {"unet": (3, 8, 8), "transformer": (3, 8, 8), "stable audio": (4, 16)}


def latents(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(2, *shape, generator=generator) for name, shape in SHAPES.items()}


def prompt() -> torch.Tensor:
    return torch.randn(2, 3, WIDTH, generator=torch.Generator().manual_seed(7))


def run(nets, seen):
    return joint_forward(nets, seen, dict.fromkeys(seen, TIMES), prompt())


@torch.no_grad()
@pytest.mark.parametrize("changed", SHAPES)
def test_each_sees_what_the_others_are_making(nets, changed):
    before = run(nets, latents())
    after = run(nets, {**latents(), changed: latents(1)[changed]})
    for name in SHAPES:
        assert before[name].shape == (2, *SHAPES[name])
        assert (before[name] - after[name]).abs().max() > 1e-4, name


@torch.no_grad()
@pytest.mark.parametrize("name", SHAPES)
def test_detached_the_network_gives_the_same_bits_as_before(nets, name):
    net, x = nets[name], latents()[name]
    alone = ComposedDenoiser(net.denoiser, forward=net._forward)
    before, expected = traces(net.denoiser), alone(x, TIMES, prompt())
    run(nets, latents())
    assert traces(net.denoiser) == before
    assert torch.equal(alone(x, TIMES, prompt()), expected)


@pytest.mark.parametrize("name", SHAPES)
def test_a_fresh_adapter_changes_nothing(name):
    net, x = BUILDERS[name]().eval(), latents()[name]
    with torch.no_grad():
        with_partners = net(x, TIMES, prompt(), torch.randn(2, 2, 10))
        assert torch.equal(with_partners, net(x, TIMES, prompt()))


def test_gradients_reach_the_adapters_only(nets):
    for net in nets.values():
        net.requires_grad_(False)
        net.alignment.requires_grad_(True)
        net.zero_grad()
    predictions = run(nets, latents())
    sum(prediction.square().mean() for prediction in predictions.values()).backward()
    for name, net in nets.items():
        assert all(parameter.grad is None for parameter in net.denoiser.parameters()), name
        reached = {key for key, parameter in net.alignment.named_parameters() if parameter.grad is not None}
        assert reached == {key for key, _ in net.alignment.named_parameters()}, name
        assert any(parameter.grad.abs().max() > 0 for parameter in net.alignment.parameters()), name


def test_two_threads_with_other_partners_do_not_mix(nets):
    seen = [latents(seed) for seed in (0, 1)]
    with torch.no_grad():
        expected = [run(nets, each) for each in seen]
    start, found = threading.Barrier(2), [[], []]

    def work(number: int) -> None:
        with torch.no_grad():
            start.wait()
            found[number] += [run(nets, seen[number]) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for made, wanted in zip(found, expected):
        assert len(made) == 5
        assert all(torch.equal(each[name], wanted[name]) for each in made for name in SHAPES)


@torch.no_grad()
def test_foreign_networks_are_denoised_together_to_the_end(nets):
    """A few Euler steps of a flow: what one starts from decides, by what they exchange, where the others arrive."""

    def arrive(x: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        for t in (900.0, 600.0, 300.0):
            times = dict.fromkeys(x, torch.full((2,), t))
            tokens = {name: nets[name].environment(each, times[name]) for name, each in x.items()}
            partners = exchanged(tokens, "others")
            x = {name: each - 0.3 * nets[name](each, times[name], prompt(), partners[name]) for name, each in x.items()}
        return x

    one = arrive(latents())
    other = arrive({**latents(), "stable audio": latents(1)["stable audio"]})
    assert all((one[name] - other[name]).abs().max() > 1e-3 for name in ("unet", "transformer"))


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(ConfigurationError, match="StableAudioDiTModel has no module 'mid_block'"):
        AlignmentAdapter.for_blocks(stable_audio().denoiser, {"mid_block": 16})
