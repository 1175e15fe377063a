"""Files ↔ Python objects: `str`, `PIL.Image.Image`, `Audio`, `Video`. One file per modality; see `read` and `write`.

Errors at this door are typed (`opencodi.errors`): MissingFile, EmptyFile, DamagedFile, WrongKind, OverLimit.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from ..modality import Modality
from .audio import SAMPLE_RATE, read_audio, resample, to_mono, write_audio
from .image import fit_square, over_white, read_image, write_image
from .limits import DEFAULT_LIMITS, Limits
from .objects import Audio, Video
from .text import read_text, write_text
from .video import fit_square_frames, read_video, sample_frames, write_video

Media = str | Image.Image | Video | Audio

MEDIA_TYPES: dict[Modality, type] = {
    Modality.TEXT: str,
    Modality.IMAGE: Image.Image,
    Modality.VIDEO: Video,
    Modality.AUDIO: Audio,
}
READERS: dict[Modality, Callable[..., Any]] = {
    Modality.TEXT: read_text,
    Modality.IMAGE: read_image,
    Modality.VIDEO: read_video,
    Modality.AUDIO: read_audio,
}
WRITERS: dict[Modality, Callable[[Any, str | Path], None]] = {
    Modality.TEXT: write_text,
    Modality.IMAGE: write_image,
    Modality.VIDEO: write_video,
    Modality.AUDIO: write_audio,
}


def read(modality: Modality, path: str | Path, limits: Limits = DEFAULT_LIMITS) -> Media:
    """Read a file as one modality; its content decides how, not its name.

    Raises:
        MissingFile, EmptyFile, DamagedFile, WrongKind, OverLimit: each names the file and what to do.
    """
    return READERS[Modality(modality)](path, limits)


def write(modality: Modality, media: Media, path: str | Path) -> None:
    """Write a media object in the format that the ending of `path` names; a failure leaves nothing behind.

    Raises:
        ArgumentError: if `media` is not of this modality.
        WrongKind, MissingFile, MediaError: if the ending is unknown, the folder is missing, or the system refuses.
    """
    WRITERS[Modality(modality)](media, path)


__all__ = [
    "DEFAULT_LIMITS",
    "MEDIA_TYPES",
    "READERS",
    "SAMPLE_RATE",
    "WRITERS",
    "Audio",
    "Limits",
    "Media",
    "Video",
    "fit_square",
    "fit_square_frames",
    "over_white",
    "read",
    "read_audio",
    "read_image",
    "read_text",
    "read_video",
    "resample",
    "sample_frames",
    "to_mono",
    "write",
    "write_audio",
    "write_image",
    "write_text",
    "write_video",
]
