"""The edge of the command line: errors become one line, and standard output may be full, closed or ASCII only."""

import errno
import gc
import os
import re
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from ..errors import ArgumentError

TRACEBACK = "OPENCODI_TRACEBACK"
"""Environment variable: if it is set, unforeseen errors show where they come from."""

SYSTEM_ADVICE = {
    errno.ENOSPC: "free some space, or choose a folder on another disk",
    errno.EDQUOT: "free some space, or choose a folder on another disk",
    errno.EMFILE: "close other programs, or raise the limit (ulimit -n)",
    errno.ENFILE: "close other programs, or raise the limit",
    errno.EAGAIN: "the system allows no further process; close other programs, or raise the limit (ulimit -u)",
    errno.ENOMEM: "close other programs, or use a smaller model",
    errno.EACCES: "check that you may do that there",
    errno.EPERM: "check that you may do that there",
    errno.EROFS: "choose a folder that can be written to",
}


def describe(error: Exception) -> tuple[str, int]:
    """What a user reads of an error that is not one of ours, and the exit code.

    2 stands for what the user or the system can mend; 1 for what nobody foresaw.
    """
    text = str(error)
    if isinstance(error, MemoryError) or "out of memory" in text.lower() or "can't allocate memory" in text:
        return "there is not enough memory for this; ask for less at once, or use a smaller model", 2
    if type(error).__name__ == "LibsndfileError" and "System error" in text:  # its word for a disk that is full
        return "a sound cannot be written or read, because the system refuses; check the free space and try again", 2
    if isinstance(error, OSError) and error.errno is not None:
        place = f"{shown(error.filename)}: " if isinstance(error.filename, str | bytes | os.PathLike) else ""
        reason = os.strerror(error.errno)
        advice = SYSTEM_ADVICE.get(error.errno, "check the place and try again")
        return f"{place}{reason[0].lower()}{reason[1:]}; {advice}", 2
    return f"unforeseen: {type(error).__name__}: {text}; please report it (set {TRACEBACK}=1 to see where it happened)", 1


def shown(path: str | bytes | os.PathLike) -> str:
    r"""A path as text that can be printed and stored: bytes that are no UTF-8 become ``\xe9`` and so on."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


_STAGED = re.compile(r"[/\\]\.partial-[0-9a-f]{12}(?=[/\\])")
"""A folder of ``media.partial`` in a path; importing that would load numpy."""


def one_line(message: str) -> str:
    """A message on a single line that UTF-8 can hold. A file that is written aside goes by the name it will have."""
    message = _STAGED.sub("", message)
    return " ".join(message.split()).encode("utf-8", errors="backslashreplace").decode("utf-8")


def say_error(message: str) -> None:
    """One line on standard error; if even that cannot be written, the exit code has to do."""
    with suppress(OSError, ValueError):
        print(one_line(message), file=sys.stderr, flush=True)


def prepare_streams() -> None:
    """See that the three standard streams exist, and that no character stops standard output."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the shell: the next file that is opened would take its place
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def printing(required: bool = False) -> Iterator[None]:
    """Print within it. A reader that has gone away, as in ``| head -1``, ends the printing without an error.

    Args:
        required: the output is all that the command is for; else the results are in files, and a full disk under standard
            output is only mentioned.

    Raises:
        ArgumentError: if standard output cannot be written and the output is required.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        discard_stdout()
        if error.errno == errno.EPIPE:
            return
        reason = f"standard output cannot be written ({os.strerror(error.errno or 0)})"
        if required:
            raise ArgumentError(f"{reason}; send it elsewhere") from error
        say_error(f"warning: {reason}; the results are written all the same")


def discard_stdout() -> None:
    """Send what is still to be printed nowhere, so that Python does not stumble over it when it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def flush() -> None:
    """Write out what is buffered, before Python does it and complains."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        discard_stdout()


def reader_is_gone(stream: TextIO) -> bool:
    """Whether a stream is a pipe that nobody reads any more."""
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    try:
        poll.register(stream.fileno(), 0)
    except (OSError, ValueError):
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))


@contextmanager
def importing() -> Iterator[None]:
    """Import within it: thousands of modules at once give the garbage collector much to walk through and nothing to find."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
