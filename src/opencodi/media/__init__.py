"""Files ↔ Python objects: `str`, `PIL.Image.Image`, `Audio`, `Video`. One file per modality; see `read` and `write`.

Errors at this door are typed (`opencodi.errors`): MissingFile, EmptyFile, DamagedFile, WrongKind, OverLimit; and
SystemFailure or DecoderCrash where the file is not at fault.
"""

from pathlib import Path

from PIL import Image

from ..errors import ArgumentError
from ..modality import MODALITIES
from .audio import SAMPLE_RATE, read_audio, resample, to_mono, write_audio
from .image import fit_square, normalise, read_image, write_image
from .limits import DEFAULT_LIMITS, Limits
from .objects import Audio, Video
from .text import read_text, write_text
from .video import fit_square_frames, read_video, sample_frames, write_video

Media = str | Image.Image | Video | Audio


def read(modality: str, path: str | Path, limits: Limits = DEFAULT_LIMITS) -> Media:
    """Read a file as one modality; its content decides how, not its name.

    Raises:
        MediaError: one of its kinds (`opencodi.errors`), which names the file and says what to do.
    """
    reader = MODALITIES[modality].read
    if reader is None:
        raise ArgumentError(f"{path}: no file is read as {modality}; pass the object from Python")
    return reader(path, limits)


def write(modality: str, media: Media, path: str | Path) -> None:
    """Write a media object in the format that the ending of `path` names; a failure leaves nothing behind.

    Raises:
        ArgumentError: if `media` is not of this modality.
        WrongKind, MissingFile, SystemFailure, MediaError: if the ending is unknown, the folder is missing, or the system
            refuses.
    """
    writer = MODALITIES[modality].write
    if writer is None:
        raise ArgumentError(f"{path}: {modality} is not written to files; use the object from Python")
    writer(media, path)


__all__ = [
    "DEFAULT_LIMITS",
    "SAMPLE_RATE",
    "Audio",
    "Limits",
    "Media",
    "Video",
    "fit_square",
    "fit_square_frames",
    "normalise",
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
