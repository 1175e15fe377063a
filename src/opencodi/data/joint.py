"""Pairs on disk: latents of two modalities whose rows belong together, for alignment by distillation."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import ConfigurationError
from .prompted import PromptedLatents


@dataclass
class JointItems:
    """Two sets of latents, row by row of the same things.

    Attributes:
        sets: {modality: latents and captions}; prompts are those of the second.

    Raises:
        ConfigurationError: if they have different numbers of rows.
    """

    sets: Mapping[str, PromptedLatents]

    def __post_init__(self) -> None:
        counts = {str(modality): len(each) for modality, each in self.sets.items()}
        if len(set(counts.values())) > 1:
            raise ConfigurationError(f"data: pairs need equally many items of both modalities, not {counts}")

    def __len__(self) -> int:
        return len(self._leading)

    @property
    def _leading(self) -> PromptedLatents:
        return list(self.sets.values())[-1]

    def draw(self, rng: np.random.Generator, count: int, prompt_share: float) -> dict[str, torch.Tensor]:
        """{modality: latents [B, ...], condition [B, N, D], mask [B, N]}.

        A share of the pairs has a text prompt, the rest zeros.
        """
        places, prompts = self._leading.draw_batch(rng, count, {"text": prompt_share})
        return self._latents(places) | prompts

    def first(self, places: np.ndarray) -> dict[str, torch.Tensor]:
        """The pairs at these positions, each with its plainest caption as the prompt."""
        return self._latents(places) | self._leading.first_prompts(places)

    def _latents(self, places: np.ndarray) -> dict[str, torch.Tensor]:
        return {str(modality): each.latents[places].float() for modality, each in self.sets.items()}
