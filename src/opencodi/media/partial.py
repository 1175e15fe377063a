"""Files and folders that appear whole or not at all, and what a killed run left of them.

What is being written has a name that begins with `.partial-`, and its writer holds a lock on it. The system lets go of
the lock when the writer ends, however it ends; so the next run that writes into the folder can tell what was left
behind from what is still being written.
"""

import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time
from uuid import uuid4

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PREFIX = ".partial-"
_OURS = re.compile(r"\.partial-[0-9a-f]{12}(\.\w+)?")
_OLD = 24 * 3600.0
"""Seconds after which a leftover is removed where locks are not to be had."""
_swept: set[Path] = set()


@contextmanager
def partial_file(path: Path) -> Iterator[Path]:
    """A new empty file beside `path`, removed in the end unless it was renamed. Its name ends as that of `path` does."""
    _sweep_once(path.parent)
    temporary = path.with_name(f"{PREFIX}{uuid4().hex[:12]}{path.suffix}")
    with open(temporary, "xb") as file:
        if fcntl is None:
            file.close()  # Windows renames no open file
        else:
            _lock(file.fileno())
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """A new folder inside `folder`, removed in the end with whatever is left in it."""
    _sweep_once(folder)
    temporary = folder / f"{PREFIX}{uuid4().hex[:12]}"
    temporary.mkdir()
    handle = None
    try:
        if fcntl is not None:
            handle = os.open(temporary, os.O_RDONLY)
            _lock(handle)
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def sweep(folder: Path) -> list[Path]:
    """Remove what runs that were killed left in a folder; what another run is still writing stays.

    Returns:
        What was removed.
    """
    removed = []
    with suppress(OSError):
        for leftover in sorted(folder.glob(f"{PREFIX}*")):
            if _OURS.fullmatch(leftover.name) and _is_abandoned(leftover):
                if leftover.is_dir():
                    shutil.rmtree(leftover, ignore_errors=True)
                else:
                    leftover.unlink(missing_ok=True)
                removed.append(leftover)
    return removed


def _sweep_once(folder: Path) -> None:
    folder = folder.absolute()
    if folder not in _swept:  # once per run: a folder may hold many files
        _swept.add(folder)
        sweep(folder)


def _lock(handle: int) -> None:
    with suppress(OSError):  # some network drives know no locks
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_abandoned(path: Path) -> bool:
    if path.is_symlink():
        return False
    try:
        age = time() - path.stat().st_mtime
        if fcntl is None:
            return age > _OLD
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        # A moment passes between making a file and locking it.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return age > 2
    except BlockingIOError:
        return False
    except OSError:
        return age > _OLD
    finally:
        os.close(handle)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits meanwhile."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
