"""Classifier-free guidance: how far a prediction is pushed from "anything" towards the prompt."""

from collections.abc import Callable

import torch
from torch import Tensor


def guide(unconditional: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """``u + scale * (c - u)``, on predictions of any one shape (Ho & Salimans 2022; SPEC §1.2)."""
    return unconditional + scale * (conditional - unconditional)


def guided_prediction(
    denoise: Callable[..., Tensor],
    sample: Tensor,
    timesteps: Tensor,
    condition: Tensor,
    unconditional: Tensor | None,
    scale: float,
    environment: Tensor | None = None,
) -> Tensor:
    """One guided prediction, in one batched pass.

    Args:
        denoise: a denoiser.
        sample: noisy latent [B, ...].
        timesteps: [B].
        condition: prompt tokens [B, N, D].
        unconditional: tokens [B, N, D] of the negative or empty prompt; not needed, and not used, at scale 1.
        scale: guidance scale; 1 is the plain conditional prediction, at half the cost.
        environment: environment tokens [B, n, E] or None; the same for both halves.

    Returns:
        Prediction [B, ...] of the shape of ``sample``.
    """
    if scale == 1:
        return denoise(sample, timesteps, condition, environment)
    doubled = None if environment is None else torch.cat([environment, environment])
    prediction = denoise(
        torch.cat([sample, sample]), torch.cat([timesteps, timesteps]), torch.cat([unconditional, condition]), doubled
    )
    return guide(*prediction.chunk(2), scale)
