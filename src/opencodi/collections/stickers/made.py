"""Items that are made when they are asked for: stickers as if photographed, scenes, and moving scenes, with their captions."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ...data.shards import Items
from .captions import article, captions_of, styled_captions
from .moving_scenes import Clip, MovingScene, Sounds, draw_moving_scene, random_moving_scene
from .photographic import photographed_again, photographic
from .scene_captions import plain_caption, scene_caption
from .scene_sampling import random_scene
from .scenes import Scene, draw_scene, place
from .things import Drawings

PHOTOGRAPHIC, SCENES, MOVING_SCENES = MADE = ("photographic", "scenes", "moving-scenes")
"""The ``shard`` of items that are made."""

WORDINGS = 2
"""Captions of a scene besides the plainest."""


class Made:
    """Media that are made whenever they are indexed, always the same ones.

    Args:
        makers: of each item.
        names: of each item; they tell apart what is made.
    """

    def __init__(self, makers: Sequence[Callable[[], np.ndarray]], names: Sequence[str]):
        self.makers = list(makers)
        self.key = hashlib.sha256("\0".join(names).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.makers)

    def __getitem__(self, places: slice | np.ndarray) -> np.ndarray:
        chosen = range(len(self))[places] if isinstance(places, slice) else places
        return np.stack([self.makers[place]() for place in chosen])


@dataclass
class Listed:
    """Items in the order in which they are listed, each with what is known of it."""

    makers: list[Callable[[], np.ndarray]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    captions: list[list[str]] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)

    def add(self, make: Callable[[], np.ndarray], name: str, captions: list[str], record: dict[str, Any]) -> None:
        """One more."""
        self.makers.append(make)
        self.names.append(name)
        self.captions.append(captions)
        self.records.append(record)

    def add_stored(self, items: Items, concepts: Mapping[str, Any]) -> None:
        """Items as they are."""
        for number, record in enumerate(items.records):
            self.add(partial(_stored, items, number), _name(record), _captions(record, concepts), record)

    def add_photographic(self, items: Items, photos: Items, concepts: Mapping[str, Any], versions: int) -> None:
        """Every sticker ``versions`` times as if photographed; captions name no style."""
        for version in range(versions):
            for number, record in enumerate(items.records):
                seed = (version, number)
                # A photograph has no art style to name.
                plain = [text for text in captions_of(record, concepts) if text not in _styled(record)]
                make = partial(_photographic, items, number, photos.media, seed)
                self.add(make, f"photographic {seed} {_name(record)}", plain, {**record, "shard": PHOTOGRAPHIC})

    def add_photographs_again(self, photos: Items, concepts: Mapping[str, Any], versions: int) -> None:
        """Every photograph ``versions`` times, in other light and over other grounds."""
        for version in range(versions):
            for number, record in enumerate(photos.records):
                seed = (version, number)
                make = partial(_photographed_again, photos, number, seed)
                self.add(make, f"again {seed} {_name(record)}", _captions(record, concepts), record)

    def add_scenes(self, drawings: Drawings, count: int, seed: int, withheld: bool = False) -> None:
        """``count`` scenes; with ``withheld`` those that nothing learns from."""
        for number in range(count):
            scene, rng = drawable_scene(drawings, (seed, number, withheld), withheld)
            made = {"shard": SCENES, "concept": None, "scene": number}
            captions = scene_wordings(scene, rng)
            self.add(
                partial(scene_picture, scene, drawings, (seed, number)), f"{scene} {seed} {number}", captions, made
            )

    def add_moving_scenes(
        self, drawings: Drawings, sounds: Sounds, count: int, seed: int, withheld: bool = False
    ) -> None:
        """``count`` moving scenes, without their sounds."""
        for number in range(count):
            moving, captions = moving_scene_of(drawings, sounds, (seed, number, withheld), withheld)
            make = partial(_moving_scene, moving, drawings, sounds, (seed, number))
            self.add(make, f"{moving} {seed} {number}", captions, {"shard": MOVING_SCENES, "concept": None})

    def media(self) -> Made:
        """All of them."""
        return Made(self.makers, self.names)


def drawable_scene(drawings: Drawings, seed: Sequence[int], withheld: bool | None) -> tuple[Scene, np.random.Generator]:
    """The scene of a seed, one whose colours are sound for its drawings, and the generator for what else it needs."""
    rng = np.random.default_rng(tuple(seed))
    while True:
        scene = random_scene(drawings, rng, withheld)
        if place(scene, drawings, rng) is not None:
            return scene, rng


def scene_wordings(scene: Scene, rng: np.random.Generator, count: int = WORDINGS) -> list[str]:
    """The plainest caption of a scene and ``count`` others."""
    return [plain_caption(scene), *(scene_caption(scene, rng) for _ in range(count))]


def scene_picture(scene: Scene, drawings: Drawings, seed: Sequence[int]) -> np.ndarray:
    """The picture of a drawable scene, straight uint8 RGBA, as large as its drawings are stored."""
    return draw_scene(scene, drawings, np.random.default_rng(tuple(seed)), drawings.items.media.shape[1])


def moving_scene_of(
    drawings: Drawings, sounds: Sounds, seed: Sequence[int], withheld: bool, audible: float = 0.75
) -> tuple[MovingScene, list[str]]:
    """The moving scene of a seed, and its captions, the plainest first."""
    rng = np.random.default_rng(tuple(seed))
    moving = random_moving_scene(drawings, sounds, rng, withheld, audible)
    return moving, [moving.plain_caption(), *(moving.caption(rng) for _ in range(WORDINGS))]


def moving_scene_clip(moving: MovingScene, drawings: Drawings, sounds: Sounds, seed: Sequence[int]) -> Clip:
    """The clip of a moving scene, as large as its drawings are stored."""
    rng = np.random.default_rng((3, *seed))
    return draw_moving_scene(moving, drawings, sounds, rng, drawings.items.media.shape[1])


def held_photos(photos: Items, share: float) -> tuple[Items, Items]:
    """(training, validation) photographs: ``share`` of those that have a name validate, told by a hash of the name."""
    held = np.array([bool(record.get("concept")) and _position(record) < share for record in photos.records])
    return photos.subset(np.flatnonzero(~held)), photos.subset(np.flatnonzero(held))


def _position(record: Mapping[str, Any]) -> float:
    return int.from_bytes(hashlib.sha256(f"photo of {record['name']}".encode()).digest()[:4], "big") / 2**32


def _name(record: Mapping[str, Any]) -> str:
    parts = (record.get(key) for key in ("shard", "code", "style", "source", "caption", "tone"))
    return " ".join(str(part) for part in parts if part)


def _captions(record: Mapping[str, Any], concepts: Mapping[str, Any]) -> list[str]:
    """A photograph of a thing is called by its name, too, and that first."""
    found = captions_of(record, concepts)
    if not record.get("caption") or not record.get("concept"):
        return found
    name = str(record["name"])
    return [name, article(name), f"a photo of {article(name)}", *found]


def _styled(record: Mapping[str, Any]) -> list[str]:
    return styled_captions(record) if record.get("style") else []


def _stored(items: Items, number: int) -> np.ndarray:
    return items.media[number]


def _opaque(picture: np.ndarray) -> np.ndarray:
    return np.concatenate([picture, np.full_like(picture[..., :1], 255)], -1)


def _photographic(items: Items, number: int, photos: np.ndarray, seed: Sequence[int]) -> np.ndarray:
    rng = np.random.default_rng((1, *seed))
    return _opaque(photographic(items.media[number], photos, rng, rng.uniform(0.4, 1)))


def _photographed_again(photos: Items, number: int, seed: Sequence[int]) -> np.ndarray:
    return _opaque(photographed_again(photos.media[number], photos.media, np.random.default_rng((2, *seed))))


def _moving_scene(moving: MovingScene, drawings: Drawings, sounds: Sounds, seed: Sequence[int]) -> np.ndarray:
    return moving_scene_clip(moving, drawings, sounds, seed).frames
