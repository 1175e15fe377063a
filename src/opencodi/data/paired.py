"""Items with latents, and the prompts each is paired with: what diffusers and alignment learn from."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

CHUNK = 64

THING = "thing"
OPEN = (None, THING)
"""Kinds of prompts that leave open which thing is meant: none, and what kind of thing it is."""


@dataclass
class Prompts:
    """Prompts of one kind: embeddings [K, D] in the shared space and, for each item, the rows that describe it."""

    tokens: torch.Tensor
    rows: Sequence[np.ndarray]


def draw_kinds(rng: np.random.Generator, count: int, shares: Mapping[str, float]) -> list[str | None]:
    """``count`` kinds of prompts, drawn by their shares; None for the rest, up to 1."""
    kinds, edges = [*shares, None], np.cumsum(list(shares.values()))
    return [kinds[place] for place in np.searchsorted(edges, rng.random(count), side="right")]


@dataclass
class PairedSet:
    """Items of one modality.

    Attributes:
        latents: half precision [N, ...], normalised.
        names: the N plain names.
        concepts: the N concept codes, by which items of two sets are paired.
        prompts: {kind: prompts}. The first row of kind ``text`` is the plain caption; ``thing`` says what kind of thing it
            is ("an animal"), which leaves open which.
        weights: chance of each item to be drawn (they sum to 1), or None for equal ones.
        manners: [N, M], the styles and motions that items are in ; None: nothing is told of them.
        open_weights: the same where the prompt leaves open which (no prompt, or the kind of thing); None: as ``weights``.
        name_share: chance that a text prompt is the first caption.
        autoencoder: frozen; shows latents.
        codec: for text, turns latents into sentences.
    """

    latents: torch.Tensor
    names: list[str]
    concepts: list[str]
    prompts: dict[str, Prompts]
    name_share: float
    weights: np.ndarray | None = None
    open_weights: np.ndarray | None = None
    manners: torch.Tensor | None = None
    autoencoder: Any = None
    codec: Any = None
    by_concept: dict[str, np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        self.by_concept = positions(self.concepts)

    def __len__(self) -> int:
        return len(self.latents)

    def draw(self, rng: np.random.Generator, count: int, openly: bool = False) -> np.ndarray:
        """``count`` item positions; ``openly`` draws those for prompts that leave open which."""
        weights = self.open_weights if openly and self.open_weights is not None else self.weights
        return rng.choice(len(self), count, p=weights)

    def favour(self, concepts: Collection[str], factor: float) -> None:
        """Where the prompt leaves open which, draw items of these concepts ``factor`` times as often as they were."""
        likelier = np.where([code in concepts for code in self.concepts], factor, 1.0)
        before = self.weights if self.open_weights is None else self.open_weights
        weights = likelier * (1.0 if before is None else before)
        self.open_weights = weights / weights.sum()

    def draw_batch(
        self, rng: np.random.Generator, count: int, shares: Mapping[str, float]
    ) -> tuple[np.ndarray, dict[str, torch.Tensor]]:
        """(item positions [B], {condition [B, D], manner [B, M] if this set tells it}): each item with one prompt.

        The prompt's kind is drawn by ``shares``; the rest, up to 1, has no prompt and no manner: zeros.
        """
        items, condition = self.draw_prompted(rng, count, shares)
        prompts = {"condition": condition}
        if self.manners is not None:
            prompts["manner"] = self.manners[items] * (condition.norm(dim=1, keepdim=True) > 0)
        return items, prompts

    def draw_prompted(
        self, rng: np.random.Generator, count: int, shares: Mapping[str, float]
    ) -> tuple[np.ndarray, torch.Tensor]:
        """(item positions [B], condition embeddings [B, D]): each item with one prompt of a kind drawn by ``shares``.

        The rest, up to 1, has no prompt: zeros.
        """
        kinds = draw_kinds(rng, count, shares)
        openly = np.array([kind in OPEN for kind in kinds])
        items = np.where(openly, self.draw(rng, count, openly=True), self.draw(rng, count))
        return items, self.conditions(items, kinds, rng)

    def conditions(self, items: np.ndarray, kinds: Sequence[str | None], rng: np.random.Generator) -> torch.Tensor:
        """Condition embeddings [B, D]: a prompt of its kind for each item; zeros where the kind is None.

        An item without prompts of its kind is prompted by text.
        """
        tokens = torch.zeros(len(items), self.prompts["text"].tokens.shape[1])
        for position, (item, kind) in enumerate(zip(items, kinds, strict=True)):
            if kind is not None:
                tokens[position] = self._draw_one(kind, item, rng)
        return tokens

    def _draw_one(self, kind: str, item: int, rng: np.random.Generator) -> torch.Tensor:
        rows = self.prompts[kind].rows[item]
        if not len(rows):
            kind, rows = "text", self.prompts["text"].rows[item]
        first = kind == "text" and rng.random() < self.name_share
        return self.prompts[kind].tokens[rows[0] if first else rows[rng.integers(0, len(rows))]]

    def first_prompts(self, items: np.ndarray, kind: str = "text") -> dict[str, torch.Tensor]:
        """``first_condition`` as a part of a batch."""
        return {"condition": self.first_condition(items, kind)}

    def having(self, kind: str) -> np.ndarray:
        """Positions of the items with a prompt of this kind."""
        return np.array([i for i, rows in enumerate(self.prompts[kind].rows) if len(rows)], dtype=int)

    def first_condition(self, items: np.ndarray, kind: str = "text") -> torch.Tensor:
        """Condition embeddings [B, D]: each item's first prompt of this kind."""
        prompts = self.prompts[kind]
        return prompts.tokens[[prompts.rows[i][0] for i in items]]


def joined(
    read: tuple[PairedSet, PairedSet], made: tuple[PairedSet, PairedSet], share: float
) -> tuple[PairedSet, PairedSet]:
    """(training, validation) of items read and items made, of which ``share`` of the draws are of those made.

    Kinds of prompts are those of the items read.
    """
    training, validation = (joined_set(first, second, share) for first, second in zip(read, made))
    return training, validation


def joined_set(first: PairedSet, second: PairedSet, share: float) -> PairedSet:
    """One set of both, of which ``share`` of the draws are of ``second``; kinds of prompts are those of ``first``."""
    prompts = {}
    for kind, known in first.prompts.items():
        more = second.prompts[kind]
        moved = [np.asarray(rows) + len(known.tokens) for rows in more.rows]
        prompts[kind] = Prompts(torch.cat([known.tokens, more.tokens]), [*known.rows, *moved])
    manners = [each.manners for each in (first, second)]
    known = next((each for each in manners if each is not None), None)
    if known is not None:
        none = [known.new_zeros(len(each), known.shape[1]) for each in (first, second)]
        known = torch.cat([zeros if told is None else told for told, zeros in zip(manners, none)])
    return PairedSet(
        manners=known,
        latents=torch.cat([first.latents, second.latents]),
        names=first.names + second.names,
        concepts=first.concepts + second.concepts,
        prompts=prompts,
        name_share=first.name_share,
        weights=np.concatenate([(1 - share) * first.weights, share * second.weights]),
        autoencoder=first.autoencoder,
    )


def other_beat(positions: np.ndarray) -> np.ndarray:
    """For positions in a set whose positions 2k and 2k + 1 are the same thing on two beats: those of the other beat."""
    return positions ^ 1


def positions(keys: Iterable[str]) -> dict[str, np.ndarray]:
    """{key: where it stands among ``keys``, in order}."""
    found: dict[str, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        found[key].append(position)
    return {key: np.array(positions) for key, positions in found.items()}


@torch.no_grad()
def in_chunks(function: Callable[[np.ndarray], torch.Tensor], media: np.ndarray, size: int = CHUNK) -> torch.Tensor:
    """``function`` over chunks of ``media``, concatenated, on the CPU."""
    return torch.cat([function(media[start : start + size]).cpu() for start in range(0, len(media), size)])
