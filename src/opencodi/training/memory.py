"""What saves memory in training and changes no result beyond rounding."""

import copy
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ..denoisers.blocks import Block
from ..denoisers.context import Context


def checkpoint_gradients(task: nn.Module) -> int:
    """Keep only what enters each block; the backward pass computes the rest again. Returns the number of networks or blocks."""
    count = 0
    for module in task.modules():
        if isinstance(module, Block):
            module.forward = partial(_again, module.forward)
            count += 1
        elif getattr(module, "_supports_gradient_checkpointing", False):
            module.enable_gradient_checkpointing()
            count += 1
    return count


def _again(forward, x: torch.Tensor, time_embedding: torch.Tensor, context: Context | None = None) -> torch.Tensor:
    if not torch.is_grad_enabled():
        return forward(x, time_embedding, context)
    return checkpoint(_with_own_context, forward, x, time_embedding, context, use_reentrant=False)


def _with_own_context(forward, x: torch.Tensor, time_embedding: torch.Tensor, context: Context | None) -> torch.Tensor:
    """Both passes must compute the same, so neither finds what another block, or the first pass, has kept in the context."""
    if context is not None:
        context = copy.copy(context)
        context._constants = {}
    return forward(x, time_embedding, context)


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
