"""Latent alignment: how denoisers of several modalities see one another while they denoise (CoDi §3.3, SPEC §3)."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from ..errors import ArgumentError
from ..modality import Modality
from .topology import Denoiser

Exchange = Literal["others", "self"]


def environment_tokens(
    denoisers: Mapping[Modality, Denoiser], latents: Mapping[Modality, Tensor], timesteps: Mapping[Modality, Tensor]
) -> dict[Modality, Tensor]:
    """Environment tokens [B, n, E], L2-normalised, of every modality in ``latents``."""
    return {modality: denoisers[modality].environment(x, timesteps[modality]) for modality, x in latents.items()}


def exchanged(environments: Mapping[Modality, Tensor], exchange: Exchange) -> dict[Modality, Tensor | None]:
    """What each modality's alignment sub-layers attend to.

    Args:
        environments: tokens [B, n, E] of every modality that is generated.
        exchange: ``"others"``: the tokens of all other modalities, side by side (the paper);
            ``"self"``: its own token (what the published code does, SPEC §0.1).

    Returns:
        Tokens [B, m, E] per modality; None for a modality that is generated alone.

    Raises:
        ArgumentError: if ``exchange`` is neither.
    """
    if exchange not in ("others", "self"):
        raise ArgumentError(f"exchange: {exchange!r} is unknown, choose 'others' or 'self'")
    if len(environments) < 2:
        return dict.fromkeys(environments)
    if exchange == "self":
        return dict(environments)
    return {
        modality: torch.cat([tokens for other, tokens in environments.items() if other != modality], dim=1)
        for modality in environments
    }


def joint_forward(
    denoisers: Mapping[Modality, Denoiser],
    latents: Mapping[Modality, Tensor],
    timesteps: Mapping[Modality, Tensor],
    encoder_hidden_states: Tensor,
    exchange: Exchange = "others",
    environments: Mapping[Modality, Tensor] | None = None,
) -> dict[Modality, Tensor]:
    """Run the denoisers of all modalities in ``latents`` on one prompt, each seeing the others.

    Args:
        denoisers: a network per modality; image and video may be the same object.
        latents: noisy latents per modality, batch first.
        timesteps: [B] per modality; they may differ between modalities.
        encoder_hidden_states: prompt tokens [B, N, D], the same for all.
        exchange: see ``exchanged``.
        environments: tokens already computed with ``environment_tokens`` (a training loss needs them too).

    Returns:
        Predictions per modality, each of its latent's shape. One modality alone runs without alignment.
    """
    if len(latents) == 1:
        seen = dict.fromkeys(latents)
    else:
        seen = exchanged(environments or environment_tokens(denoisers, latents, timesteps), exchange)
    return {
        modality: denoisers[modality](x, timesteps[modality], encoder_hidden_states, seen[modality])
        for modality, x in latents.items()
    }
