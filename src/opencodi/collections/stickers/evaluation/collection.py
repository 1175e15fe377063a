"""The real items an evaluation draws its inputs and references from, read only where they are needed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ....data.shards import (
    SAMPLE_RATE,
    Items,
    find_data,
    load_audio,
    load_concepts,
    load_images,
    load_videos,
    read_records,
)
from ....errors import ArgumentError
from ....media import Audio, Media, Video, over_white
from ....modality import Modality
from ..splits import recording_of, split

CLIP_FPS = 8.0
"""Clips are shown at the rate the models are trained at."""


def picture(rgba: np.ndarray) -> Image.Image:
    """uint8 RGBA [H, W, 4] → a picture over white."""
    return over_white(Image.fromarray(rgba))


def clip(rgba: np.ndarray, audio: Audio | None = None) -> Video:
    """uint8 RGBA [F, H, W, 4] → a clip over white."""
    return Video(np.stack([np.asarray(picture(frame)) for frame in rgba]), CLIP_FPS, audio)


def sound(samples: np.ndarray) -> Audio:
    """int16 [S] at 16 kHz → a sound."""
    return Audio(samples.astype(np.float32) / 32768, SAMPLE_RATE)


@dataclass(frozen=True)
class Kind:
    """One kind of real item.

    Attributes:
        shard: where it is stored.
        modality: what it is.
        load: reads the shard.
        to_media: one stored array → the media object.
    """

    shard: str
    modality: Modality
    load: Callable[..., Items]
    to_media: Callable[[np.ndarray], Media]


KINDS: dict[str, Kind] = {
    "image": Kind("images", Modality.IMAGE, load_images, picture),
    "video": Kind("videos", Modality.VIDEO, load_videos, clip),
    "sound": Kind("sounds", Modality.AUDIO, load_audio, sound),
    "speech": Kind("speech", Modality.AUDIO, load_audio, sound),
}

KIND_OF: dict[Modality, str] = {Modality.IMAGE: "image", Modality.VIDEO: "video", Modality.AUDIO: "sound"}
"""The kind that stands for a modality; spoken names have rows of their own."""


@dataclass(frozen=True)
class Place:
    """Where an item is: its kind, its number in the shard, and whether it is a validation item."""

    kind: str
    number: int
    held_out: bool


@dataclass
class Collection:
    """The items of a folder of shards.

    Attributes:
        folder: of the shards.
        concepts: {code: record}.
        records: {kind: every record of its shard, in the shard's order}.
        held_out: {kind: the numbers of its validation items}, as ``stickers.splits`` chooses them.
    """

    folder: Path
    concepts: dict[str, dict[str, Any]]
    records: dict[str, list[dict[str, Any]]]
    held_out: dict[str, frozenset[int]]
    _media: dict[tuple[str, int], np.ndarray] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, folder: str | Path | None = None) -> "Collection":
        """Read what is known of every item, but no media.

        Raises:
            TrainingError: if there is no folder of shards.
            ArgumentError: if a shard that the measures need is missing.
        """
        folder = find_data(folder)
        records = {name: _read_records(folder / f"{kind.shard}.tar.gz", kind.shard) for name, kind in KINDS.items()}
        held_out = {}
        for name, known in records.items():
            numbered = [{**record, "number": number} for number, record in enumerate(known)]
            _, validation = split(Items(np.empty(len(known)), numbered))
            held_out[name] = frozenset(record["number"] for record in validation.records)
        return cls(folder, load_concepts(folder), records, held_out)

    def name(self, concept: str) -> str:
        """What the concept is called."""
        return self.concepts[concept]["name"]

    def items(self, kind: str, numbers: Sequence[int]) -> Items:
        """Items by their numbers in the shard; those not read yet are read in one pass."""
        missing = sorted({number for number in numbers if (kind, number) not in self._media})
        if missing:
            shard = KINDS[kind]
            read = shard.load(self.folder, (shard.shard,), keep=frozenset(missing))
            self._media |= {(kind, number): array for number, array in zip(missing, read.media)}
        return Items(
            np.stack([self._media[kind, number] for number in numbers]), [self.records[kind][n] for n in numbers]
        )

    def media(self, kind: str, numbers: Sequence[int]) -> list[Media]:
        """The same as media objects."""
        return [KINDS[kind].to_media(array) for array in self.items(kind, numbers).media] if len(numbers) else []

    def read(self, places: Sequence[Place]) -> list[Media]:
        """The media of these places; one pass over each shard."""
        by_kind: dict[str, list[int]] = {}
        for place in places:
            by_kind.setdefault(place.kind, []).append(place.number)
        for kind, numbers in by_kind.items():
            self.items(kind, numbers)
        return [KINDS[place.kind].to_media(self._media[place.kind, place.number]) for place in places]

    def validation(self, kind: str, most: int | None = None, rng: np.random.Generator | None = None) -> list[int]:
        """Numbers of the validation items, at most ``most`` of them drawn at random."""
        return _some(sorted(self.held_out[kind]), most, rng)

    def training(self, kind: str, most: int | None = None, rng: np.random.Generator | None = None) -> list[int]:
        """Numbers of the training items, at most ``most`` of them drawn at random."""
        return _some([n for n in range(len(self.records[kind])) if n not in self.held_out[kind]], most, rng)

    def heard_alike(self) -> dict[str, str]:
        """{concept: the one that stands for all that sound alike}, of those that share sounds with another.

        Two sound alike if more than half of the recordings of each are the other's as well, or through a third: a dog and a dog
        face, the siren of an ambulance and of a police car. No judge can say which of them is heard.
        """
        recordings: dict[str, set[Any]] = {}
        for record in self.records["sound"]:
            recordings.setdefault(record["concept"], set()).add(recording_of(record))
        alike: dict[str, str] = {}
        for one, other in combinations(recordings, 2):
            shared = len(recordings[one] & recordings[other])
            if shared > max(len(recordings[one]), len(recordings[other])) / 2:
                old, new = alike.get(other, other), alike.get(one, one)
                alike |= {code: new for code in (one, other, *(c for c, first in alike.items() if first == old))}
        return alike

    def one_per_concept(self, kind: str, rng: np.random.Generator) -> dict[str, Place]:
        """{concept: one of its items}: a validation item wherever there is one."""
        found: dict[str, Place] = {}
        for number in rng.permutation(len(self.records[kind])):
            concept, held = self.records[kind][number]["concept"], int(number) in self.held_out[kind]
            if concept in self.concepts and (concept not in found or (held and not found[concept].held_out)):
                found[concept] = Place(kind, int(number), held)
        return found


def _some(numbers: list[int], most: int | None, rng: np.random.Generator | None) -> list[int]:
    if most is None or len(numbers) <= most:
        return numbers
    chosen = (rng or np.random.default_rng(0)).choice(len(numbers), most, replace=False)
    return [numbers[place] for place in sorted(chosen)]


def _read_records(path: Path, shard: str) -> list[dict[str, Any]]:
    if not path.is_file():
        raise ArgumentError(
            f"{path} is missing: the evaluation needs the shard {shard!r}; fetch it or name another folder with --data"
        )
    records = [{**record, "shard": shard} for record in read_records(path)]
    if not records:
        raise ArgumentError(f"{path} holds no items; fetch it again")
    return records
