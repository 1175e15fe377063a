"""Layers that are only read, in half the size of float16: 8-bit integers, and one scale for each row of a matrix."""

from collections.abc import Collection
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class QuantizedMatrix(nn.Module):
    """A matrix of 8-bit integers whose rows have a scale each.

    It answers in the type of its scales, so that ``half()`` and ``float()`` do what they do for other layers; the integers
    stay as they are.

    Args:
        rows, columns: of the matrix.
    """

    def __init__(self, rows: int, columns: int):
        super().__init__()
        self.register_buffer("weight", torch.zeros(rows, columns, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(rows))

    @torch.no_grad()
    def approximate(self, matrix: Tensor) -> None:
        """Become the nearest to ``matrix`` [rows, columns], floating point: the largest entry of each row is ±127."""
        exact = matrix.float()
        scale = exact.abs().amax(dim=1).clamp_min(torch.finfo(torch.float16).tiny) / 127
        self.weight.copy_((exact / scale[:, None]).round())
        self.scale.copy_(scale)


class QuantizedEmbedding(QuantizedMatrix):
    """An ``nn.Embedding``: int64 [...] → [..., columns]."""

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.weight[input_ids].to(self.scale.dtype) * self.scale[input_ids].unsqueeze(-1)


class QuantizedLinear(QuantizedMatrix):
    """An ``nn.Linear``: [..., columns] → [..., rows]. Its bias is not quantized."""

    def __init__(self, rows: int, columns: int):
        super().__init__(rows, columns)
        self.bias = nn.Parameter(torch.zeros(rows), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(self.scale.dtype)) * self.scale + self.bias


def quantize_layers(module: nn.Module, names: Collection[str] | None = None) -> None:
    """Put quantized layers, still without values, in place of every embedding and linear layer (with bias) of ``module``.

    With ``names``, only its children of these names.
    """
    for name, child in module.named_children():
        if names is not None and name not in names:
            continue
        if isinstance(child, nn.Embedding):
            setattr(module, name, QuantizedEmbedding(*child.weight.shape))
        elif isinstance(child, nn.Linear) and child.bias is not None:
            setattr(module, name, QuantizedLinear(*child.weight.shape))
        else:
            quantize_layers(child)


def with_quantized(network: nn.Module) -> nn.Module:
    """A copy in 8-bit integers of a network whose config knows ``quantized``; one without, or that is so already, as it is."""
    if network.config.get("quantized", True):
        return network
    return quantized_as(network, type(network)(**(_values(network) | {"quantized": True})))


def with_exact(network: nn.Module) -> nn.Module:
    """A copy that can learn again of a network in 8-bit integers; any other as it is."""
    if not network.config.get("quantized", False):
        return network
    exact = type(network)(**(_values(network) | {"quantized": False}))
    exact.load_state_dict(exact_weights(network))
    return nn.Module.to(exact, network.device, network.dtype).train(network.training)


def _values(network: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in network.config.items() if not name.startswith("_")}


def quantized_as(exact: nn.Module, smaller: nn.Module) -> nn.Module:
    """``smaller``, with the weights of ``exact``, in its type and on its device; the same network but for quantized layers."""
    for name, layer in smaller.named_modules():
        if isinstance(layer, QuantizedMatrix):
            layer.approximate(exact.get_submodule(name).weight)
    example = next(parameter for parameter in exact.parameters() if parameter.is_floating_point())
    smaller = nn.Module.to(smaller, example.device, example.dtype)
    rest = {name: value for name, value in exact.state_dict().items() if name in dict(smaller.named_parameters())}
    smaller.load_state_dict(smaller.state_dict() | rest)
    return smaller.train(exact.training)


def exact_weights(network: nn.Module) -> dict[str, Tensor]:
    """The state dict of a network as if it had no quantized layers."""
    weights = network.state_dict()
    for name, layer in network.named_modules():
        if isinstance(layer, QuantizedMatrix):
            scale = weights.pop(f"{name}.scale")
            weights[f"{name}.weight"] = layer.weight.to(scale.dtype) * scale[:, None]
    return weights
