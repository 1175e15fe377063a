"""How things are shown, beside what they are: the art styles and motions of the collection, as numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from .captions import STYLE_NAMES, article
from .motion import MOTIONS

STYLES = tuple(dict.fromkeys(STYLE_NAMES.values()))
"""What captions call the art styles."""

DOINGS = tuple(motion.doing for motion in MOTIONS.values())
"""What captions call the procedural motions."""

MANNERS = (*STYLES, *DOINGS)
"""What each position of ``Condition.manner`` stands for."""


def manners_of(records: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    """[N, M]: 1 where a record is in that style or motion; photographs are in none."""
    told = torch.zeros(len(records), len(MANNERS))
    for row, record in zip(told, records):
        for name in (STYLE_NAMES.get(record.get("style", "")), _doing(record)):
            if name is not None:
                row[MANNERS.index(name)] = 1
    return told


def _doing(record: Mapping[str, Any]) -> str | None:
    motion = record.get("motion")
    return MOTIONS[motion].doing if motion in MOTIONS else None


SYNONYMS = {
    "bouncing": ("bouncing", "hopping", "jumping up and down", "bouncing up and down"),
    "spinning": ("spinning", "rotating", "turning round and round", "twirling", "whirling"),
    "sliding": ("sliding", "gliding", "sliding from side to side", "moving left and right"),
    "shaking": ("shaking", "trembling", "shivering", "wobbling"),
    "zooming": ("zooming", "pulsing", "growing and shrinking", "zooming in and out"),
    "swinging": ("swinging", "swaying", "dangling", "swinging to and fro"),
}
"""Other words for the motions; a text may use any."""

ALONE = ("{}", "{}, please", "make it {}", "like this, {}", "the same, {}", "it is {}", "{} all the time")
STYLED_ALONE = ("{} style", "in {} style", "the {} style", "drawn in {} style", "make it {} style", "as {}")
STYLED = (
    "{style} {name}",
    "{name}, {style} style",
    "{name} in {style} style",
    "a {style} style {name}",
    "{name} as {style}",
)
DOING = ("{name}, {doing}", "{doing} {name}", "{name} {doing}", "{name} that is {doing}", "{name} is {doing}")


def manner_text(name: str, rng: np.random.Generator) -> tuple[str, list[str], bool]:
    """A text that may name a style, a motion, both or neither, of a thing or of none: (text, its manners, no thing).

    name: of the thing.
    """
    style, doing = (str(rng.choice(names)) if rng.random() < 0.5 else None for names in (STYLES, DOINGS))
    told = [each for each in (style, doing) if each]
    said = None if doing is None else str(rng.choice(SYNONYMS[doing]))
    if told and rng.random() < 0.2:
        parts = [str(rng.choice(STYLED_ALONE)).format(style)] if style else []
        parts += [str(rng.choice(ALONE)).format(said)] if said else []
        return ", ".join(parts), told, True
    text = article(name) if rng.random() < 0.6 else name
    if style:
        text = str(rng.choice(STYLED)).format(style=style, name=name)
        text = article(text) if rng.random() < 0.3 else text
    if said:
        text = str(rng.choice(DOING)).format(name=text, doing=said)
    return text, told, False
