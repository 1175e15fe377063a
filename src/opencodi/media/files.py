"""The door of the room: what holds for a file of any modality before it is read, and while it is written."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import DamagedFile, EmptyFile, MediaError, MissingFile, OverLimit, WrongKind
from .containers import missing_end
from .kinds import KINDS, find_kind
from .limits import Limits
from .partial import partial_file, partial_folder, uninterrupted
from .system import is_system_failure, refused

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)


@contextmanager
def opened(path: str | Path, limits: Limits) -> Iterator[BinaryIO]:
    """Open a regular, non-empty file of at most `limits.max_bytes` bytes for reading.

    Raises:
        MissingFile, EmptyFile, OverLimit: if it is not one.
        SystemFailure, MediaError: if the system refuses to open it.
    """
    path = Path(path)
    try:
        # Checked before it is opened: opening a named pipe would wait for a writer.
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise MissingFile(f"{path}: is a folder or device, give a file")
        file = path.open("rb")
    except ValueError as error:  # a name with a zero byte
        raise MissingFile(f"{path}: cannot be the name of a file, check it") from error
    except OSError as error:
        if isinstance(error, MediaError):
            raise
        if error.errno == errno.ENOENT:
            raise MissingFile(f"{path}: there is no such file, check its name") from error
        if error.errno in _ABSENT:
            reason = os.strerror(error.errno).lower()
            raise MissingFile(f"{path}: cannot be reached ({reason}), check its name and folder") from error
        raise refused(f"{path}: cannot be opened", error) from error
    with file:
        if state.st_size == 0:
            raise EmptyFile(f"{path}: has no bytes, save or fetch it again")
        if state.st_size > limits.max_bytes:
            size = f"{state.st_size:,} bytes, the limit is {limits.max_bytes:,}"
            raise OverLimit(f"{path}: has {size}, give a smaller file")
        try:
            yield file
        except OSError as error:
            if isinstance(error, MediaError) or not is_system_failure(error):
                raise
            raise refused(f"{path}: cannot be read", error) from error


@contextmanager
def opened_kind(
    path: str | Path, limits: Limits, accepted: tuple[str, ...], wanted: str
) -> Iterator[tuple[BinaryIO, str]]:
    """Open a whole file of one of the `accepted` keys of `kinds.KINDS`; the file stands where its content begins.

    Raises:
        MissingFile, EmptyFile, OverLimit, SystemFailure, MediaError: see `opened`.
        WrongKind: if its first bytes say that it is something else than `wanted`.
        DamagedFile: if its end is missing.
    """
    with opened(path, limits) as file:
        kind, start = find_kind(file)
        if kind not in accepted:
            is_what = KINDS.get(kind, "of a kind that is not read here")
            raise WrongKind(f"{path}: is {is_what}, give {wanted}")
        lack = missing_end(kind, file, os.fstat(file.fileno()).st_size, start)
        if lack:
            raise DamagedFile(f"{path}: is truncated ({lack}), fetch it again")
        file.seek(start)
        yield file, kind


@contextmanager
def replacing(path: str | Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Yield a temporary name beside `path`, renamed to it on success and removed on failure.

    Raises:
        WrongKind: if the ending of `path` is not one of `suffixes`.
        MissingFile: if its folder does not exist.
        SystemFailure, MediaError: if the system refuses to write there.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise WrongKind(
            f"{path}: cannot be written as {path.suffix or 'a file without ending'!r}, use {', '.join(suffixes)}"
        )
    try:
        if not path.parent.is_dir():
            raise MissingFile(f"{path}: its folder does not exist, make it first")
        if path.is_dir():
            raise MediaError(f"{path}: is a folder, give another name")
        with partial_file(path) as temporary:
            yield temporary
            temporary.replace(path)
    except OSError as error:
        if isinstance(error, MediaError):
            raise
        raise refused(f"{path}: cannot be written", error, path.parent) from error


@contextmanager
def staged(folder: str | Path, last: str | None = None) -> Iterator[Path]:
    """A temporary folder whose files move into `folder` when all are written, so that a failure leaves none of them.

    Args:
        folder: made if it is missing.
        last: the file that moves after all others, because it tells of them.

    Raises:
        SystemFailure, MediaError: if the system refuses to write there.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial_folder(folder) as stage:
            yield stage
            files = sorted(stage.iterdir(), key=lambda file: (file.name == last, file.name))
            for file in files:
                if (folder / file.name).is_dir() and not file.is_dir():
                    raise MediaError(f"{folder / file.name}: is a folder, give another folder for the results")
            with uninterrupted():
                for file in files:
                    file.replace(folder / file.name)
    except OSError as error:
        if isinstance(error, MediaError):
            raise
        raise refused(f"{folder}: cannot be written to", error, folder) from error
