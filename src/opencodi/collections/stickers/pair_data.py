"""What bridging alignment is given: items of one modality with their captions."""

from collections.abc import Collection, Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...data.shards import Items, load_audio, load_concepts, load_images, load_videos
from ...errors import ConfigurationError, TrainingError
from ...modality import Modality
from ...prompts.vision_network import class_names
from ...training.components import ModelFolder
from ...training.recipe import Values
from ...training.tasks.bridging import Captioned, CaptionedItems
from .captions import captions_of, check_shards, unpaired_texts
from .made import MADE
from .scene_pairs import captioned_scenes
from .splits import split

HELD_WORDS = 400
"""Spoken words of withheld voices that validate."""

LOAD = {Modality.IMAGE: load_images, Modality.AUDIO: load_audio, Modality.VIDEO: load_videos}


class CaptionedData(Values):
    """Items of one modality with their captions.

    Attributes:
        shards: {shard: share of the batch}. Besides those on disk there are ``photographic`` stickers and ``scenes``, or for
            clips ``moving-scenes``.
        flipped_groups: groups of pictures that may be mirrored.
        photographic: how often each sticker is seen as if photographed.
        photographs_again: how often each photograph is seen in other light.
        held_photos: share of the photographs with a name that validate; 0: the usual share of all of them.
        scenes: how many scenes, or moving scenes.
        held_scenes: how many withheld ones validate.
        held_voices: voices that only validate.
    """

    shards: dict[str, float]
    flipped_groups: tuple[str, ...] = ()
    photographic: int = 0
    photographs_again: int = 0
    held_photos: float = 0.0
    scenes: int = 0
    held_scenes: int = 0
    held_voices: tuple[str, ...] = ()

    def load(self, folder: Path, parts: ModelFolder, settings: Any) -> Captioned:
        """Read the shards of ``settings.modality`` in ``folder``."""
        check_shards({shard: share for shard, share in self.shards.items() if shard not in MADE})
        if settings.modality not in LOAD:
            raise ConfigurationError(f"modality: {settings.modality!r} is not one of {', '.join(LOAD)}; correct it")
        modality = Modality(settings.modality)
        if any(shard in MADE for shard in self.shards):
            return captioned_scenes(self, folder, modality, self.shards, vision_classes(settings))
        options = {}
        if modality == Modality.VIDEO and "num_frames" in settings.network:
            options["num_frames"] = settings.network["num_frames"]
        sides = without_voices(split(LOAD[modality](folder, tuple(self.shards), **options)), self.held_voices)
        if not len(sides[0]):
            raise TrainingError(
                f"{folder}: {', '.join(self.shards)} hold nothing to train on; name other shards or captions"
            )
        concepts = load_concepts(folder)
        sources = {shard: number for number, shard in enumerate(self.shards)}
        training, held = (
            CaptionedItems(
                media=items.media,
                captions=[captions_of(record, concepts) for record in items.records],
                groups=groups,
                mirrored=np.array([record.get("group") in self.flipped_groups for record in items.records], bool),
                sources=np.array([sources[record["shard"]] for record in items.records], int),
                things=[str(record.get("name") or "") for record in items.records],
            )
            for items, groups in zip(sides, number_groups(*sides))
        )
        names = sorted({concept["name"] for concept in concepts.values()})
        return Captioned(
            training, held, tuple(self.shards.values()), unpaired_texts(concepts), names, tuple(self.shards)
        )


def number_groups(*parts: Items) -> list[torch.Tensor]:
    """The group of every item as a number, the same group the same number in all parts: int64 [N] each."""
    numbers: dict[Any, int] = {}
    found = []
    for part_number, part in enumerate(parts):
        groups = [group_of(record, (part_number, position)) for position, record in enumerate(part.records)]
        found.append(torch.tensor([numbers.setdefault(group, len(numbers)) for group in groups], dtype=torch.long))
    return found


def without_voices(sides: tuple[Items, Items], voices: Collection[str]) -> tuple[Items, Items]:
    """(training, validation) with all speech of these voices in validation, and no other speech there if there is any."""
    if not voices:
        return sides
    training, held = sides
    told = [i for i, record in enumerate(training.records) if record.get("voice") in voices]
    kept = [i for i, record in enumerate(training.records) if record.get("voice") not in voices]
    others = [i for i, record in enumerate(held.records) if "voice" not in record or record["voice"] in voices]
    few = told[:: max(1, len(told) // HELD_WORDS)]
    moved = Items(
        np.concatenate([held.media[others], training.media[few]]),
        [*(held.records[i] for i in others), *(training.records[i] for i in few)],
    )
    return training.subset(kept), moved


def vision_classes(settings: Any) -> list[str]:
    """What the classes of the pretrained vision network are called, if an encoder learns from them."""
    return class_names() if settings.class_weight else []


def group_of(record: Mapping[str, Any], position: Hashable) -> Hashable:
    """What an item shows, for telling right from wrong answers: concept, skin tone, and sound or spoken word.

    A photograph without a concept is a group of its own.
    """
    concept = record.get("concept") or f"item {record['shard']} {position}"
    return concept, record.get("tone"), record["shard"] == "speech"
