"""A mark in pictures, clips and sounds that survives screenshots and re-encoding.

It says "made by a model whose key you hold", and no more.

It is put into pixels and samples after generation, so it changes neither what a seed gives nor what a batch gives.
``docs/watermark.md`` says how it was chosen, what it survives, and what it does not promise. Texts carry none.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ...errors import ArgumentError, EmptyFile, WrongKind
from ...media import DEFAULT_LIMITS, Audio, Limits, Media, Video, normalise, read_audio, read_image, read_video
from ...media.files import opened
from ...media.kinds import CLIP_KINDS, SOUND_KINDS, find_kind
from ...modality import Modality
from ..keys import KEY_BYTES, watermark_key
from .evidence import FALSE_POSITIVE_RATE, p_value
from .pictures import PictureMark
from .sounds import SoundMark

if TYPE_CHECKING:
    from ...output import AnyToAnyOutput

MARKED = (Modality.IMAGE, Modality.VIDEO, Modality.AUDIO)
"""What can carry the mark."""
_MOST_FRAMES = 64
_STILLS = ("png", "jpeg", "bmp", "avif")
_MOVING = (*CLIP_KINDS, "gif", "webp")


@dataclass(frozen=True)
class Detection:
    """What was found.

    Attributes:
        found: whether the mark of the key is there: ``p_value`` is at most ``FALSE_POSITIVE_RATE``.
        p_value: how likely something without the mark would look as much like it, at most.
        modality: as what it was searched: ``image``, ``video`` or ``audio``. Of a clip with sound, whichever shows the mark.
    """

    found: bool
    p_value: float
    modality: str


def embed(media: Media, key: bytes | None = None) -> Media:
    """The same picture, clip (with its sound) or sound with the mark of a key; a text comes back as it is.

    Args:
        media: ``PIL.Image.Image`` (the result is in mode RGB), ``Video``, ``Audio`` or ``str``. It is not changed itself.
        key: 32 bytes; this user's own by default, which is made now if there is none.

    Raises:
        ArgumentError: if ``media`` is something else, or the key is no key.
        ConfigurationError, MediaError: if this user's key cannot be used or kept.
    """
    if isinstance(media, str):
        return media
    pictures, sounds = _marks(watermark_key() if key is None else key)
    if isinstance(media, Image.Image):
        return Image.fromarray(pictures.embed(np.asarray(normalise(media))[None])[0])
    if isinstance(media, Audio):
        return sounds.embed(media)
    if isinstance(media, Video):
        audio = None if media.audio is None else sounds.embed(media.audio)
        return replace(media, frames=pictures.embed(media.frames), audio=audio)
    raise ArgumentError(f"watermark: a picture, clip or sound can be marked, not {type(media).__name__}")


def embed_output(output: "AnyToAnyOutput", key: bytes | None = None) -> "AnyToAnyOutput":
    """Mark all media of an output in place, and return it.

    Raises:
        ArgumentError, ConfigurationError, MediaError: as ``embed``.
    """
    for modality in MARKED:
        if output[modality] is not None:
            setattr(output, modality, [embed(item, key) for item in output[modality]])
    return output


def detect(source: str | Path | Media, key: bytes | None = None, limits: Limits = DEFAULT_LIMITS) -> Detection | None:
    """Look for the mark of a key.

    Args:
        source: a file, or a picture, clip or sound.
        key: 32 bytes; this user's own by default.
        limits: on the file.

    Returns:
        What was found; None if the file is of no kind that can carry the mark, such as a text.

    Raises:
        ConfigurationError: if no key is given and there is none.
        ArgumentError: if the key is no key.
        MediaError: if the file cannot be read.
    """
    pictures, sounds = _marks(watermark_key(create=False) if key is None else key)
    media = _read(Path(source), limits) if isinstance(source, str | Path) else source
    if media is None:
        return None
    found = []
    if isinstance(media, Image.Image | Video):
        is_clip = isinstance(media, Video)
        frames = media.frames if is_clip else np.asarray(normalise(media))[None]
        step = -(-len(frames) // _MOST_FRAMES)
        found.append((p_value(*pictures.score(frames[::step])), Modality.VIDEO if is_clip else Modality.IMAGE))
    sound = media.audio if isinstance(media, Video) else media
    if isinstance(sound, Audio):
        found.append((p_value(*sounds.score(sound)), Modality.AUDIO))
    if not found:
        raise ArgumentError(f"watermark: give a file, picture, clip or sound, not {type(media).__name__}")
    least, modality = min(found)
    least = min(1.0, least * len(found))
    return Detection(least <= FALSE_POSITIVE_RATE, least, str(modality))


def written(is_on: bool, outputs: Iterable[str]) -> dict[str, Any]:
    """What ``result.json`` says of the mark.

    Args:
        is_on: whether it was asked for.
        outputs: modalities that were made.
    """
    return {"written": is_on, "modalities": [str(each) for each in MARKED if is_on and each in outputs]}


@lru_cache(maxsize=4)
def _marks(key: bytes) -> tuple[PictureMark, SoundMark]:
    if not isinstance(key, bytes) or len(key) != KEY_BYTES:
        raise ArgumentError(f"key: must be {KEY_BYTES} bytes, as opencodi.trust.keys.watermark_key returns them")
    return PictureMark(key), SoundMark(key)


def _read(path: Path, limits: Limits) -> Media | None:
    """A file as what it is by its content; a clip without pictures is a sound."""
    with opened(path, limits) as file:
        kind, _ = find_kind(file)
    if kind in _STILLS:
        return read_image(path, limits)
    if kind in _MOVING:
        try:
            return read_video(path, limits)
        except (WrongKind, EmptyFile):
            if kind not in SOUND_KINDS:
                raise
    return read_audio(path, limits) if kind in SOUND_KINDS else None
