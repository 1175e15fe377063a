"""What the denoisers, encoders of evidence and alignment of the second model learn from: media and captions by their numbers.

Nothing is stored here: an item is read or drawn when its number is asked for, and always the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...data.shards import Items, load_audio, load_concepts, load_images, load_videos
from ...modality import Modality
from .captions import captions_of
from .made import drawable_scene, moving_scene_clip, moving_scene_of, scene_picture, scene_wordings
from .motion import FRAMES_PER_SECOND, NUM_FRAMES
from .moving_scenes import Sounds, moving_events
from .splits import split
from .things import Drawings, things

MORE_WORDINGS = 4
IMAGES, SOUNDS, SPEECH, VIDEOS = "images", "sounds", "speech", "videos"
SCENES, MOVING, ANY_MOVING = "scenes", "moving-scenes", "any-moving-scenes"
"""Moving scenes in which all that acts is heard, and moving scenes of any things."""

Batch = tuple[np.ndarray, list[list[str]]]
"""Media of some items, and the captions of each, the plainest first."""
Draw = Callable[[int, int], Batch]
Known = tuple[list[list[str]], np.ndarray]
"""Names of the things that each item shows, and beats [n, 16]: 1 where something happens, 0 where nothing does, -1 unknown."""


@dataclass(frozen=True)
class Part:
    """Items of one source.

    Attributes:
        name: of the folder that keeps what is made of them.
        count: how many there are.
        draw: (first, last + 1) → media and captions.
        known: (first, last + 1) → what is known of them, without drawing them.
    """

    name: str
    count: int
    draw: Draw
    known: Callable[[int, int], Known]


@dataclass(frozen=True)
class Sides:
    """Parts to learn from, the share of each among the draws, and the withheld part that validates."""

    training: list[Part]
    shares: list[float]
    held: Part


def parts_of(modality: Modality, values: Any, source: "Source") -> Sides:
    """The parts of a modality; ``values`` are those of a recipe's ``data`` (``set_data.SceneSetData``)."""
    drawn = {Modality.AUDIO: source.soundtracks, Modality.VIDEO: source.clips}.get(modality, source.scenes)
    if getattr(values, "in_motion", False) and modality == Modality.TEXT:
        drawn = source.soundtracks  # a text beside a sound says what is heard
    stored = {IMAGES: 1.0} if modality == Modality.IMAGE else values.shards
    more = getattr(values, "any_scenes", 0) or getattr(values, "moving_scenes", 0)
    rest = (1 - values.scene_share) / (sum(stored.values()) or 1.0)
    training = [source.stored(shard) for shard in stored] + [drawn(values.scenes)]
    shares = [*(rest * share for share in stored.values()), values.scene_share]
    if more:
        training.append(source.soundtracks(more) if modality == Modality.TEXT else source.clips(more, audible=0.0))
        shares[-1:] = [values.scene_share * values.scenes / (values.scenes + more)]
        shares.append(values.scene_share - shares[-1])
    return Sides(training, shares, drawn(values.held_scenes, withheld=True))


class Source:
    """All parts; what they are made from is read when the first item is asked for."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._stored: dict[str, Items] = {}

    def items(self, shard: str) -> Items:
        """The items of a shard that a run may learn from."""
        if shard not in self._stored:
            load = {IMAGES: load_images, VIDEOS: load_videos}.get(shard, load_audio)
            self._stored[shard] = split(load(self._folder, (shard,)))[0]
        return self._stored[shard]

    @cached_property
    def drawings(self) -> Drawings:
        """Of the stickers that scenes are made of."""
        return Drawings(self.items(IMAGES))

    @cached_property
    def sounds(self) -> Sounds:
        """Recordings of things."""
        return Sounds(self.items(SOUNDS))

    @cached_property
    def concepts(self) -> Mapping[str, Any]:
        """By their codes."""
        return load_concepts(self._folder)

    def names(self) -> list[str]:
        """Plain names of everything that an item may be called, sorted."""
        return sorted({*(each["name"] for each in self.concepts.values()), *map(called, things())})

    def stored(self, shard: str) -> Part:
        """The items of a shard as they are."""

        def draw(first: int, last: int) -> Batch:
            items = self.items(shard)
            records = items.records[first:last]
            captions = [captions_of(record, self.concepts) for record in records]
            if shard in (SOUNDS, SPEECH):
                # What is said is the name itself; "the word …" are words for the listener.
                captions = [[str(record["name"]), *each] for record, each in zip(records, captions)]
            return items.media[first:last], captions

        def known(first: int, last: int) -> Known:
            names = [[str(record["name"])] if record.get("name") else [] for record in self.items(shard).records]
            return names[first:last], np.full((last - first, NUM_FRAMES), -1, np.int8)

        return Part(shard, len(self.items(shard)), draw, known)

    def scenes(self, count: int, withheld: bool = False) -> Part:
        """Still scenes."""

        def draw(first: int, last: int) -> Batch:
            pictures, captions = [], []
            for number in range(first, last):
                scene, rng = drawable_scene(self.drawings, (number, withheld), withheld)
                captions.append(scene_wordings(scene, rng, count=MORE_WORDINGS))
                pictures.append(scene_picture(scene, self.drawings, (number, withheld)))
            return np.stack(pictures), captions

        def known(first: int, last: int) -> Known:
            found = [drawable_scene(self.drawings, (n, withheld), withheld)[0] for n in range(first, last)]
            return _called(found), np.full((last - first, NUM_FRAMES), -1, np.int8)

        return Part(_name(SCENES, withheld), count, draw, known)

    def soundtracks(self, count: int, withheld: bool = False) -> Part:
        """What moving scenes sound like: that of number n belongs to clip n."""
        return self._moving(_name(MOVING, withheld), count, withheld, 1.0, heard=True)

    def clips(self, count: int, withheld: bool = False, audible: float = 1.0) -> Part:
        """Moving scenes as they look."""
        name = MOVING if audible else ANY_MOVING
        return self._moving(_name(name, withheld), count, withheld, audible, heard=False)

    def _moving(self, name: str, count: int, withheld: bool, audible: float, heard: bool) -> Part:
        def draw(first: int, last: int) -> Batch:
            media, captions = [], []
            for number in range(first, last):
                seed = (number, withheld)
                moving, wordings = moving_scene_of(self.drawings, self.sounds, seed, withheld, audible)
                clip = moving_scene_clip(moving, self.drawings, self.sounds, seed)
                captions.append(wordings)
                media.append(clip.sound if heard else clip.frames)
            return np.stack(media), captions

        def known(first: int, last: int) -> Known:
            scenes, beats = [], np.zeros((last - first, NUM_FRAMES), np.int8)
            for number in range(first, last):
                seed = (number, withheld)
                moving, _ = moving_scene_of(self.drawings, self.sounds, seed, withheld, audible)
                scenes.append(moving.scene)
                for thing, second in moving_events(moving, self.drawings, np.random.default_rng((3, *seed))):
                    if not heard or self.sounds.has(thing):
                        beats[number - first, min(round(second * FRAMES_PER_SECOND), NUM_FRAMES - 1)] = 1
            return _called(scenes), beats

        return Part(name, count, draw, known)


def called(name: str) -> str:
    """The usual noun for a thing."""
    return things()[name].nouns[0]


def _called(scenes: Sequence[Any]) -> list[list[str]]:
    return [list(dict.fromkeys(called(part.name) for part in scene.parts)) for scene in scenes]


def _name(name: str, withheld: bool) -> str:
    return f"withheld-{name}" if withheld else name
