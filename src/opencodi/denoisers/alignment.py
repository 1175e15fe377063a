"""Latent alignment: how denoisers of several modalities see one another while they denoise (CoDi §3.3, SPEC §3)."""

import math
from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor

from ..errors import ArgumentError
from ..modality import Modality
from .context import Context
from .topology import Denoiser

Exchange = Literal["others", "self"]


def environment_tokens(
    denoisers: Mapping[Modality, Denoiser], latents: Mapping[Modality, Tensor], timesteps: Mapping[Modality, Tensor]
) -> dict[Modality, Tensor]:
    """Environment tokens [B, n, E], L2-normalised, of every modality in ``latents``."""
    return {modality: denoisers[modality].environment(x, timesteps[modality]) for modality, x in latents.items()}


def environment_seconds(
    denoisers: Mapping[Modality, Denoiser], latents: Mapping[Modality, Tensor]
) -> dict[Modality, Tensor]:
    """When each environment token of every modality in ``latents`` is: seconds [n], NaN for tokens without time."""
    return {modality: denoisers[modality].environment_seconds(x) for modality, x in latents.items()}


def exchanged(
    environments: Mapping[Modality, Tensor],
    exchange: Exchange,
    seconds: Mapping[Modality, Tensor] | None = None,
    listeners: Iterable[Modality] | None = None,
) -> dict[Modality, Context | None]:
    """What each modality's alignment sub-layers attend to.

    Args:
        environments: tokens [B, n, E] of every modality that says something.
        exchange: ``"others"``: the tokens of all other modalities, side by side (the paper);
            ``"self"``: its own token (what the published code does, SPEC §0.1).
        seconds: when these tokens are, from ``environment_seconds``; None: they have no time.
        listeners: the modalities that are generated; by default those of ``environments``.

    Returns:
        Context of tokens [B, m, E] per listener; None for one that has nobody to attend to. A modality of many tokens
        counts as much as one of a single token.

    Raises:
        ArgumentError: if ``exchange`` is neither.
    """
    if exchange not in ("others", "self"):
        raise ArgumentError(f"exchange: {exchange!r} is unknown, choose 'others' or 'self'")
    listening = list(environments if listeners is None else listeners)
    seen: dict[Modality, Context | None] = dict.fromkeys(listening)
    for modality in listening:
        watched = [m for m in environments if (m == modality) == (exchange == "self")]
        if not watched:
            continue
        times = None if seconds is None else torch.cat([seconds[m] for m in watched])
        tokens = [environments[m] for m in watched]
        seen[modality] = Context(torch.cat(tokens, dim=1), seconds=times, bias=_equal_shares(tokens))
    return seen


def _equal_shares(tokens: list[Tensor]) -> Tensor | None:
    """Logits [N] with which every modality weighs the same, however many tokens it has; None if they do anyway."""
    counts = [x.shape[1] for x in tokens]
    if len(set(counts)) == 1:
        return None
    return torch.cat([torch.full((count,), -math.log(count), device=tokens[0].device) for count in counts])


def joint_forward(
    denoisers: Mapping[Modality, Denoiser],
    latents: Mapping[Modality, Tensor],
    timesteps: Mapping[Modality, Tensor],
    encoder_hidden_states: Tensor,
    exchange: Exchange = "others",
    environments: Mapping[Modality, Tensor] | None = None,
    outputs: Iterable[Modality] | None = None,
) -> dict[Modality, Tensor]:
    """Run the denoisers of all modalities in ``latents`` on one prompt, each seeing the others.

    Args:
        denoisers: a network per modality; image and video may be the same object.
        latents: noisy latents per modality, batch first.
        timesteps: [B] per modality; they may differ between modalities.
        encoder_hidden_states: prompt tokens [B, N, D], the same for all.
        exchange: see ``exchanged``.
        environments: tokens already computed with ``environment_tokens`` (a training loss needs them too).
        outputs: the modalities to predict, by default all; the others are only seen.

    Returns:
        Predictions per output, each of its latent's shape. One modality alone runs without alignment.
    """
    if len(latents) == 1:
        seen = dict.fromkeys(latents)
    else:
        environments = environments or environment_tokens(denoisers, latents, timesteps)
        seen = exchanged(environments, exchange, environment_seconds(denoisers, latents))
    return {
        modality: denoisers[modality](latents[modality], timesteps[modality], encoder_hidden_states, seen[modality])
        for modality in (latents if outputs is None else outputs)
    }
