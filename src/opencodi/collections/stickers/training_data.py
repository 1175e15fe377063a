"""What each training task is given of the stickers collection. All files that training reads are opened from here.

``DATA`` has, for every task, the values that a recipe gives under ``data``; their ``load`` makes the task's data of them.
"""

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from ...data.shards import Items, load_audio, load_concepts, load_images, load_videos
from ...data.shards import find_data as find_data
from ...training.components import ModelFolder
from ...training.recipe import Values
from ...training.tasks.autoencoders import Pictures, Recordings
from ...training.tasks.text_autoencoder import Sentences
from .captions import article, check_shards, every_caption
from .evidence_data import EvidenceData, JointData
from .judges.scene_task import SceneData
from .manner_data import MannerData
from .pair_data import CaptionedData
from .picture_sets import TransparentPictureData
from .scene_texts import scene_drawings, scene_texts
from .set_data import AlignedData, ClipSetData, PictureSetData, SoundSetData, TextSetData
from .splits import split

TASKS = {
    "image_judge": "opencodi.collections.stickers.judges.tasks:ImageJudgeTask",
    "audio_judge": "opencodi.collections.stickers.judges.tasks:AudioJudgeTask",
    "scene_judge": "opencodi.collections.stickers.judges.scene_task:SceneJudgeTask",
}
"""Tasks that only this collection has."""


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
    "text_diffuser": TextSetData,
    "evidence": EvidenceData,
    "distillation": JointData,
    "alignment": AlignedData,
    "image_judge": JudgedPictureData,
    "audio_judge": JudgedSoundData,
    "scene_judge": SceneData,
}
"""{task: the values of a recipe's ``data``}."""


def _names(folder: Path) -> dict[str, str]:
    return {code: concept["name"] for code, concept in load_concepts(folder).items()}


def _frames(clips: Items, count: int) -> Items:
    """``count`` evenly spaced frames of each clip as pictures with the clip's record."""
    step = max(1, clips.media.shape[1] // count)
    frames = np.ascontiguousarray(clips.media[:, ::step][:, :count])
    records = [record for record in clips.records for _ in range(frames.shape[1])]
    return Items(frames.reshape(-1, *frames.shape[2:]), records)
