"""What a reader of manners learns from: texts, pictures and courses, with the styles and motions that each has."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...data.shards import Items, load_concepts, load_images
from ...training.components import ModelFolder
from ...training.recipe import Values
from ...training.tasks.manner import Manners
from .captions import kind_captions
from .manners import DOINGS, MANNERS, STYLES, manner_text, manners_of
from .motion import MOTIONS, course
from .paired_sets import of_styles
from .splits import split

PLAIN_SHARE = 0.3
"""Of the texts: names, keywords and kinds that say nothing of the manner, whatever words they use."""

WAY = 0
"""Seed of beat, size and direction: the same for all, so that a motion's name says exactly how it goes."""


class MannerData(Values):
    """Texts, pictures and courses.

    Attributes:
        shards: of pictures whose style is told, and of those that have none.
        num_texts: texts made of the collection's names, styles and motions (``stickers.manners.manner_text``).
        course_styles: art styles of the stills whose courses are learned.
    """

    shards: tuple[str, ...]
    num_texts: int
    course_styles: tuple[str, ...]

    def load(self, folder: Path, parts: ModelFolder, settings: Any) -> Manners:
        """Read the shards in ``folder``."""
        everything = load_images(folder, self.shards)
        return Manners(
            styles=list(STYLES),
            motions=list(DOINGS),
            texts=texts_of(list(load_concepts(folder).values()), self.num_texts),
            pictures=tuple((part.media, styles_of(part)) for part in split(everything)),
            courses=tuple(courses_of(part) for part in split(of_styles(everything, self.course_styles))),
        )


def texts_of(concepts: list[dict[str, Any]], count: int) -> tuple[tuple[list[str], torch.Tensor], ...]:
    """(training, validation) texts and float [N, M + 1], what they say; names are of one side only."""
    rng = np.random.default_rng(0)
    held = set(rng.permutation(len(concepts))[: max(1, len(concepts) // 20)].tolist())
    sides = []
    for number, keeps in enumerate((False, True)):
        rng = np.random.default_rng(number)
        mine = [concept for place, concept in enumerate(concepts) if (place in held) == keeps]
        made = []
        for _ in range(max(1, count // 20) if keeps else count):
            concept = mine[rng.integers(len(mine))]
            if rng.random() < PLAIN_SHARE:
                plain = [concept["name"], *concept.get("keywords", ()), *kind_captions(concept)]
                made.append((str(rng.choice(plain)), [], False))
            else:
                made.append(manner_text(concept["name"], rng))
        told = torch.zeros(len(made), len(MANNERS) + 1)
        for row, (_, manners, alone) in zip(told, made):
            row[[MANNERS.index(name) for name in manners]] = 1
            row[-1] = alone
        sides.append(([text for text, _, _ in made], told))
    return tuple(sides)


def styles_of(items: Items) -> torch.Tensor:
    """int64 [N], the number of each picture's style; the number after the last is none."""
    told = manners_of(items.records)[:, : len(STYLES)]
    return torch.where(told.amax(1) > 0, told.argmax(1), len(STYLES))


def courses_of(items: Items) -> tuple[list[str], torch.Tensor]:
    """Names and the courses [N, motions, frames, 2, 3] of stills, each motion always one way."""
    courses = [[course(still, motion, np.random.default_rng(WAY)) for motion in MOTIONS] for still in items.media]
    return [str(record["name"]) for record in items.records], torch.from_numpy(np.stack(courses)).float()
