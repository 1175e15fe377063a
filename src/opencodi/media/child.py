"""Child processes that read what this process does not trust: started, stopped when they take too long, and always ended."""

import errno
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Timer
from typing import Any, BinaryIO

from .system import refused

_MAX_COMPLAINT = 2**16


class Child:
    """A process that runs.

    Args:
        process: with pipes for its standard output and standard error.

    Attributes:
        expired: whether it was stopped because it took too long.
    """

    def __init__(self, process: subprocess.Popen):
        self._process = process
        self.expired = False

    @property
    def stdin(self) -> BinaryIO:
        """Where it reads, if it was given a pipe."""
        return self._process.stdin

    @property
    def stdout(self) -> BinaryIO:
        """Where it answers."""
        return self._process.stdout

    def end(self) -> tuple[int, str]:
        """Wait until it ends: its exit code (or minus the signal that ended it) and the end of what it complained of."""
        said = b""
        while part := self._process.stderr.read(_MAX_COMPLAINT):
            said = (said + part)[-_MAX_COMPLAINT:]
        return self._process.wait(), said.decode(errors="replace").strip()

    def stop(self) -> None:
        """End it at once; it counts as expired."""
        self.expired = True
        self._process.kill()


@contextmanager
def running(subject: str, command: Sequence[str], seconds: float, **options: Any) -> Iterator[Child]:
    """A child process that is stopped after some seconds, and has ended when the block is left.

    Args:
        subject: begins the sentence if the system refuses, such as "a.png: cannot be decoded".
        command: program and arguments.
        seconds: that it may take.
        **options: of ``subprocess.Popen``, such as ``stdin`` and ``env``.

    Raises:
        SystemFailure, MediaError: if the system starts no further process, or no thread to watch it.
    """
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    except OSError as error:
        raise refused(subject, error) from error
    child = Child(process)
    timer = Timer(seconds, child.stop)
    timer.daemon = True
    try:
        try:
            timer.start()
        except RuntimeError as error:  # it is a thread, and the system may start no more of them
            raise refused(subject, errno.EAGAIN) from error
        yield child
    finally:
        timer.cancel()
        process.kill()  # does nothing if it has ended
        process.stdout.close()
        process.stderr.close()
        process.wait()
