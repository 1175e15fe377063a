"""The door of the room: what holds for a file of any modality before it is read, and while it is written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from ..errors import DamagedFile, EmptyFile, MediaError, MissingFile, OverLimit, WrongKind
from .containers import HEAD_BYTES, KINDS, kind_of, missing_end
from .limits import Limits


def require_file(path: str | Path, limits: Limits) -> Path:
    """The path of a regular, non-empty file of at most `limits.max_bytes` bytes.

    Raises:
        MissingFile, EmptyFile, OverLimit: if it is not.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise MissingFile(f"{path}: there is no such file, check its name")
        if not path.is_file():
            raise MissingFile(f"{path}: is a folder or device, give a file")
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        if isinstance(error, MediaError):
            raise
        raise MissingFile(f"{path}: cannot be reached ({error}), check its name and folder") from error
    if size == 0:
        raise EmptyFile(f"{path}: has no bytes, save or fetch it again")
    if size > limits.max_bytes:
        raise OverLimit(f"{path}: has {size:,} bytes, the limit is {limits.max_bytes:,}, give a smaller file")
    return path


def require_kind(path: str | Path, limits: Limits, accepted: tuple[str, ...], wanted: str) -> tuple[Path, str]:
    """The path of a whole file and its kind, one of the `accepted` keys of `containers.KINDS`.

    Raises:
        MissingFile, EmptyFile, OverLimit: see `require_file`.
        WrongKind: if its first bytes say that it is something else than `wanted`.
        DamagedFile: if its end is missing.
    """
    path = require_file(path, limits)
    with opened(path) as file:
        kind = kind_of(file.read(HEAD_BYTES))
        if kind not in accepted:
            is_what = KINDS.get(kind, "of a kind that is not read here")
            known = ", ".join(name.upper() for name in accepted)
            raise WrongKind(f"{path}: is {is_what}, give {wanted} ({known})")
        lack = missing_end(kind, file, path.stat().st_size)
    if lack:
        raise DamagedFile(f"{path}: is truncated ({lack}), fetch it again")
    return path, kind


@contextmanager
def opened(path: Path) -> Iterator:
    """Open for reading bytes; what the system refuses becomes a `MediaError`."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise MediaError(f"{path}: cannot be opened ({error.strerror}), check that you may read it") from error
    with file:
        yield file


@contextmanager
def replacing(path: str | Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Yield a temporary name beside `path`, renamed to it on success and removed on failure.

    Raises:
        WrongKind: if the ending of `path` is not one of `suffixes`.
        MissingFile: if its folder does not exist.
        MediaError: if the system refuses to write there.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise WrongKind(
            f"{path}: cannot be written as {path.suffix or 'a file without ending'!r}, use {', '.join(suffixes)}"
        )
    if not path.parent.is_dir():
        raise MissingFile(f"{path}: its folder does not exist, make it first")
    if path.is_dir():
        raise MediaError(f"{path}: is a folder, give another name")
    # The real ending comes last, since the libraries choose their format by it.
    temporary = path.with_name(f".{path.stem[:64]}.{uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if isinstance(error, MediaError):
            raise
        raise MediaError(f"{path}: cannot be written ({error}), check the space and the rights there") from error
    finally:
        temporary.unlink(missing_ok=True)
