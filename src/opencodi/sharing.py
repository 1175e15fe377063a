"""Weights that two networks have in common, held once."""

import torch
from torch import Tensor, nn


def share_weights(module: nn.Module, other: nn.Module) -> None:
    """Give a module the parameters of another one in place of its own, if all of them are equal."""
    own, others = dict(module.named_parameters()), dict(other.named_parameters())
    if own.keys() == others.keys() and all(_same(tensor, others[name]) for name, tensor in own.items()):
        module.load_state_dict(others, strict=False, assign=True)


def _same(one: Tensor, other: Tensor) -> bool:
    alike = (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)
    return one is other or (alike and torch.equal(one, other))
