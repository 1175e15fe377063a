"""The things that scenes are made of: what they are called, how large they are, what they can do and carry.

The facts are in ``things.yaml``; the drawings come from the shard of pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import yaml

from ...data.shards import Items
from .captions import STYLE_NAMES
from .compositing import alpha_box, premultiplied
from .outline import Outline

FULLEST = 0.97
"""Drawings that fill more than this share of their rectangle have a ground of their own and are left out."""


@dataclass(frozen=True)
class Thing:
    """A concept that can stand in a scene.

    Attributes:
        name: of the concept.
        nouns: what it is called, the usual word first.
        size: of its longer side, relative to other things.
        roles: what it is and what others can do with it, for example ``animals``, ``carries``.
        seat: how far down something rests on it, as a share of its height; None: on its upper edge.
        rim: how far down a container's rim is; None of what is none.
        plural: its name is a plural.
        without: styles whose drawing shows something else.
    """

    name: str
    nouns: tuple[str, ...]
    size: float
    roles: frozenset[str]
    seat: float | None = None
    rim: float | None = None
    plural: bool = False
    without: tuple[str, ...] = ()


@cache
def things() -> dict[str, Thing]:
    """Every thing by its name."""
    table = yaml.safe_load(files(__package__).joinpath("things.yaml").read_text(encoding="utf-8"))
    sizes = {name: float(size) for size, names in table["sizes"].items() for name in names}
    return {
        name: Thing(
            name,
            tuple(table["nouns"].get(name, [name])),
            size,
            frozenset(role for role, members in table["roles"].items() if name in members)
            | ({"levelled"} if name in table["levelled"] else set())
            | ({"contains"} if name in table["containers"] else set()),
            table["seats"].get(name),
            table["containers"].get(name),
            name in table["plurals"],
            tuple(table["without"].get(name, ())),
        )
        for name, size in sizes.items()
    }


@cache
def naming() -> tuple[dict[str, str], dict[str, str]]:
    """Nouns that take "the", and nouns whose article is not what their first letter says: {noun: article} each."""
    table = yaml.safe_load(files(__package__).joinpath("things.yaml").read_text(encoding="utf-8"))
    unique = {noun: the for name, the in table["unique"].items() for noun in table["nouns"].get(name, [name])}
    return unique, table["articles"]


class Drawings:
    """The drawings of things, cut out, by style and name.

    Args:
        items: pictures with alpha, straight uint8 RGBA [N, H, W, 4], and their records; those of no thing are left out.
    """

    def __init__(self, items: Items):
        self.items = items
        self.places: dict[str, dict[str, int]] = {}
        for place, record in enumerate(items.records):
            thing = things().get(record["name"])
            if (
                thing
                and record["style"] in STYLE_NAMES
                and record["style"] not in thing.without
                and not record.get("tone")
            ):
                self.places.setdefault(record["style"], {}).setdefault(record["name"], place)
        self._outlines: dict[tuple[str, str], Outline | None] = {}
        self.styles = tuple(sorted(self.places))

    def named(self, style: str, role: str | None = None) -> list[str]:
        """Names of the things that this style has, or of those with this role."""
        every = self.places[style]
        return [name for name in every if role is None or role in things()[name].roles]

    def has(self, style: str, names: Sequence[str]) -> bool:
        """Whether the style has a usable drawing of each of the things."""
        return all(name in self.places[style] and self.outline(style, name) is not None for name in names)

    def outline(self, style: str, name: str) -> Outline | None:
        """The drawing, cut out; None if it has a ground of its own."""
        key = (style, name)
        if key not in self._outlines:
            picture = premultiplied(self.items.media[self.places[style][name]])
            top, left, bottom, right = alpha_box(picture)
            cut = np.ascontiguousarray(picture[top:bottom, left:right])
            outline = Outline(cut)
            if "levelled" in things()[name].roles:
                outline = outline.levelled()
            self._outlines[key] = None if (cut[..., 3] > 128).mean() > FULLEST else outline
        return self._outlines[key]
