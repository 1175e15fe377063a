"""What saves memory in training and changes no result beyond rounding."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ..denoisers.blocks import Block
from ..denoisers.context import Context


def checkpoint_gradients(task: nn.Module) -> int:
    """Keep only what enters each layer of a block; the backward pass computes the rest again. Returns how many it changed.

    Adapters hook themselves to blocks and to their layers, for the time of a call only. So a layer's own ``forward`` is what is
    done again, without the hooks on it.
    """
    count = 0
    for module in task.modules():
        if isinstance(module, Block):
            for layer in (module.residual, module.attention):
                if layer is not None:
                    layer.forward = partial(_again, layer.forward)
                    count += 1
        elif getattr(module, "_supports_gradient_checkpointing", False):
            module.enable_gradient_checkpointing()
            count += 1
    return count


def _again(forward: Callable[..., torch.Tensor], *given: Any) -> torch.Tensor:
    if not torch.is_grad_enabled():
        return forward(*given)
    return checkpoint(_with_own_context, forward, *given, use_reentrant=False)


def _with_own_context(forward: Callable[..., torch.Tensor], *given: Any) -> torch.Tensor:
    """Both passes must compute the same, so neither finds what another layer, or the first pass, has kept in the context."""
    fresh = []
    for each in given:
        if isinstance(each, Context):
            each = copy.copy(each)
            each._constants = {}
        fresh.append(each)
    return forward(*fresh)


def halve_frozen(task: nn.Module) -> int:
    """Keep the matrices of frozen networks in bfloat16, as autocast uses them anyway; returns the bytes saved.

    Networks with weights that learn stay whole, and so does whatever is exported.
    """
    kept = {id(p) for part in task.components().values() if isinstance(part, nn.Module) for p in part.parameters()}
    saved = 0
    for module in task.modules():
        if isinstance(module, nn.Embedding):
            continue
        for parameter in module.parameters(recurse=False):
            frozen = not parameter.requires_grad and id(parameter) not in kept
            if frozen and parameter.ndim > 1 and parameter.dtype == torch.float32:
                parameter.data = parameter.data.bfloat16()
                saved += 2 * parameter.numel()
    return saved
