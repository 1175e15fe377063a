"""The sets that diffusers and alignment are given: the values of a recipe's ``data``, and what their ``load`` makes of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...data.paired import PairedSet, joined, joined_set
from ...data.shards import concepts_in
from ...errors import ConfigurationError
from ...modality import Modality, parse_modalities
from ...training.components import ModelFolder
from ...training.recipe import Values
from ...training.tasks.alignment import Pairs
from .captions import check_shards
from .paired_sets import audio_set, image_set, styled_set, text_set, video_set
from .procedural import procedural_clips, procedural_sounds, still_clips, synchronous_pairs, told_to_move
from .scene_latents import audio_latents, clip_latents, image_latents, text_latents

SETS = {Modality.TEXT: text_set, Modality.IMAGE: image_set, Modality.VIDEO: video_set, Modality.AUDIO: audio_set}
Sides = tuple[PairedSet, PairedSet]
"""Training and validation."""


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


class SceneSetData(SetData):
    """The same, or latents on disk of items and of scenes, whose prompts have several tokens (``scene_latents``).

    Attributes:
        scenes: how many scenes to learn from; 0: there are none, and prompts have one token.
        held_scenes: how many withheld scenes validate.
        scene_share: share of the draws that are scenes.
    """

    scenes: int = 0
    held_scenes: int = 0
    scene_share: float = 0.5
    with_scenes: ClassVar[Callable[..., Any]] = staticmethod(text_latents)

    def load(self, folder: Path, parts: ModelFolder, settings: Any) -> Any:
        """Read the shards in ``folder``; (training, validation)."""
        if not self.scenes:
            return super().load(folder, parts, settings)
        check_shards(self.shards)
        return self.with_scenes(self, folder, parts, settings)


class TextSetData(SceneSetData):
    """Texts.

    Attributes:
        moving_scenes: how many captions of moving scenes to learn as well. They and scenes share ``scene_share`` by their
            numbers.
    """

    moving_scenes: int = 0


class PictureSetData(SceneSetData):
    """Pictures.

    Attributes:
        styles: art styles to learn to draw, all if none is named. The fewer, the less a network has to remember.
        every_concept: concepts that none of these styles shows are drawn in other styles.
        styled_share: share of the draws that are pictures of any style. Their captions or, if the denoiser has a manner
            embedding, their attributes name the style: "a cat" is in one of ``styles``, "a noto cat" in that of Noto.
    """

    styles: tuple[str, ...] = ()
    every_concept: bool = False
    styled_share: float = 0.0
    with_scenes: ClassVar[Callable[..., Any]] = staticmethod(image_latents)

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


class ClipSetData(SceneSetData):
    """Clips.

    Attributes:
        procedural_clips: how many clips of stills in procedural motion (``stickers.motion``) to learn from as well.
        procedural_styles: art styles of those stills, all if none is named.
        procedural_share: share of the draws that are procedural clips or stills at rest, if there are any.
        procedural_ways: number of variants (beat, size, direction) of each motion. 0: every clip has its own.
        any_scenes: with ``scenes``, which are moving scenes of things that are heard: how many of any things. Both share
            ``scene_share`` by their numbers.
        still_clips: how many clips of stills at rest to learn from instead. A named motion is then added after decoding
            (``extras.motion_renderer``), to these and to real clips alike.
    """

    any_scenes: int = 0
    with_scenes: ClassVar[Callable[..., Any]] = staticmethod(clip_latents)
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


class SoundSetData(SceneSetData):
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
    with_scenes: ClassVar[Callable[..., Any]] = staticmethod(audio_latents)

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


def _prompted(parts: ModelFolder, settings: Any) -> tuple[ModelFolder, float, tuple[str, ...]]:
    return parts, settings.name_share, tuple(settings.prompt_shares)
