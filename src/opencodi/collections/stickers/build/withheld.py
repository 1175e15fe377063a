"""What is withheld from the shards, so that composition can be tested on what was never seen or heard.

``splits.json`` beside this file is the list itself. It is part of every collection, under the same name.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..splits import style_family
from .speech import COUNTED_ONLY

SPLITS = Path(__file__).with_name("splits.json")


@dataclass(frozen=True)
class Withheld:
    """The withheld items, each named by what it is made of.

    Attributes:
        image_style: (concept, style family).
        image_tone: (concept, style family, skin tone).
        voices: voices that no clip of the shard has.
        sound_source: (concept, package, file or soundfont preset).
        video_concepts: concepts that are never seen moving.
    """

    image_style: frozenset[tuple[str, str]]
    image_tone: frozenset[tuple[str, str, str]]
    voices: frozenset[str]
    sound_source: frozenset[tuple[str, str, str]]
    video_concepts: frozenset[str]

    @classmethod
    def load(cls, file: Path = SPLITS) -> "Withheld":
        """Read a ``splits.json``."""
        lists = json.loads(file.read_text(encoding="utf-8"))
        return cls(**{name: frozenset(map(_hashable, rows)) for name, rows in lists.items()})

    def keeps(self, shard: str, fields: Mapping[str, Any]) -> bool:
        """Whether an item with these fields may stand in the shard."""
        rule = RULES.get(shard)
        return rule is None or not rule(self, fields)


def source_of(detail: str) -> str:
    """A sound's file or preset: ``dog.wav#2`` → ``dog.wav``, ``bank 0 program 24 key 40`` → ``bank 0 program 24``."""
    return detail.split("#")[0].split(" key")[0]


RULES = {
    "images": lambda held, f: (f["concept"], style_family(f["style"])) in held.image_style,
    "images-skin-tones": lambda held, f: (f["concept"], style_family(f["style"]), f["tone"]) in held.image_tone,
    "videos": lambda held, f: f["concept"] in held.video_concepts,
    "videos-skin-tones": lambda held, f: f["concept"] in held.video_concepts,
    "sounds": lambda held, f: (f["concept"], f["source"], source_of(f["detail"])) in held.sound_source,
    "speech": lambda held, f: f["voice"] in held.voices | COUNTED_ONLY,
}
"""Shard → whether an item of it is withheld. Photographs are withheld by their list, ``photos.tsv``."""


def _hashable(row: Any) -> Any:
    return tuple(row) if isinstance(row, list) else row
