"""Results as files: under names that nobody can guess, for a stated time, gone when the server is."""

import fcntl
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..media import Audio, Video
from ..modality import MODALITIES
from ..output import AnyToAnyOutput
from ..trust import Credentials, prepare
from .batching import Work
from .sounds import write_sound

MEDIA_TYPES = {
    ".txt": "text/plain; charset=utf-8",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".opus": "audio/ogg",
    ".aac": "audio/aac",
    ".pcm": "audio/pcm",
    ".c2pa": "application/c2pa",
}
GRACE_SECONDS = 1.0
_PREFIX = "opencodi-serve-"


@dataclass(frozen=True)
class StoredFile:
    """One result on disk. Who knows ``token`` and ``path.name`` may fetch it.

    Attributes:
        modality: what it is.
        index: which result of its job.
        token: name of its folder: 192 random bits.
        path: where it lies.
        size: in bytes.
        text: what a text says.
        sidecar: its credentials, if they are not inside it.
        facts: ``width`` and ``height`` of pictures and clips, ``seconds`` of clips and sounds.
    """

    modality: str
    index: int
    token: str
    path: Path
    size: int
    text: str | None = None
    sidecar: "StoredFile | None" = None
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def link(self) -> str:
        """Its path on this server."""
        return f"/v1/files/{self.token}/{self.path.name}"

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES.get(self.path.suffix, "application/octet-stream")


class Store:
    """A private folder of results. What an earlier server left behind when it was killed is removed.

    Args:
        parent: where to make the folder; the system's temporary folder by default.
        credentials: who signs results; nobody by default.
    """

    def __init__(self, parent: Path | None = None, credentials: Credentials | None = None) -> None:
        parent = Path(tempfile.gettempdir()) if parent is None else parent
        parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(parent)
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        self._lock = (self.folder / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.uploads = self.folder / "uploads"
        self.uploads.mkdir(mode=0o700)
        self._credentials = credentials or prepare(False)
        self._files: dict[tuple[str, str], StoredFile] = {}
        self._removed: list[tuple[float, Path]] = []
        self.size = 0

    def save(self, work: Work, media: Mapping[str, list[Any]]) -> list[StoredFile]:
        """Write the results of one job; all of them or none.

        Raises:
            MediaError, OSError: if they cannot be written.
        """
        token = secrets.token_urlsafe(24)
        stage = self.folder / f".{token}"
        stage.mkdir(mode=0o700)
        try:
            finish = work.finish or (lambda _, items: items)
            media = {modality: finish(modality, items) for modality, items in media.items()}
            plain = {m: items for m, items in media.items() if m != "audio" or work.audio_format is None}
            for modality, items in plain.items():  # one by one: sounds already are in the clips that they belong to
                AnyToAnyOutput.from_media({modality: items}).save(stage, credentials=False)
            if len(plain) < len(media):
                for index, sound in enumerate(media["audio"]):
                    write_sound(sound, stage / f"audio-{index}.{work.audio_format}")
            files = [
                self._signed(work, token, stage / f"{modality}-{index}{_suffix(work, modality)}", modality, index, item)
                for modality, items in media.items()
                for index, item in enumerate(items)
            ]
            stage.rename(self.folder / token)
        except BaseException:
            shutil.rmtree(stage, ignore_errors=True)
            raise
        stored = _with_sidecars(files)
        self._files |= {(token, file.path.name): file for file in stored}
        self.size += sum(file.size for file in stored)
        return files

    def find(self, token: str, name: str) -> StoredFile | None:
        """The file behind a link. Only names handed out are known, so no path can be made up."""
        return self._files.get((token, name))

    def remove(self, files: list[StoredFile]) -> None:
        """Nobody finds these results of one job any more; the files go with ``purge``."""
        for file in _with_sidecars(files):
            if self._files.pop((file.token, file.path.name), None):
                self.size -= file.size
        self._removed += [(time.monotonic(), self.folder / token) for token in {file.token for file in files}]

    def purge(self) -> None:
        """Delete what was removed, but not what somebody may just be about to open."""
        due = [folder for removed, folder in self._removed if time.monotonic() - removed > GRACE_SECONDS]
        self._removed = [(removed, folder) for removed, folder in self._removed if folder not in due]
        for folder in due:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Remove everything."""
        self._files.clear()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()

    def _signed(self, work: Work, token: str, path: Path, modality: str, index: int, item: Any) -> StoredFile:
        """A file with its credentials in it or beside it."""
        beside = self._credentials.sign(path, work.statement.for_result(index))
        sidecar = None if beside is None else self._describe(token, beside, "credentials", index)
        text = item if isinstance(item, str) else None
        return replace(self._describe(token, path, modality, index), text=text, sidecar=sidecar, facts=_facts(item))

    def _describe(self, token: str, path: Path, modality: str, index: int) -> StoredFile:
        return StoredFile(modality, index, token, self.folder / token / path.name, path.stat().st_size)


def _with_sidecars(files: list[StoredFile]) -> list[StoredFile]:
    return files + [file.sidecar for file in files if file.sidecar is not None]


def _suffix(work: Work, modality: str) -> str:
    written = MODALITIES[modality].write_suffix
    return f".{work.audio_format}" if work.audio_format and modality == "audio" else written


def _facts(item: Any) -> dict[str, float]:
    height, width = item.frames.shape[1:3] if isinstance(item, Video) else getattr(item, "size", (0, 0))[::-1]
    seconds = {"seconds": round(item.seconds, 3)} if isinstance(item, Video | Audio) else {}
    return ({"width": width, "height": height} if width else {}) | seconds


def _remove_abandoned(parent: Path) -> None:
    """Folders of servers that no longer run: nobody holds their lock."""
    for folder in parent.glob(f"{_PREFIX}*"):
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            continue
        try:
            with (folder / "lock").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue
