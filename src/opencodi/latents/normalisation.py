"""Latent normalisation. Statistics live in each autoencoder's config and nowhere else (DESIGN §3).

normalised = (raw - latents_mean) / latents_std * scaling_factor. New models record per-channel statistics; published
ones only have a scaling factor (SPEC §1).
"""

from collections.abc import Mapping
from typing import Any

import torch


def normalise(raw: torch.Tensor, config: Mapping[str, Any]) -> torch.Tensor:
    """Map raw latents [B, C, ...] to about unit variance, as the denoisers see them."""
    mean, std = _statistics(raw, config)
    return (raw - mean) / std * config["scaling_factor"]


def denormalise(latents: torch.Tensor, config: Mapping[str, Any]) -> torch.Tensor:
    """Undo ``normalise``: latents [B, C, ...] as the denoisers see them to raw latents for the decoder."""
    mean, std = _statistics(latents, config)
    return latents / config["scaling_factor"] * std + mean


@torch.no_grad()
def channel_statistics(raw: torch.Tensor) -> tuple[list[float], list[float]]:
    """Per-channel mean and standard deviation of raw latents [B, C, ...]."""
    flat = raw.float().transpose(0, 1).flatten(1)
    return [round(x, 5) for x in flat.mean(1).tolist()], [round(max(x, 1e-4), 5) for x in flat.std(1).tolist()]


def _statistics(like: torch.Tensor, config: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (1, -1) + (1,) * (like.ndim - 2)
    mean = like.new_tensor([0.0] if config["latents_mean"] is None else config["latents_mean"])
    std = like.new_tensor([1.0] if config["latents_std"] is None else config["latents_std"])
    return mean.view(shape), std.view(shape)
