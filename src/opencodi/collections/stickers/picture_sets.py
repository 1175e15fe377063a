"""What an autoencoder of RGBA pictures learns from: single stickers, collages of them, frames of clips and photographs."""

from pathlib import Path
from typing import Any

import numpy as np

from ...data.shards import Items, load_images, load_videos
from ...errors import TrainingError
from ...training.components import ModelFolder
from ...training.recipe import Values
from .collages import collage
from .splits import split

LARGEST_SHIFT = 10
"""Single pictures are moved by up to this many pixels: whole pixels, so that their edges stay as they are."""
HELD_SINGLE, HELD_COLLAGES, HELD_FRAMES, HELD_PHOTOS = 256, 64, 64, 32


class TransparentPictureData(Values):
    """Pictures with alpha; what is not a collage, a frame or a photograph is a single sticker.

    Attributes:
        image_shards: of single stickers; collages are made from them, too.
        video_shards: of clips, whose frames are pictures.
        photo_shards: of photographs.
        collage_share: of collages among the pictures.
        frame_share: of frames of clips.
        photo_share: of photographs.
    """

    image_shards: tuple[str, ...]
    video_shards: tuple[str, ...]
    photo_shards: tuple[str, ...]
    collage_share: float
    frame_share: float
    photo_share: float

    def load(self, folder: Path, parts: ModelFolder, settings: Any) -> "MixedPictures":
        """Read the shards in ``folder``."""
        return MixedPictures(self, folder)


class MixedPictures:
    """Pictures of the shards in memory: those that are learned from, and some of each kind kept for validation.

    Args:
        values: which, and how many of each kind.
        folder: of the shards.
    """

    def __init__(self, values: TransparentPictureData, folder: Path):
        self.values = values
        items, held = split(load_images(folder, values.image_shards))
        clips, held_clips = split(load_videos(folder, values.video_shards))
        photos, held_photos = split(load_images(folder, values.photo_shards))
        self.single, self.clips, self.photos = items.media, clips.media, photos.media
        for share, found in ((values.frame_share, clips), (values.photo_share, photos)):
            if share and not len(found):
                raise TrainingError(f"{folder}: too few clips or photographs to learn from; set their share to 0")
        rng = np.random.default_rng(0)
        self.held = {
            "single": _every(held, HELD_SINGLE),
            "collages": np.stack([collage(held.media, held_photos.media, rng) for _ in range(HELD_COLLAGES)]),
            "frames": held_clips.media[:, ::4].reshape(-1, *held.media.shape[1:])[:HELD_FRAMES],
            "photos": _every(held_photos, HELD_PHOTOS),
        }

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """One picture, straight uint8 RGBA [H, W, 4]."""
        values, chance = self.values, rng.random()
        if chance < values.collage_share:
            return collage(self.single, self.photos, rng)
        if chance < values.collage_share + values.frame_share:
            clip = self.clips[rng.integers(len(self.clips))]
            return varied(clip[rng.integers(len(clip))], rng)
        if chance < values.collage_share + values.frame_share + values.photo_share:
            return varied(self.photos[rng.integers(len(self.photos))], rng)
        return varied(self.single[rng.integers(len(self.single))], rng)


def _every(items: Items, most: int) -> np.ndarray:
    """At most ``most`` of the pictures, spread over all."""
    return items.media[:: -(-len(items) // most)]


def varied(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Perhaps mirrored, and perhaps moved: what leaves the picture [H, W, 4] is lost, what comes in is clear."""
    picture = picture[:, :: 1 if rng.random() < 0.5 else -1]
    if rng.random() < 0.5:
        return picture
    down, right = rng.integers(-LARGEST_SHIFT, LARGEST_SHIFT + 1, 2)
    padded = np.pad(picture, ((LARGEST_SHIFT, LARGEST_SHIFT), (LARGEST_SHIFT, LARGEST_SHIFT), (0, 0)))
    top, left = LARGEST_SHIFT - down, LARGEST_SHIFT - right
    return padded[top : top + len(picture), left : left + picture.shape[1]]
