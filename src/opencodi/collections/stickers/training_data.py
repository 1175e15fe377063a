"""What each training task is given of the stickers collection. All files that training reads are opened from here.

``DATA`` has, for every task, the values that a recipe gives under ``data``; their ``load`` makes the task's data of them.
"""

from collections.abc import Collection, Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from ...data.paired import PairedSet, joined, joined_set
from ...data.shards import Items, concepts_in, load_audio, load_concepts, load_images, load_videos
from ...errors import ConfigurationError, TrainingError
from ...modality import Modality, parse_modalities
from ...prompts.vision_network import class_names
from ...training.components import ModelFolder
from ...training.recipe import Values
from ...training.tasks.alignment import Pairs
from ...training.tasks.autoencoders import Pictures, Recordings
from ...training.tasks.bridging import Captioned, CaptionedItems
from ...training.tasks.text_autoencoder import Sentences
from .captions import CAPTIONS, article, audio_captions, captions_of, every_caption
from .judges.scene_task import SceneData
from .made import MADE
from .manner_data import MannerData
from .paired_sets import audio_set, image_set, styled_set, text_set, video_set
from .picture_sets import TransparentPictureData
from .procedural import procedural_clips, procedural_sounds, still_clips, synchronous_pairs, told_to_move
from .scene_latents import scene_latents
from .scene_pairs import captioned_scenes
from .scene_texts import scene_drawings, scene_texts
from .splits import split

TASKS = {
    "image_judge": "opencodi.collections.stickers.judges.tasks:ImageJudgeTask",
    "audio_judge": "opencodi.collections.stickers.judges.tasks:AudioJudgeTask",
    "scene_judge": "opencodi.collections.stickers.judges.scene_task:SceneJudgeTask",
}
"""Tasks that only this collection has."""

HELD_WORDS = 400
"""Spoken words of withheld voices that validate."""

LOAD = {Modality.IMAGE: load_images, Modality.AUDIO: load_audio, Modality.VIDEO: load_videos}
SETS = {Modality.TEXT: text_set, Modality.IMAGE: image_set, Modality.VIDEO: video_set, Modality.AUDIO: audio_set}
Sides = tuple[PairedSet, PairedSet]
"""Training and validation."""


class PictureData(Values):
    """Every picture of the shards and single frames of the clips.

    Attributes:
        image_shards: of pictures; of these some are set aside to validate on.
        video_shards: of clips.
        frames_per_clip: evenly spaced frames taken from each clip.
    """

    image_shards: tuple[str, ...]
    video_shards: tuple[str, ...]
    frames_per_clip: int

    def load(self, folder: Path, parts: ModelFolder, settings: Any) -> Pictures:
        """Read the shards in ``folder``."""
        images, held = split(load_images(folder, self.image_shards))
        pixels = [images.media]
        if self.video_shards:
            clips, _ = split(load_videos(folder, self.video_shards))
            step = clips.media.shape[1] // self.frames_per_clip
            pixels.append(clips.media[:, ::step].reshape(-1, *clips.media.shape[2:]))
        return Pictures(np.concatenate(pixels), held.media)


class RecordingData(Values):
    """Recordings of the shards: ``sounds``, ``speech``."""

    shards: tuple[str, ...]

    def load(self, folder: Path, parts: ModelFolder, settings: Any) -> Recordings:
        """Read the shards in ``folder``."""
        items, held = split(load_audio(folder, self.shards))
        is_sound = np.array([record["shard"] == "sounds" for record in items.records])
        return Recordings(items.media, held.media, is_sound)


class SentenceData(Values):
    """The names of all concepts, alone and with their article, every caption of every shard, and captions of scenes.

    Attributes:
        scenes: how many captions of scenes.
        held_scenes: how many captions of withheld scenes to validate on.
    """

    scenes: int = 0
    held_scenes: int = 0

    def load(self, folder: Path, parts: ModelFolder, settings: Any) -> Sentences:
        """Read the records in ``folder``, and for scenes the pictures, which say what each style can show."""
        concepts = load_concepts(folder).values()
        names = sorted({text for concept in concepts for text in (concept["name"], article(concept["name"]))})
        captions = every_caption(folder)
        if not self.scenes:
            return Sentences(names, captions)
        drawings = scene_drawings(folder)
        held = scene_texts(drawings, self.held_scenes, seed=0, withheld=True)
        return Sentences(names, captions + scene_texts(drawings, self.scenes, seed=0), held)


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


class SetData(Values):
    """Items to denoise and their prompts.

    Attributes:
        shards: {shard: its share of the items drawn} (for text, whose items are the names: only which shards prompt them).
        open_sound_weight: how many times likelier a thing with a sound is where the prompt does not name the thing. Every
            modality can show such a thing, so outputs that are generated together can agree on it.
    """

    shards: dict[str, float]
    open_sound_weight: float = 1.0

    def load(self, folder: Path, parts: ModelFolder, settings: Any) -> Sides:
        """Read the shards in ``folder``; (training, validation)."""
        check_shards(self.shards)
        training, held = self.sets(folder, parts, settings)
        if self.open_sound_weight != 1:
            training.favour(concepts_in(folder, "sounds"), self.open_sound_weight)
        return training, held

    def sets(self, folder: Path, parts: ModelFolder, settings: Any) -> Sides:
        """The sets, before some concepts are made likelier."""
        return text_set(*self._arguments(folder, parts, settings))

    def _arguments(self, folder: Path, parts: ModelFolder, settings: Any) -> tuple[Any, ...]:
        return folder, self.shards, *_prompted(parts, settings)


class PictureSetData(SetData):
    """Pictures.

    Attributes:
        styles: art styles to learn to draw, all if none is named. The fewer, the less a network has to remember.
        every_concept: concepts that none of these styles shows are drawn in other styles.
        styled_share: share of the draws that are pictures of any style. Their captions or, if the denoiser has a manner
            embedding, their attributes name the style: "a cat" is in one of ``styles``, "a noto cat" in that of Noto.
        scenes: how many scenes to learn from beside them, see ``scene_latents``. Pictures are then of every style, prompts have
            several tokens, and latents are kept on disk.
        held_scenes: how many withheld scenes validate.
        scene_share: share of the draws that are scenes, if there are any.
    """

    styles: tuple[str, ...] = ()
    every_concept: bool = False
    styled_share: float = 0.0
    scenes: int = 0
    held_scenes: int = 0
    scene_share: float = 0.5

    def load(self, folder: Path, parts: ModelFolder, settings: Any) -> Sides:
        """Read the shards in ``folder``; (training, validation)."""
        if self.scenes:
            check_shards(self.shards)
            return scene_latents(self, folder, parts, settings)
        return super().load(folder, parts, settings)

    def sets(self, folder: Path, parts: ModelFolder, settings: Any) -> Sides:
        """Pictures of the shards."""
        arguments = self._arguments(folder, parts, settings)
        plain, held = image_set(*arguments, self.styles, self.every_concept)
        if not self.styled_share:
            return plain, held
        styled = styled_set(*arguments, by_manner="image_manner_embedding" in settings.adapters)
        both = joined_set(plain, styled, self.styled_share)
        # What leaves open which thing leaves open no style.
        both.open_weights = np.where(np.arange(len(both)) < len(plain), both.weights, 0) / (1 - self.styled_share)
        return both, held


class ClipSetData(SetData):
    """Clips.

    Attributes:
        procedural_clips: how many clips of stills in procedural motion (``stickers.motion``) to learn from as well.
        procedural_styles: art styles of those stills, all if none is named.
        procedural_share: share of the draws that are procedural clips or stills at rest, if there are any.
        procedural_ways: number of variants (beat, size, direction) of each motion. 0: every clip has its own.
        still_clips: how many clips of stills at rest to learn from instead. A named motion is then added after decoding
            (``extras.motion_renderer``), to these and to real clips alike.
    """

    procedural_ways: int = 0
    procedural_clips: int = 0
    still_clips: int = 0
    procedural_styles: tuple[str, ...] = ()
    procedural_share: float = 0.5

    def sets(self, folder: Path, parts: ModelFolder, settings: Any) -> Sides:
        """Clips of the shards, and stills in motion."""
        prompted = _prompted(parts, settings)
        real = video_set(*self._arguments(folder, parts, settings))
        if self.still_clips:
            still = still_clips(folder, self.still_clips, self.procedural_styles, *prompted)
            return joined((told_to_move(real[0], parts), real[1]), still, self.procedural_share)
        if not self.procedural_clips:
            return real
        stills = self.procedural_clips, self.procedural_styles, self.procedural_ways
        return joined(real, procedural_clips(folder, *stills, *prompted), self.procedural_share)


class SoundSetData(SetData):
    """Sounds and speech.

    Attributes:
        voices: voices of the collection to learn, all if none is named. A single voice says each name in one way.
        procedural_sounds: how many recordings on the beat of a motion (``stickers.soundtrack``) to learn from as well.
        procedural_ways: number of beats of each motion. 0: every recording has its own.
        procedural_share: share of the draws that are such sounds, if there are any.
    """

    voices: tuple[str, ...] = ()
    procedural_sounds: int = 0
    procedural_ways: int = 0
    procedural_share: float = 0.2

    def sets(self, folder: Path, parts: ModelFolder, settings: Any) -> Sides:
        """Sounds and speech of the shards, and sounds on the beat."""
        real = audio_set(*self._arguments(folder, parts, settings), self.voices)
        if not self.procedural_sounds:
            return real
        made = procedural_sounds(folder, self.procedural_sounds, self.procedural_ways, *_prompted(parts, settings))
        return joined(real, made, self.procedural_share)


class AlignedData(Values):
    """Sets of two modalities.

    Attributes:
        shards: {modality: shards}.
        open_sound_weight: as for the diffusers.
        styles: art styles of the pictures, all if none is named.
        synchronous_clips: how many pairs of a still in procedural motion and a sound on its beat
            (``procedural.synchronous_pairs``); 0: none.
    """

    shards: dict[str, tuple[str, ...]]
    open_sound_weight: float = 1.0
    styles: tuple[str, ...] = ()
    synchronous_clips: int = 0

    def load(self, folder: Path, parts: ModelFolder, settings: Any) -> Pairs:
        """Read the shards of ``settings.pair`` in ``folder``."""
        pair, kinds = parse_modalities(settings.pair, "pair"), tuple(settings.prompt_shares)
        if settings.synchronous_share and (set(pair) != {Modality.VIDEO, Modality.AUDIO} or self.synchronous_clips < 2):
            raise ConfigurationError(
                "synchronous_share: is for the pair video and audio, with at least 2 synchronous_clips; else make it 0"
            )
        both = {modality: self._sets(modality, folder, parts, kinds) for modality in pair}
        synchronous = ()
        if settings.synchronous_share:
            synchronous = synchronous_pairs(folder, self.synchronous_clips, self.styles, parts, kinds)
        items, held = ({modality: sides[side] for modality, sides in both.items()} for side in (0, 1))
        return Pairs(items, held, synchronous)

    def _sets(self, modality: Modality, folder: Path, parts: ModelFolder, kinds: tuple[str, ...]) -> Sides:
        shards = dict.fromkeys(self.shards.get(modality.value, ()), 1.0)
        options = {"styles": self.styles} if modality == Modality.IMAGE else {}
        sides = SETS[modality](folder, shards, parts, 1.0, kinds, **options)
        if self.open_sound_weight != 1:
            sounding = concepts_in(folder, "sounds")
            for each in sides:
                each.favour(sounding, self.open_sound_weight)
        return sides


class JudgedPictureData(Values):
    """Pictures and single frames of clips.

    Attributes:
        image_shards: {shard of pictures: share of the batch}.
        video_shards: {shard of clips: share of the batch}.
        frames_per_clip: evenly spaced frames taken from each clip.
    """

    image_shards: dict[str, float] = Field(default_factory=dict)
    video_shards: dict[str, float] = Field(default_factory=dict)
    frames_per_clip: int

    def load(self, folder: Path, parts: ModelFolder, settings: Any) -> Any:
        """Read the shards in ``folder``."""
        from .judges.tasks import JudgedPictures

        shares = self.image_shards | self.video_shards
        check_shards(shares)
        training, held = {}, {}
        for shard in shares:
            load = load_videos if shard in self.video_shards else load_images
            sides = split(load(folder, [shard]))
            if load is load_videos:
                sides = tuple(_frames(part, self.frames_per_clip) for part in sides)
            training[shard], held[shard] = sides
        return JudgedPictures(training, held, shares, _names(folder))


class JudgedSoundData(Values):
    """Sounds of the shards."""

    shards: tuple[str, ...]

    def load(self, folder: Path, parts: ModelFolder, settings: Any) -> Any:
        """Read the shards in ``folder``."""
        from .judges.tasks import JudgedSounds

        return JudgedSounds(*split(load_audio(folder, self.shards)), _names(folder))


DATA: dict[str, type[Values]] = {
    "image_autoencoder": PictureData,
    "transparent_image_autoencoder": TransparentPictureData,
    "transparent_image_decoder": TransparentPictureData,
    "audio_autoencoder": RecordingData,
    "audio_vocoder": RecordingData,
    "text_autoencoder": SentenceData,
    "bridging": CaptionedData,
    "manner": MannerData,
    "image_diffuser": PictureSetData,
    "video_diffuser": ClipSetData,
    "audio_diffuser": SoundSetData,
    "text_diffuser": SetData,
    "alignment": AlignedData,
    "image_judge": JudgedPictureData,
    "audio_judge": JudgedSoundData,
    "scene_judge": SceneData,
}
"""{task: the values of a recipe's ``data``}."""


def check_shards(shards: Mapping[str, float]) -> None:
    """Raise ConfigurationError unless all these shards exist and have a share."""
    if not shards:
        raise ConfigurationError("shards: name at least one, each with a share greater than 0")
    for shard, share in shards.items():
        if shard not in CAPTIONS:
            raise ConfigurationError(f"shards: {shard!r} is not one of {', '.join(CAPTIONS)}; correct it")
        if not share > 0:
            raise ConfigurationError(f"shards: the share of {shard} is {share}; give one greater than 0")


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


def unpaired_texts(concepts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Every concept as a sound and as a spoken word."""
    return sorted(
        {
            caption
            for concept in concepts.values()
            for shard in ("sounds", "speech")
            for caption in audio_captions({"shard": shard, "name": concept["name"], "text": concept["name"]}, concept)
        }
    )


def _prompted(parts: ModelFolder, settings: Any) -> tuple[ModelFolder, float, tuple[str, ...]]:
    return parts, settings.name_share, tuple(settings.prompt_shares)


def _names(folder: Path) -> dict[str, str]:
    return {code: concept["name"] for code, concept in load_concepts(folder).items()}


def _frames(clips: Items, count: int) -> Items:
    """``count`` evenly spaced frames of each clip as pictures with the clip's record."""
    step = max(1, clips.media.shape[1] // count)
    frames = np.ascontiguousarray(clips.media[:, ::step][:, :count])
    records = [record for record in clips.records for _ in range(frames.shape[1])]
    return Items(frames.reshape(-1, *frames.shape[2:]), records)
