"""What encoders of evidence learn from: latents on disk, their captions, the things they show, and when something happens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from ..denoisers import CaptionBank
from .chunks import Joined, unpacked_texts
from .prompted import PromptedLatents


class Drawn(NamedTuple):
    """Some items: latents [B, ...], a caption of each, numbers of their things [B, M] (-1: none) and beats [B, T]."""

    latents: torch.Tensor
    captions: list[str]
    things: torch.Tensor
    beats: torch.Tensor


@dataclass
class EvidenceItems:
    """Items of one modality.

    Attributes:
        items: latents and captions.
        known: of the same items in the same order, ``things``, packed names, and ``beats`` int8 [N, T]: 1 where something
            happens, 0 where nothing does, -1 where that is unknown.
        names: what things may be called.
        most: as many things of an item count, the first ones.
    """

    items: PromptedLatents
    known: Joined
    names: Sequence[str]
    most: int = 3

    def __post_init__(self) -> None:
        self._numbers = {name: number for number, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.items)

    def draw(self, rng: np.random.Generator, count: int) -> Drawn:
        """``count`` items, each with any of its captions."""
        places = self.items.draw_items(rng, count)
        return self._at(places, self.items.draw_texts(rng, places))

    def first(self, places: np.ndarray) -> Drawn:
        """The items at these positions, each with its plainest caption."""
        return self._at(places, [each[0] for each in self.items.captions(places)])

    def _at(self, places: np.ndarray, captions: list[str]) -> Drawn:
        things = torch.full((len(places), self.most), -1)
        for row, names in enumerate(unpacked_texts(self.known.rows("things", places))):
            numbers = [self._numbers[name] for name in names if name in self._numbers][: self.most]
            things[row, : len(numbers)] = torch.tensor(numbers, dtype=torch.long)
        return Drawn(self.items.latents[places].float(), captions, things, self.known.rows("beats", places).float())


@dataclass
class EvidenceSets:
    """Both sides of a modality, and the bank that all encoders of a model share.

    Attributes:
        bank: its first texts are ``names``.
        is_new: whether the run makes the bank.
    """

    training: EvidenceItems
    held: EvidenceItems
    bank: CaptionBank
    is_new: bool
