"""What each training task is given of a prepared folder.

``DATA`` has, for every task, the values that a recipe gives under ``data``; their ``load`` makes the task's data of them.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar
from zlib import crc32

import numpy as np
import torch
from pydantic import Field

from ...data.arrays import Joined, MediaArray, clips, frames, pictures, sounds
from ...data.encoded import LATENTS, PROMPTS, Groups
from ...data.epochs import draw_items
from ...data.paired import draw_kinds
from ...data.prepared import PreparedFolder
from ...data.sample_set import SampleSet, sample_sets
from ...errors import ConfigurationError, TrainingError
from ...modality import MODALITIES, Modality, parse_modalities
from ...prompts import ImagePromptEncoder
from ...training.components import ModelFolder
from ...training.encode import find_rows, load_part
from ...training.recipe import Count, Values
from ...training.tasks.alignment import Pairs
from ...training.tasks.autoencoders import Pictures, Recordings
from ...training.tasks.bridging import Captioned, CaptionedItems
from ...training.tasks.text_autoencoder import Sentences

TASKS: dict[str, str] = {}
"""Tasks that only this collection has."""

SAMPLE_RATE = 16_000
UNPAIRED = 20_000
"""Captions that keep the projection of text from folding, at most."""

OPTIONAL = frozenset().union(*(record.optional_parts for record in MODALITIES.values()))
"""Components that a codec may lack: training needs none of them."""

Side = tuple[np.ndarray, np.ndarray]


def find_data(folder: str | Path | None = None) -> Path:
    """A prepared folder: the argument, or the environment variable ``OPENCODI_DATA``.

    Raises:
        TrainingError: if neither is given.
        CollectionError: if it is not prepared, or not complete.
    """
    chosen = folder or os.environ.get("OPENCODI_DATA")
    if not chosen:
        raise TrainingError("no training data: give a folder that opencodi data prepare made, with --data")
    return PreparedFolder(chosen).path


def sides(prepared: PreparedFolder, modality: str, also: Sequence[str] = ()) -> Side:
    """(training, validation) positions of the samples that have this modality and ``also`` these.

    Raises:
        TrainingError: if there is none to train on.
    """
    held, wanted = np.array(prepared.held, bool), (modality, *also)
    has = np.array([all(record.get(name) for name in wanted) for record in prepared.records], bool)
    training, validation = np.flatnonzero(has & ~held), np.flatnonzero(has & held)
    if not len(training):
        raise TrainingError(f"{prepared.path}: no sample has {' and '.join(wanted)} to train on; use other data")
    return training, validation


class PictureValues(Values):
    """Pictures, and single frames of clips.

    Attributes:
        size: height and width in pixels.
        frames_per_clip: evenly spread frames of each clip; 0: pictures only.
    """

    size: Count = 64
    frames_per_clip: Annotated[int, Field(ge=0)] = 0

    def load(self, folder: Path, parts: ModelFolder, settings: Any) -> Pictures:
        """Of the prepared ``folder``."""
        prepared = PreparedFolder(folder)
        held = prepared.held

        def side(is_held: bool) -> Joined:
            def having(modality: str) -> list[int]:
                return [i for i, record in enumerate(prepared.records) if record.get(modality) and held[i] == is_held]

            found: list[MediaArray] = [pictures(prepared, having(Modality.IMAGE), self.size)]
            if self.frames_per_clip:
                found.append(frames(prepared, having(Modality.VIDEO), self.size, self.frames_per_clip))
            return Joined(found)

        training, validation = side(False), side(True)
        if not len(training):
            raise TrainingError(f"{folder}: no sample has a picture to train on; use other data, or frames_per_clip")
        return Pictures(training, validation if len(validation) else training, in_epochs=True)


class RecordingValues(Values):
    """Sounds.

    Attributes:
        seconds: of each, from its beginning.
    """

    seconds: Annotated[float, Field(gt=0)] = 2.048

    def load(self, folder: Path, parts: ModelFolder, settings: Any) -> Recordings:
        """Of the prepared ``folder``."""
        prepared, length = PreparedFolder(folder), round(self.seconds * SAMPLE_RATE)
        training, validation = (sounds(prepared, each, length, SAMPLE_RATE) for each in sides(prepared, Modality.AUDIO))
        is_sound = np.ones(len(training), bool)
        return Recordings(training, validation if len(validation) else training, is_sound, in_epochs=True)


class SentenceValues(Values):
    """All captions."""

    def load(self, folder: Path, parts: ModelFolder, settings: Any) -> Sentences:
        """Of the prepared ``folder``."""
        prepared = PreparedFolder(folder)
        training, validation = (
            list(dict.fromkeys(caption for i in each for caption in prepared.records[i][Modality.TEXT]))
            for each in sides(prepared, Modality.TEXT)
        )
        return Sentences(training, training, validation)


class CaptionedValues(Values):
    """Media of one modality with their captions."""

    def load(self, folder: Path, parts: ModelFolder, settings: Any) -> Captioned:
        """Of the prepared ``folder``; sizes are those of the encoder that learns."""
        prepared, modality = PreparedFolder(folder), settings.modality
        if modality not in LOAD:
            raise ConfigurationError(f"modality: {modality!r} is not one of {', '.join(LOAD)}; correct it")
        numbers: dict[str, int] = {}

        def items(chosen: np.ndarray) -> CaptionedItems:
            records = [prepared.records[i] for i in chosen]
            groups = [numbers.setdefault(str(r.get("concept", r["key"])), len(numbers)) for r in records]
            return CaptionedItems(
                media=LOAD[modality](prepared, chosen, settings.network, parts),
                captions=[record[Modality.TEXT] for record in records],
                groups=torch.tensor(groups, dtype=torch.long),
                mirrored=np.zeros(len(chosen), bool),
                sources=np.zeros(len(chosen), int),
            )

        training, held = map(items, sides(prepared, modality, also=(Modality.TEXT,)))
        texts = sorted({caption for choices in training.captions for caption in choices})
        return Captioned(training, held, (1.0,), texts[:: max(1, len(texts) // UNPAIRED)], in_epochs=True)


def _pictures(prepared: PreparedFolder, chosen: np.ndarray, network: dict[str, Any], parts: ModelFolder):
    return pictures(prepared, chosen, network.get("sample_size", 64))


def _clips(prepared: PreparedFolder, chosen: np.ndarray, network: dict[str, Any], parts: ModelFolder):
    side = parts.load(ImagePromptEncoder, MODALITIES[Modality.IMAGE].prompt_encoder).config.sample_size
    return clips(prepared, chosen, side, network.get("num_frames", 16))


def _sounds(prepared: PreparedFolder, chosen: np.ndarray, network: dict[str, Any], parts: ModelFolder):
    return sounds(prepared, chosen, network.get("num_samples", 32_768), network.get("sample_rate", SAMPLE_RATE))


LOAD = {Modality.IMAGE: _pictures, Modality.VIDEO: _clips, Modality.AUDIO: _sounds}


class EncodedValues(Values):
    """Latents and prompt embeddings.

    Attributes:
        encoded: where ``opencodi data encode --output`` wrote them; empty: in the prepared folder.
    """

    encoded: str = ""

    def open(self, folder: Path) -> PreparedFolder:
        """The prepared folder."""
        return PreparedFolder(folder)

    def sets(
        self, folder: Path, parts: ModelFolder, modalities: Sequence[str], kinds: Sequence[str], name_share: float
    ) -> list[tuple[SampleSet, SampleSet]]:
        """(training, validation) items of each modality with prompts of these kinds."""
        for kind in kinds:
            if kind not in MODALITIES:
                raise ConfigurationError(f"prompt_shares: own data has no prompts of kind {kind!r}; leave it out")
        prepared = self.open(folder)
        wanted = [f"{LATENTS}.{modality}" for modality in modalities]
        wanted += [f"{PROMPTS}.{kind}" for kind in dict.fromkeys([Modality.TEXT, *kinds])]
        rows = find_rows(prepared, parts, wanted, Path(self.encoded) if self.encoded else None)
        found = []
        for modality in modalities:
            codec = MODALITIES[modality].build_codec(lambda name: None if name in OPTIONAL else load_part(parts, name))
            decoding = {"autoencoder": codec.autoencoder, "codec": codec}
            found.append(sample_sets(prepared, modality, kinds, rows, name_share, **decoding))
        return found


class SetValues(EncodedValues):
    """Items to denoise and their prompts.

    Attributes:
        modality: what is denoised.
    """

    modality: ClassVar[Modality]

    def load(self, folder: Path, parts: ModelFolder, settings: Any) -> tuple[SampleSet, SampleSet]:
        """Of the prepared ``folder``."""
        return self.sets(folder, parts, [self.modality], list(settings.prompt_shares), settings.name_share)[0]


class TextSetValues(SetValues):
    """Captions."""

    modality = Modality.TEXT


class ImageSetValues(SetValues):
    """Pictures."""

    modality = Modality.IMAGE


class VideoSetValues(SetValues):
    """Clips."""

    modality = Modality.VIDEO


class AudioSetValues(SetValues):
    """Sounds."""

    modality = Modality.AUDIO


class FewValues(SetValues):
    """Few items, to fine-tune on.

    Attributes:
        held_share: share of the samples that are only measured, where none says its ``split``; at least one.
    """

    held_share: float = Field(default=0.1, gt=0, lt=1)

    def open(self, folder: Path) -> PreparedFolder:
        """The prepared folder with so many samples held out."""
        return PreparedFolder(folder, self.held_share)


class FewImageValues(FewValues):
    """Pictures."""

    modality = Modality.IMAGE


class FewAudioValues(FewValues):
    """Sounds."""

    modality = Modality.AUDIO


class SamplePairs(Pairs):
    """Pairs of two modalities of one sample, each sample once per epoch."""

    def __init__(self, items: dict[Modality, SampleSet], held: dict[Modality, SampleSet]):
        super().__init__(items, held)
        self.training_pairs, self.held_pairs = _Together(items), _Together(held)

    def draw(self, rng: np.random.Generator, count: int, prompt_shares: dict[str, float]) -> dict[str, torch.Tensor]:
        """The next ``count`` pairs of the epoch."""
        return self.training_pairs.draw(rng, count, prompt_shares)

    def draw_held(self, rng: np.random.Generator, count: int) -> dict[str, torch.Tensor] | None:
        """Validation pairs without prompts; None if there are none."""
        return self.held_pairs.draw(rng, count, {}) if len(self.held_pairs.samples) else None


class _Together:
    """The samples of one side that have both modalities."""

    def __init__(self, sets: dict[Modality, SampleSet]):
        self.sets = sets
        first, second = sets.values()
        self.samples = np.intersect1d(first.samples, second.samples)
        count = int(self.samples.max()) + 1 if len(self.samples) else 0
        self.groups = [Groups(each.samples, count) for each in sets.values()]

    def draw(self, rng: np.random.Generator, count: int, prompt_shares: dict[str, float]) -> dict[str, torch.Tensor]:
        samples = self.samples[draw_items(rng, len(self.samples), count)]
        rows = [np.array([rng.choice(groups[int(s)]) for s in samples]) for groups in self.groups]
        first, second = self.sets.values()
        batch = {m.value: each.latents[r].float() for (m, each), r in zip(self.sets.items(), rows)}
        batch["condition"] = second.conditions(rows[1], draw_kinds(rng, count, prompt_shares), rng)
        batch["concept"] = torch.tensor([crc32(second.concepts[row].encode()) for row in rows[1]])
        batch["name"] = first.first_condition(rows[0])
        return batch


class PairValues(EncodedValues):
    """Samples with both modalities of a pair."""

    def load(self, folder: Path, parts: ModelFolder, settings: Any) -> SamplePairs:
        """Of the prepared ``folder``."""
        pair, kinds = [Modality(name) for name in parse_modalities(settings.pair, "pair")], list(settings.prompt_shares)
        both = dict(zip(pair, self.sets(folder, parts, pair, kinds, 1.0)))
        made = SamplePairs(*({modality: each[side] for modality, each in both.items()} for side in (0, 1)))
        if not len(made.training_pairs.samples):
            raise TrainingError(f"{folder}: no sample has {' and '.join(pair)} to train on; use other data")
        return made


DATA: dict[str, type[Values]] = {
    "image_autoencoder": PictureValues,
    "audio_autoencoder": RecordingValues,
    "audio_vocoder": RecordingValues,
    "text_autoencoder": SentenceValues,
    "bridging": CaptionedValues,
    "image_diffuser": ImageSetValues,
    "video_diffuser": VideoSetValues,
    "audio_diffuser": AudioSetValues,
    "text_diffuser": TextSetValues,
    "image_lora": FewImageValues,
    "audio_lora": FewAudioValues,
    "alignment": PairValues,
}
"""{task: the values of a recipe's ``data``}."""
