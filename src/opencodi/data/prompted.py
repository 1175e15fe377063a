"""Latents on disk and the prompts each is paired with: sets of any size, whose captions are encoded as they are drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..device import quickly
from ..prompts import Condition, TextPromptEncoder
from .chunks import Joined, Rows, unpacked_texts
from .paired import draw_kinds

TEXTS_AT_ONCE = 256


@dataclass
class PromptedLatents:
    """Items of one modality with several captions each, and perhaps one more condition, of the item itself as a prompt.

    Attributes:
        chunks: ``latents`` [N, ...] in half precision; ``captions``, packed texts, the plainest first; ``seen`` [N, T, D] if
            items may be prompts.
        text_encoder: frozen, on the CPU.
        shares: of each of the joined sets among the items drawn.
        kind: what prompts of the item itself are called, such as ``image``.
        name_share: chance that a text prompt is the plainest caption.
        detail_share: chance that a prompt has all its tokens. Else it has the aligned embedding alone, as sounds and
            evidence have: a network learns to draw from that, too.
        autoencoder: frozen; shows latents.
        codec: for text, turns latents into sentences.
    """

    chunks: Joined
    text_encoder: TextPromptEncoder
    shares: Sequence[float]
    kind: str
    name_share: float
    detail_share: float
    autoencoder: Any = None
    codec: Any = None

    def __post_init__(self) -> None:
        self.latents = Rows(self.chunks, "latents")
        total = sum(self.shares)
        self._chances = [share / total for share in self.shares]

    def __len__(self) -> int:
        return len(self.chunks)

    def draw_batch(
        self, rng: np.random.Generator, count: int, shares: Mapping[str, float]
    ) -> tuple[np.ndarray, dict[str, torch.Tensor]]:
        """(positions [B], {condition [B, T, D], mask [B, T]}): each item with one prompt of a kind drawn by ``shares``.

        The rest, up to 1, has no prompt: a zero token.
        """
        items = self.draw_items(rng, count)
        kinds = np.array([str(kind) for kind in draw_kinds(rng, count, shares)])
        texts = self.draw_texts(rng, items)
        detailed = torch.from_numpy(rng.random(count) < self.detail_share)
        return items, self._prompts(items, texts, kinds, detailed)

    def draw_items(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """``count`` positions, by the shares of the joined sets."""
        chosen = rng.choice(len(self.shares), count, p=self._chances)
        starts = self.chunks.starts
        return starts[chosen] + rng.integers(0, np.diff(starts)[chosen])

    def draw_texts(self, rng: np.random.Generator, items: np.ndarray) -> list[str]:
        """One caption of each item, the plainest in a share of ``name_share``."""
        plain = rng.random(len(items)) < self.name_share
        return [each[0] if first else each[rng.integers(len(each))] for each, first in zip(self.captions(items), plain)]

    def embedded(self, texts: Sequence[str]) -> torch.Tensor:
        """The aligned embeddings [B, D] of texts, without their words."""
        with torch.no_grad(), quickly(self.text_encoder.device):
            parts = [
                self.text_encoder.embed_texts(texts[i : i + TEXTS_AT_ONCE]) for i in range(0, len(texts), TEXTS_AT_ONCE)
            ]
            return self.text_encoder.project(torch.cat(parts)).tokens[:, 0].float().cpu()

    def captions(self, items: np.ndarray) -> list[list[str]]:
        """All captions of each item."""
        return unpacked_texts(self.chunks.rows("captions", items))

    @property
    def names(self) -> "PromptedLatents._Names":
        """The plainest caption of an item by its place."""
        return self._Names(self)

    class _Names:
        def __init__(self, of: "PromptedLatents"):
            self._of = of

        def __getitem__(self, place: int) -> str:
            return self._of.captions(np.array([place]))[0][0]

    def having(self, kind: str) -> np.ndarray:
        """Positions of the items with a prompt of this kind: all."""
        return np.arange(len(self))

    def first_prompts(self, items: np.ndarray, kind: str = "text") -> dict[str, torch.Tensor]:
        """Each item's plainest caption, or the item itself, as a prompt: condition [B, T, D] and mask [B, T]."""
        texts = [each[0] for each in self.captions(items)]
        kinds = np.array([kind] * len(items))
        return self._prompts(items, texts, kinds, torch.ones(len(items), dtype=torch.bool))

    def _prompts(
        self, items: np.ndarray, texts: Sequence[str], kinds: np.ndarray, detailed: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        count, width = len(items), self.text_encoder.config.projection_dim
        parts: list[tuple[np.ndarray, Condition]] = []
        if (written := np.flatnonzero(kinds == "text")).size:
            with torch.no_grad(), quickly(self.text_encoder.device):
                parts.append((written, self.text_encoder.encode([texts[place] for place in written])))
        if (own := np.flatnonzero(kinds == self.kind)).size:
            seen = self.chunks.rows("seen", items[own]).float()
            parts.append((own, Condition(seen, seen.abs().amax(-1) > 0)))  # what has fewer tokens ends in zeros
        longest = max((part.tokens.shape[1] for _, part in parts), default=1)
        tokens, mask = torch.zeros(count, longest, width), torch.zeros(count, longest, dtype=torch.bool)
        mask[:, 0] = True
        for places, part in parts:
            missing = longest - part.tokens.shape[1]
            tokens[places] = F.pad(part.tokens.float(), (0, 0, 0, missing))
            mask[places] = F.pad(part.mask, (0, missing))
        mask[:, 1:] &= detailed[:, None]
        return {"condition": tokens * mask.unsqueeze(-1), "mask": mask}
