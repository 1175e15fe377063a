"""Classifier-free guidance: how far a prediction is pushed from "anything" towards the prompt."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..denoisers import ComposedDenoiser, Context
from ..prompts import Condition


def guide(unconditional: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """``u + scale * (c - u)``, on predictions of any one shape (Ho & Salimans 2022; SPEC §1.2)."""
    return unconditional + scale * (conditional - unconditional)


def guidance_context(
    denoiser: ComposedDenoiser, condition: Condition, unconditional: Condition | None, scale: float, dtype: torch.dtype
) -> Context:
    """The prompt of a whole trajectory, as ``guided_prediction`` takes it.

    Args:
        denoiser: the network that will attend to it.
        condition: the mixed prompt, tokens [B, N, D].
        unconditional: the negative or empty prompt [B, M, D]; not needed, and not used, at scale 1.
        scale: guidance scale.
        dtype: of the latents.

    Returns:
        The unconditional half, then the conditional one; at scale 1 the latter alone.
    """
    if scale == 1:
        return denoiser.context(condition.tokens.to(dtype), condition.mask, _attributes([condition], dtype))
    halves, length = (unconditional, condition), max(unconditional.tokens.shape[1], condition.tokens.shape[1])
    missing = [length - half.tokens.shape[1] for half in halves]
    tokens = torch.cat([F.pad(half.tokens.to(dtype), (0, 0, 0, pad)) for half, pad in zip(halves, missing)])
    mask = torch.cat([F.pad(half.mask, (0, pad)) for half, pad in zip(halves, missing)])
    return denoiser.context(tokens, mask, _attributes(halves, dtype))


def _attributes(conditions: Sequence[Condition], dtype: torch.dtype) -> dict[str, Tensor]:
    """The manners of these one below the other, zeros where one has none; nothing if none of them has."""
    known = next((each.manner for each in conditions if each.manner is not None), None)
    if known is None:
        return {}
    none = known.new_zeros(len(known), known.shape[1])
    return {"manner": torch.cat([none if each.manner is None else each.manner for each in conditions]).to(dtype)}


def guided_prediction(
    denoiser: ComposedDenoiser,
    sample: Tensor,
    timesteps: Tensor,
    prompt: Context,
    scale: float,
    environment: Context | None = None,
    guide_environment: bool = False,
) -> Tensor:
    """One guided prediction, in one batched pass.

    Args:
        denoiser: the network.
        sample: noisy latent [B, ...].
        timesteps: [B].
        prompt: from ``guidance_context``.
        scale: guidance scale; 1 is the plain conditional prediction, at half the cost.
        environment: environment tokens [B, n, E] or None.
        guide_environment: the unconditional half does without them, so that guidance leads towards the prompt and the
            other modalities alike; else they are the same for both halves, as published.

    Returns:
        Prediction [B, ...] of the shape of ``sample``.
    """
    if scale == 1:
        return denoiser(sample, timesteps, prompt, environment)
    doubled = None if environment is None else _doubled(environment, guide_environment)
    prediction = denoiser(torch.cat([sample, sample]), torch.cat([timesteps, timesteps]), prompt, doubled)
    return guide(*prediction.chunk(2), scale)


def _doubled(environment: Context, only_last: bool) -> Context:
    """The environment of both halves, or of the conditional one alone."""
    tokens = torch.cat([environment.tokens, environment.tokens])
    rows = torch.arange(len(tokens), device=tokens.device) >= len(tokens) // 2 if only_last else None
    return Context(tokens, seconds=environment.seconds, bias=environment.bias, rows=rows)
