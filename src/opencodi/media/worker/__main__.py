"""The program that decodes one clip or compressed sound, run as a child process by `decoding.py`:
`python worker REQUEST`.

A crafted or damaged file can crash a decoder, hang it or make it ask for all memory; here that ends this process and
no other. It stands alone: it imports nothing of this package, so that it starts quickly.

It takes one JSON request as its argument and the open file as standard input. It answers on standard output: eight
bytes with the length of a line of JSON (little-endian), that line, the frames (uint8 [num_frames, height, width, 3])
and the samples (float32 [num_samples]). The line describes them, or is `{"error": class, "reason": words}` or
`{"errno": number}` if the system refused.
"""

import contextlib
import errno
import io
import json
import math
import os
import signal
import sys
from pathlib import Path
from typing import BinaryIO

_ONE_ALLOCATION = 64 * 2**20
"""Bytes that a decoder asks for at once, at the most and as a rule: a thread's stack, a library or some frames."""


def main(request: dict, file: BinaryIO) -> tuple[dict, list]:
    """Decode a file: what to say about it, and the arrays that follow."""
    theirs, ours = _address_space(), request["max_decoder_bytes"]
    try:
        # Before the limit is set: a library that does not fit into it says that it is missing.
        from decoders import decode, load

        load(request)
        _silence(2)  # only now: a library that ends this process while it loads says why
        _limit(request)
        return decode(request, file)
    except Exception as error:
        _set_address_space(theirs)  # the answer needs memory, too
        if not isinstance(error, MemoryError) and not _has_nearly_filled(min(ours, theirs)):
            return _explain(error), []
        if theirs < ours:
            return {"errno": errno.ENOMEM}, []
        return {"error": "OverLimit", "reason": f"takes more memory to decode than {ours:,} bytes"}, []


def _explain(error: Exception) -> dict:
    """The answer for what decoding ended with, though there was memory enough."""
    if type(error).__name__ == "Refusal":
        return {"error": error.error, "reason": str(error)}
    if isinstance(error, ImportError) or "cannot load library" in str(error):
        return {"missing": str(error)}
    if isinstance(error, EOFError):
        return {"error": "DamagedFile", "reason": "ends before anything can be decoded"}
    if isinstance(error, OSError) and error.errno in (errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.EIO):
        return {"errno": error.errno}
    words = getattr(error, "strerror", None) or str(error)  # whatever the decoders' parsers run into
    return {"error": "DamagedFile", "reason": f"cannot be decoded ({words})"}


def _limit(request: dict) -> None:
    """No more memory, time or files than it needs, whatever becomes of the parent."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for what in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (0, resource.getrlimit(what)[1]))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, request["timeout_seconds"] + 10)
    _set_address_space(min(request["max_decoder_bytes"], _address_space()))


def _address_space() -> float:
    """The limit that is in force, in bytes."""
    try:
        import resource
    except ImportError:
        return math.inf
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return math.inf if limit == resource.RLIM_INFINITY else limit


def _set_address_space(size: float) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # some systems do not let it be set
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY if size == math.inf else int(size), hard))


def _has_nearly_filled(limit: float) -> bool:
    """Whether this process came so near to its limit that memory was probably refused.

    Decoders and loaders of libraries then say that a file is damaged, a library missing or a thread impossible.
    """
    try:
        state = Path("/proc/self/status").read_text()
    except OSError:  # not Linux, where alone the limit holds
        return False
    peak = next((int(line.split()[1]) * 1024 for line in state.splitlines() if line.startswith("VmPeak")), 0)
    return peak + _ONE_ALLOCATION > limit


class _Tail(io.RawIOBase):
    """A file without what comes before its content."""

    def __init__(self, file: BinaryIO, start: int):
        self.file, self.start = file, start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self.file.seek(offset + self.start if whence == os.SEEK_SET else offset, whence) - self.start

    def tell(self) -> int:
        return self.file.tell() - self.start

    def readinto(self, buffer) -> int:
        return self.file.readinto(buffer)


def _silence(handle: int) -> None:
    """A library that chats must neither garble the answer nor fill a pipe that nobody reads."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), handle)


def _run() -> None:
    request = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "wb")
    _silence(1)
    file = os.fdopen(os.dup(0), "rb")
    request["size"] = os.fstat(0).st_size - request["start"]
    file.seek(request["start"])
    answer, arrays = main(request, _Tail(file, request["start"]) if request["start"] else file)
    line = json.dumps(answer).encode()
    answers.write(len(line).to_bytes(8, "little") + line)
    for array in arrays:
        answers.write(array)
    answers.flush()


if __name__ == "__main__":
    _run()
