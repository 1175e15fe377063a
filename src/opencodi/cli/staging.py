"""Folders of results that appear complete or not: checked before work, written aside, then renamed."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ArgumentError
from .edge import shown

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
    """As ``media.files.staged``, which is imported when there is something to write; ``result.json`` appears last."""
    from ..media.files import staged as staged_files

    with staged_files(folder, last=LAST) as stage:
        yield stage
