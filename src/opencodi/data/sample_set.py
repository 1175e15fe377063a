"""Encoded samples as what denoisers and alignment learn from, each sample once per epoch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..errors import ConfigurationError
from ..modality import Modality
from .encoded import LATENTS, PROMPTS, Groups
from .epochs import draw_items
from .paired import PairedSet, Prompts
from .prepared import PreparedFolder


class Chosen:
    """Some of the rows of a tensor, which stays where it is."""

    def __init__(self, rows: Any, places: np.ndarray):
        self.rows, self.places = rows, places
        self.shape = torch.Size((len(places), *rows.shape[1:]))

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, chosen: Any) -> torch.Tensor:
        return self.rows[self.places[chosen]]


class OfItems(Sequence):
    """For each item the rows of its sample's prompts."""

    def __init__(self, groups: Groups, samples: np.ndarray):
        self.groups, self.samples = groups, samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, item: int) -> np.ndarray:
        return self.groups[int(self.samples[item])]


class SampleSet(PairedSet):
    """A set whose items are drawn in epochs, and whose prompts may be of any modality of their own sample.

    Attributes:
        samples: int64 [N], the sample that each item is of.
    """

    samples: np.ndarray

    def __post_init__(self) -> None:
        return None  # pairs are made by sample, not by concept

    def draw(self, rng: np.random.Generator, count: int, openly: bool = False) -> np.ndarray:
        """``count`` item positions: the next of the epoch."""
        return draw_items(rng, len(self), count)

    def conditions(self, items: np.ndarray, kinds: Sequence[str | None], rng: np.random.Generator) -> torch.Tensor:
        """Condition embeddings [B, D]: a prompt of its kind for each item; zeros where the kind is None.

        An item without prompts of its kind is prompted by text, else by whatever its sample has.
        """
        return self._gathered(
            [None if kind is None else self._row(kind, item, rng) for item, kind in zip(items, kinds)]
        )

    def first_condition(self, items: np.ndarray, kind: str = "text") -> torch.Tensor:
        """Condition embeddings [B, D]: each item's first prompt of this kind, else of another."""
        return self._gathered([self._row(kind, item, None) for item in items])

    def _row(self, kind: str, item: int, rng: np.random.Generator | None) -> tuple[str, int] | None:
        """(kind, row) of one prompt of an item, the first one without ``rng``; None if its sample has none."""
        for known in (kind, Modality.TEXT, *self.prompts):
            rows = self.prompts[known].rows[item]
            if len(rows):
                is_first = rng is None or (known == Modality.TEXT and rng.random() < self.name_share)
                return str(known), int(rows[0] if is_first else rows[rng.integers(0, len(rows))])
        return None

    def _gathered(self, chosen: Sequence[tuple[str, int] | None]) -> torch.Tensor:
        """The embeddings of these rows [B, D], read once per kind."""
        tokens = torch.zeros(len(chosen), self.prompts[Modality.TEXT].tokens.shape[1])
        for kind in {each[0] for each in chosen if each}:
            places = [place for place, each in enumerate(chosen) if each and each[0] == kind]
            tokens[places] = self.prompts[kind].tokens[[chosen[place][1] for place in places]].float()
        return tokens


def sample_sets(
    prepared: PreparedFolder,
    modality: str,
    kinds: Sequence[str],
    rows: Mapping[str, tuple[Any, np.ndarray]],
    name_share: float,
    **decoding: Any,
) -> tuple[SampleSet, SampleSet]:
    """(training, validation) sets of one modality.

    Args:
        prepared: the folder.
        modality: whose latents are the items; of text every caption is one.
        kinds: of prompts, beside text.
        rows: {part: (rows, which sample each is of)}, see ``training.encode.find_rows``.
        name_share: chance that a text prompt is the first caption.
        **decoding: ``autoencoder`` and ``codec`` of the set.

    Raises:
        ConfigurationError: if no sample has this modality, or prompts of one of ``kinds``.
    """
    latents, owners = rows[f"{LATENTS}.{modality}"]
    if not len(latents):
        raise ConfigurationError(f"no sample of {prepared.path} has {modality}; use other data")
    groups = {}
    for kind in dict.fromkeys([Modality.TEXT, *kinds]):
        tokens, of_samples = rows[f"{PROMPTS}.{kind}"]
        if kind in kinds and not len(tokens):
            raise ConfigurationError(f"prompt_shares: no sample of {prepared.path} has {kind}; leave it out")
        groups[str(kind)] = tokens, Groups(of_samples, len(prepared))
    width = max(tokens.shape[-1] for tokens, _ in groups.values() if len(tokens))
    held = np.array(prepared.held)[owners]
    names = _names(prepared, modality, owners)

    def side(places: np.ndarray) -> SampleSet:
        samples = owners[places]
        prompts = {
            kind: Prompts(tokens if len(tokens) else torch.zeros(0, width), OfItems(of_samples, samples))
            for kind, (tokens, of_samples) in groups.items()
        }
        made = SampleSet(
            latents=Chosen(latents, places),
            names=[names[place] for place in places],
            concepts=[str(prepared.records[s].get("concept", prepared.records[s]["key"])) for s in samples],
            prompts=prompts,
            name_share=name_share,
            **decoding,
        )
        made.samples = samples
        return made

    return side(np.flatnonzero(~held)), side(np.flatnonzero(held))


def _names(prepared: PreparedFolder, modality: str, owners: np.ndarray) -> list[str]:
    """What each item is called: a caption itself, else the sample's first."""
    if modality == Modality.TEXT:
        return [caption for record in prepared.records for caption in record.get(Modality.TEXT, ())]
    return [next(iter(prepared.records[sample].get(Modality.TEXT, ())), "") for sample in owners]
