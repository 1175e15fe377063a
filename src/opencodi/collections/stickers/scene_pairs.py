"""What prompt encoders of the second model learn from: stickers, photographs and scenes, or clips and moving scenes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...data.shards import Items, load_audio, load_concepts, load_images, load_videos
from ...modality import Modality
from ...training.tasks.bridging import Captioned, CaptionedItems
from .captions import unpaired_texts
from .made import MOVING_SCENES, PHOTOGRAPHIC, SCENES, Listed, held_photos
from .moving_scenes import Sounds
from .scene_texts import scene_drawings
from .splits import split
from .things import Drawings

PHOTOS = "photos"


def captioned_scenes(
    values: Any, folder: Path, modality: Modality, shards: Mapping[str, float], classes: Sequence[str]
) -> Captioned:
    """Items of the shards and made ones with their captions; ``values`` is a ``CaptionedData``."""
    concepts = load_concepts(folder)
    training, held = (_clips if modality == Modality.VIDEO else _pictures)(values, folder, shards, concepts)
    sources = {shard: number for number, shard in enumerate(shards)}
    groups: dict[Any, int] = {}
    sides = [
        CaptionedItems(
            media=side.media(),
            captions=side.captions,
            groups=torch.tensor([groups.setdefault(key, len(groups)) for key in _groups(side, number)]),
            mirrored=np.array([record.get("group") in values.flipped_groups for record in side.records]),
            sources=np.array([sources[record["shard"]] for record in side.records]),
            things=[_thing(record) for record in side.records],
        )
        for number, side in enumerate((training, held))
    ]
    names = sorted({concept["name"] for concept in concepts.values()})
    return Captioned(*sides, tuple(shards.values()), unpaired_texts(concepts), names, tuple(shards), list(classes))


def _groups(side: Listed, number: int) -> list[Any]:
    """What shows the same thing: a concept in one skin tone. Scenes and photographs of no concept are each a group."""
    return [
        (record["concept"], record.get("tone")) if record.get("concept") else (number, place)
        for place, record in enumerate(side.records)
    ]


def _thing(record: Mapping[str, Any]) -> str:
    return str(record["name"]) if record.get("concept") and not record.get("tone") else ""


def _pictures(
    values: Any, folder: Path, shards: Mapping[str, float], concepts: Mapping[str, Any]
) -> tuple[Listed, Listed]:
    stored = tuple(shard for shard in shards if shard not in (PHOTOGRAPHIC, SCENES, PHOTOS))
    stickers, held_stickers = split(load_images(folder, stored))
    photos = load_images(folder, (PHOTOS,))
    photos, kept = held_photos(photos, values.held_photos) if values.held_photos else split(photos)
    training, held = Listed(), Listed()
    training.add_stored(stickers, concepts)
    held.add_stored(held_stickers, concepts)
    if PHOTOS in shards:
        training.add_stored(photos, concepts)
        training.add_photographs_again(photos, concepts, values.photographs_again)
        held.add_stored(kept, concepts)
    if PHOTOGRAPHIC in shards:
        plain = stickers.subset([i for i, record in enumerate(stickers.records) if not record.get("tone")])
        training.add_photographic(plain, photos, concepts, values.photographic)
    if SCENES in shards:
        drawings = Drawings(stickers)  # it leaves out what is no thing, such as other skin tones
        training.add_scenes(drawings, values.scenes, seed=0)
        held.add_scenes(drawings, values.held_scenes, seed=0, withheld=True)
    return training, held


def _clips(
    values: Any, folder: Path, shards: Mapping[str, float], concepts: Mapping[str, Any]
) -> tuple[Listed, Listed]:
    clips, held_clips = split(load_videos(folder, tuple(shard for shard in shards if shard != MOVING_SCENES)))
    training, held = Listed(), Listed()
    training.add_stored(clips, concepts)
    held.add_stored(held_clips, concepts)
    drawings: Drawings = scene_drawings(folder)
    sounds = Sounds(load_sounds(folder))
    training.add_moving_scenes(drawings, sounds, values.scenes, seed=0)
    held.add_moving_scenes(drawings, sounds, values.held_scenes, seed=0, withheld=True)
    return training, held


def load_sounds(folder: Path) -> Items:
    """The recordings that moving scenes are heard with: those that a run may learn from."""
    return split(load_audio(folder, ("sounds",)))[0]
