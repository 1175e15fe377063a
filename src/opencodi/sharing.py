"""Weights that two networks have in common, held once and stored once."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


def share_weights(module: nn.Module, other: nn.Module) -> None:
    """Give a module the parameters of another one in place of its own, if all of them are equal."""
    own, others = dict(module.named_parameters()), dict(other.named_parameters())
    if own.keys() == others.keys() and all(_same(tensor, others[name]) for name, tensor in own.items()):
        module.load_state_dict(others, strict=False, assign=True)


def store_once(weights: Path, prefix: str, other: Path) -> None:
    """Take the tensors below ``prefix`` out of a safetensors file if the file ``other`` holds all of them, equal."""
    own, others = load_file(weights), load_file(other)
    common = {name: tensor for name, tensor in own.items() if name.startswith(prefix)}
    if common and all(
        name.removeprefix(prefix) in others and _same(tensor, others[name.removeprefix(prefix)])
        for name, tensor in common.items()
    ):
        partial = weights.with_name(weights.name + ".partial")
        rest = {name: tensor for name, tensor in own.items() if name not in common}
        save_file(rest, partial, metadata={"format": "pt"})
        partial.replace(weights)


def _same(one: Tensor, other: Tensor) -> bool:
    alike = (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)
    return one is other or (alike and torch.equal(one, other))
