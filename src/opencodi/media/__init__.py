"""Files ↔ Python objects: `str`, `PIL.Image.Image`, `Audio`, `Video`. One file per modality; see `read` and `write`.

Errors at this door are typed (`opencodi.errors`): MissingFile, EmptyFile, DamagedFile, WrongKind, OverLimit; and
SystemFailure or DecoderCrash where the file is not at fault. Names are imported when first used: who only writes files
that are encoded already, as the client of a server does, waits for no library of pictures or sounds.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError
from ..modality import MODALITIES
from .limits import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from PIL import Image

    from .objects import Audio, Video

    Media = str | Image.Image | Video | Audio

_WHERE = {
    "audio": ("SAMPLE_RATE", "read_audio", "resample", "to_mono", "write_audio"),
    "image": ("fit_square", "normalise", "read_image", "write_image"),
    "objects": ("Audio", "Video"),
    "text": ("read_text", "write_text"),
    "video": ("fit_square_frames", "read_video", "sample_frames", "write_video"),
}
_ROOM_OF = {name: room for room, names in _WHERE.items() for name in names}

__all__ = sorted([*_ROOM_OF, "DEFAULT_LIMITS", "Limits", "Media", "read", "write"])


def __getattr__(name: str) -> Any:
    """Import a name from the file it lives in, on first use."""
    if name == "Media":
        from PIL import Image

        from .objects import Audio, Video

        return str | Image.Image | Video | Audio
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_ROOM_OF[name]}", __name__), name)


def read(modality: str, path: str | Path, limits: Limits = DEFAULT_LIMITS) -> "Media":
    """Read a file as one modality; its content decides how, not its name.

    Raises:
        MediaError: one of its kinds (`opencodi.errors`), which names the file and says what to do.
    """
    reader = MODALITIES[modality].read
    if reader is None:
        raise ArgumentError(f"{path}: no file is read as {modality}; pass the object from Python")
    return reader(path, limits)


def write(modality: str, media: "Media", path: str | Path) -> None:
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
