"""What the system says when it refuses, in words: a full disk or a lack of memory is never called a damaged file."""

import errno
import os
from pathlib import Path

from ..errors import MediaError, SystemFailure

_SENTENCES = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "your share of the disk is full; delete files you no longer need",
    errno.EFBIG: "the file grows larger than the system allows; raise the limit (ulimit -f)",
    errno.EMFILE: "this program has too many files open; close some or raise the limit (ulimit -n)",
    errno.ENFILE: "the system has too many files open; close other programs",
    errno.EAGAIN: "the system starts no further process; close other programs or raise the limit (ulimit -u)",
    errno.ENOMEM: "the system has no memory left; close other programs",
    errno.EIO: "the disk does not answer properly (input/output error); check it",
}
_NO_INODES = "the disk has no room for another file, however small (no inodes left); delete files you no longer need"


def refused(subject: object, error: OSError | int | MemoryError, folder: Path | None = None) -> MediaError:
    """The exception to raise when the system refuses: a `SystemFailure`, or a `MediaError` for rights and the like.

    Args:
        subject: begins the sentence, such as "a.png: cannot be written".
        error: what the system raised, or its error number.
        folder: where something was to be written, to tell a disk without space from one without inodes.
    """
    number = errno.ENOMEM if isinstance(error, MemoryError) else error if isinstance(error, int) else error.errno
    if number == errno.ENOSPC and folder is not None and _lacks_inodes(folder):
        return SystemFailure(f"{subject}: {_NO_INODES}")
    if number in _SENTENCES:
        return SystemFailure(f"{subject}: {_SENTENCES[number]}")
    reason = os.strerror(number) if number else str(error)
    return MediaError(f"{subject}: {reason[:1].lower()}{reason[1:]}; check the path and your rights there")


def is_system_failure(error: BaseException) -> bool:
    """Whether an exception that a library raised says that the system refused, not that the file is bad."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _SENTENCES)


def _lacks_inodes(folder: Path) -> bool:
    try:
        state = os.statvfs(folder)
    except (OSError, AttributeError):  # gone meanwhile, or Windows
        return False
    return state.f_files > 0 and state.f_favail == 0 and state.f_bavail > 0
