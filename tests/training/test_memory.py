"""What saves memory changes no result."""

import copy

import torch

from opencodi.denoisers import ComposedDenoiser
from opencodi.training.averages import Averages
from opencodi.training.memory import checkpoint_gradients, halve_frozen
from opencodi.training.task import Task

from .. import tiny


class Denoising(Task):
    """A frozen layer before a denoiser with its temporal adapter."""

    def __init__(self):
        super().__init__()
        width = tiny.DENOISER["cross_attention_dim"]
        self.frozen = torch.nn.Linear(width, width).requires_grad_(False)
        self.denoiser = ComposedDenoiser(tiny.image_denoiser(), tiny.video_temporal())

    def forward(self, batch, generator):
        made = self.denoiser(batch["latents"], batch["timesteps"], self.frozen(batch["prompt"]))
        return {"loss": made.square().mean()}

    def components(self):
        return {"image_denoiser": self.denoiser.denoiser}


def batch(tokens):
    generator = torch.Generator().manual_seed(0)
    width = tiny.DENOISER["cross_attention_dim"]
    latents = torch.randn(2, 4, 3, 8, 8, generator=generator)
    return {
        "latents": latents,
        "timesteps": torch.tensor([10, 500]),
        "prompt": torch.randn(2, tokens, width, generator=generator),
    }


def gradients(task, given):
    task(given, None)["loss"].backward()
    return {name: weight.grad for name, weight in task.trained_parameters().items() if weight.grad is not None}


def kept_bytes(task, given):
    sizes = {}

    def note(tensor):
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        task(given, None)
    return sum(sizes.values())


def test_gradients_are_the_same_from_activations_that_are_computed_again():
    for tokens in (1, 3):  # a single token is computed once and kept in the context
        task = Denoising()
        saving, given = copy.deepcopy(task), batch(tokens)
        assert checkpoint_gradients(saving) > 3
        torch.testing.assert_close(gradients(saving, given), gradients(task, given))
        assert kept_bytes(saving, given) < 0.7 * kept_bytes(task, given)


def test_only_frozen_networks_that_are_not_exported_become_half():
    task = Denoising()
    task.denoiser.denoiser.conv_in.requires_grad_(False)
    saved = halve_frozen(task)
    assert saved == 2 * task.frozen.weight.numel()
    assert task.frozen.weight.dtype == torch.bfloat16 and task.frozen.bias.dtype == torch.float32
    assert all(weight.dtype == torch.float32 for weight in task.denoiser.parameters())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.isfinite(task(batch(1), None)["loss"])


def test_averages_on_the_cpu_are_the_same_averages():
    weights = {"w": torch.nn.Parameter(torch.zeros(3))}
    found = []
    for on_cpu in (False, True):
        averages = Averages(weights, 0.9, on_cpu)
        for step in range(5):
            weights["w"].data.fill_(float(step))
            averages.step()
        with averages.in_place():
            found.append(weights["w"].detach().clone())
        assert weights["w"].tolist() == [4.0] * 3
    assert torch.equal(*found) and 0 < found[0][0] < 4
