"""Latents in the middle of denoising → a small picture of what they become."""

import base64
import io
import logging
from collections.abc import Mapping
from typing import Any

from ..media import normalise
from ..modality import MODALITIES, Modality

_LOG = logging.getLogger(__name__)


class Previews:
    """Looks into one call of a pipeline, step by step.

    A picture that is half noise says little, so the clean picture that it leads to is computed from two successive
    latents: both are ``alpha * clean + sigma * noise`` with the same clean picture and noise, two equations for two unknowns.
    That holds exactly for DDIM and nearly for other solvers. Where a scheduler has no alphas, latents are shown as they are.
    """

    def __init__(self, pipe: Any) -> None:
        self._alphas = getattr(getattr(pipe, "scheduler", None), "alphas_cumprod", None)
        self._part = lambda name: getattr(pipe, name)
        self._seen: dict[str, list[tuple[int, Any]]] = {}
        self._failed = False

    def keep(self, latents: Mapping[str, Any], timesteps: Mapping[str, Any]) -> None:
        """Remember what the callback was given after a step; ``timesteps`` are those the step started from."""
        for modality in (Modality.IMAGE, Modality.VIDEO):
            if modality in latents and modality in timesteps and not self._failed:
                seen = self._seen.setdefault(modality, [])
                if seen:  # the latents of the last call are of the level from which this step started
                    seen[-1] = (int(timesteps[modality]), seen[-1][1])
                seen.append((-1, latents[modality][:1].detach().clone()))
                del seen[:-3]

    def picture(self) -> Any | None:
        """The picture, or the first frame of the clip, as far as it can be told; None before the first step.

        A preview that fails is logged, and there are no more of them: it must not end the run.
        """
        if not self._seen:
            return None
        modality, seen = next(iter(self._seen.items()))
        latents = self._clean(seen)
        try:
            codec = MODALITIES[Modality.IMAGE].build_codec(self._part)
            return codec.decode(latents[:, :, 0] if modality == Modality.VIDEO else latents)[0]
        except Exception:
            _LOG.exception("the studio cannot show how the picture comes about")
            self._seen, self._failed = {}, True
            return None

    def _clean(self, seen: list[tuple[int, Any]]) -> Any:
        if self._alphas is None or len(seen) < 3:
            return seen[-1][1]
        (early, x), (late, y), _ = seen
        a, b = (self._alphas[step].sqrt().item() for step in (early, late))
        s, t = ((1 - self._alphas[step]).sqrt().item() for step in (early, late))
        if early <= late or abs(t * a - s * b) < 1e-4:
            return seen[-1][1]
        return (t * x - s * y) / (t * a - s * b)


def data_address(picture: Any) -> str:
    """A small picture as an address that needs no request."""
    file = io.BytesIO()
    normalise(picture).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
