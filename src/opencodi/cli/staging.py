"""Folders of results that appear complete or not: checked before work, written aside, then renamed."""

import errno
import os
import shutil
import signal
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ArgumentError
from .edge import shown

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PARTIAL = ".partial-"
LAST = "result.json"
"""Tells of all the others, so it is renamed last."""


def check_output(folder: Path, names: Iterable[str] = (), option: str = "--output") -> None:
    """Refuse a place for results before any work is done. Nothing is left or changed there.

    Args:
        folder: of the results; it need not exist.
        names: of the files to come.
        option: that named the folder.

    Raises:
        ArgumentError: if the folder cannot be made or written to, or holds a folder of one of these names.
    """
    names, made = tuple(names), []
    try:
        for place in reversed((folder, *folder.parents)):
            if not os.path.lexists(place):
                place.mkdir()
                made.append(place)
        if not folder.is_dir():
            raise ArgumentError(_refusal(option, _obstacle(folder), "is not a folder that can be written to"))
        for name in names:
            if (folder / name).is_dir() and not (folder / name).is_symlink():
                raise ArgumentError(
                    f"{option}: {shown(folder / name)} is a folder, where a result would be written; "
                    "move it, or choose another folder"
                )
        # Some places refuse files, or names that are long together with those of the folders above
        probe = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=folder))
        try:
            (probe / ("x" * max(48, *map(len, names), 48))).touch()
        finally:
            shutil.rmtree(probe, ignore_errors=True)
    except OSError as error:
        # A file system that is not for files, such as /proc, says that there is "no such file"
        unusual = {errno.ENOENT: "the system makes no folders there"}
        reason = unusual.get(error.errno, os.strerror(error.errno or 0))
        place = folder if error.errno == errno.ENAMETOOLONG else _obstacle(folder)
        raise ArgumentError(_refusal(option, place, f"is not a folder that can be written to ({reason})")) from error
    finally:
        for place in reversed(made):
            place.rmdir()


def _obstacle(folder: Path) -> Path:
    """The nearest place on the way to a folder that exists; the folder itself if that is none."""
    for place in (folder, *folder.parents):
        try:
            if os.path.lexists(place):
                return place
        except (OSError, ValueError):
            continue
    return folder


def _refusal(option: str, place: Path, reason: str) -> str:
    name = shown(place)
    return f"{option}: {name if len(name) <= 120 else name[:117] + '...'} {reason}; choose another"


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A temporary folder whose files move into ``folder`` when all are written, so that none is ever half there.

    What a run that was killed has left is removed first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder)
    stage, lock = _locked_folder(folder)
    try:
        yield stage
        files = sorted(stage.iterdir(), key=lambda file: (file.name == LAST, file.name))
        with _uninterrupted():
            for file in files:
                os.replace(file, folder / file.name)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary folders of runs that were killed; those of runs that still go on are locked and stay."""
    if fcntl is None:
        return
    for stage in folder.glob(f"{PARTIAL}*"):
        lock = _locked(stage)
        if lock is not None:
            shutil.rmtree(stage, ignore_errors=True)
            os.close(lock)


def _locked_folder(folder: Path) -> tuple[Path, int | None]:
    """A new temporary folder and its lock; None where the system has no locks."""
    for _ in range(5):
        stage = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=folder))
        lock = _locked(stage)
        if stage.is_dir():  # else another run took it for abandoned before it was locked
            break
    return stage, lock


def _locked(stage: Path) -> int | None:
    """A lock on a folder, which ends with this process however it ends; None if another process has it."""
    if fcntl is None or stage.is_symlink():
        return None
    try:
        lock = os.open(stage, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits meanwhile."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
