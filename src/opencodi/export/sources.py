"""Files of a folder → stickers: a picture or clip with its caption and its sound."""

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from ..errors import ArgumentError, DamagedFile, MediaError, OverLimit
from ..media import DEFAULT_LIMITS, Audio, Limits, normalise, read_audio, read_text, read_video
from ..media.files import opened_kind
from .pack_names import PACK

STILL_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".apng")
CLIP_ENDINGS = (".mp4", ".mov", ".webm")
_KINDS = ("png", "jpeg", "webp", "gif")


@dataclass(frozen=True, eq=False)
class Sticker:
    """One picture or clip on its way into a pack.

    Attributes:
        name: of its file, without the ending.
        frames: uint8 ``[num_frames, height, width, 4]``; one frame for a picture.
        fps: frames per second; 1 for a picture.
        caption: what it shows, in words.
        audio: its sound, if it has one.
        source, sound_source: the files that the frames and the sound were read from.
    """

    name: str
    frames: np.ndarray
    fps: float = 1.0
    caption: str = ""
    audio: Audio | None = None
    source: Path | None = None
    sound_source: Path | None = None

    @property
    def moves(self) -> bool:
        return len(self.frames) > 1


def find_stickers(folder: str | Path, limits: Limits = DEFAULT_LIMITS) -> list[Sticker]:
    """Every picture and clip of a folder and of the folders in it, in the order of their names.

    The results of one ``opencodi generate`` belong together: ``image-0.png`` and ``video-0.mp4`` take their caption
    from ``text-0.txt``, else from the words in ``result.json``, else from their own name; a clip takes its sound from
    its own track, else from ``audio-0.wav``. Packs that were exported before are left out.

    Raises:
        ArgumentError: if the folder does not exist, or holds no picture and no clip.
        MediaError: if a file cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ArgumentError(f"{folder}: is not a folder; give the one that holds the pictures and clips")
    stickers = [_read(path, limits) for path in _files(folder)]
    if not stickers:
        endings = ", ".join(STILL_ENDINGS + CLIP_ENDINGS)
        raise ArgumentError(f"{folder}: holds no picture and no clip ({endings}); give a folder that does")
    return stickers


def _files(folder: Path) -> Iterator[Path]:
    if (folder / PACK).exists():
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _files(path)
        elif path.suffix.lower() in STILL_ENDINGS + CLIP_ENDINGS:
            yield path


def _read(path: Path, limits: Limits) -> Sticker:
    caption = _caption(path)
    if path.suffix.lower() in CLIP_ENDINGS:
        clip = read_video(path, limits)
        sound = (clip.audio, path) if clip.audio else _sound_beside(path, limits)
        return Sticker(path.stem, _opaque(clip.frames), clip.fps, caption, sound[0], path, sound[1])
    frames, fps = _read_pictures(path, limits)
    sound = _sound_beside(path, limits) if len(frames) > 1 else (None, None)
    return Sticker(path.stem, frames, fps, caption, sound[0], path, sound[1])


def _read_pictures(path: Path, limits: Limits) -> tuple[np.ndarray, float]:
    """A still or animated PNG, WebP or GIF, or a JPEG, with its alpha: frames ``[num_frames, height, width, 4]``, fps."""
    with opened_kind(path, limits, _KINDS, "a picture (PNG, JPEG, WebP or GIF)") as (file, kind):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is checked instead
                image = Image.open(file, formats=[kind])
            with image:
                count, pixels = getattr(image, "n_frames", 1), image.width * image.height
                if count > limits.max_frames or pixels * count * 4 > limits.max_decoded_bytes:
                    raise OverLimit(f"{path}: has {count:,} frames of {pixels:,} pixels, scale it down or cut it")
                frames, seconds = [], 0.0
                for frame in ImageSequence.Iterator(image):
                    seconds += frame.info.get("duration", 100) / 1000
                    frames.append(np.asarray(normalise(frame, alpha=True, limits=limits)))
        except MediaError as error:
            raise type(error)(str(error).replace("image:", f"{path}:", 1)) from error
        except Exception as error:  # Pillow's readers raise what their parsers run into
            raise DamagedFile(f"{path}: cannot be decoded ({error}), fetch or export it again") from error
    return np.stack(frames), (len(frames) / seconds if len(frames) > 1 and seconds else 1.0)


def _opaque(frames: np.ndarray) -> np.ndarray:
    return np.concatenate([frames, np.full_like(frames[..., :1], 255)], axis=-1)


def _numbered(path: Path, modality: str, ending: str) -> Path:
    """The file of the same result: ``image-3.png`` → ``text-3.txt``."""
    return path.with_name(f"{modality}-{path.stem.rpartition('-')[2]}{ending}")


def _sound_beside(path: Path, limits: Limits) -> tuple[Audio | None, Path | None]:
    beside = _numbered(path, "audio", ".wav")
    return (read_audio(beside, limits), beside) if beside.is_file() else (None, None)


def _caption(path: Path) -> str:
    beside = _numbered(path, "text", ".txt")
    if beside.is_file():
        try:
            return read_text(beside).strip()
        except MediaError:  # a model may write an empty text
            pass
    try:
        report = json.loads((path.parent / "result.json").read_text(encoding="utf-8"))
        words = report["inputs"]["text"]
        return ", ".join(map(str, words)) if isinstance(words, list) else str(words)
    except (OSError, ValueError, KeyError, TypeError):
        return path.stem.replace("-", " ").replace("_", " ")
