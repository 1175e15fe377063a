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
from typing import BinaryIO

import av
import numpy as np
import PIL.Image  # noqa: F401
from pictures import PICTURES, decode_pictures
from refusal import Refusal
from sounds import decode_links, decode_sndfile, ogg_links
from streams import decode_streams


def main(request: dict, file: BinaryIO) -> tuple[dict, list[np.ndarray]]:
    """Decode a file: what to say about it, and the arrays that follow."""
    _limit(request)
    try:
        if request["kind"] in PICTURES:
            return decode_pictures(request, file)
        if request["kind"] == "ogg" and not request["frames"] and (links := ogg_links(file)):
            return decode_links(request, links)
        if request["libsndfile"] and (decoded := decode_sndfile(request, file)):
            return decoded
        return decode_streams(request, file)
    except Refusal as refusal:
        return {"error": refusal.error, "reason": str(refusal)}, []
    except av.error.EOFError:
        return {"error": "DamagedFile", "reason": "ends before anything can be decoded"}, []
    except MemoryError:
        if _address_space() < request["max_decoder_bytes"]:  # the system's limit is narrower than ours
            return {"errno": errno.ENOMEM}, []
        reason = f"takes more memory to decode than {request['max_decoder_bytes']:,} bytes"
        return {"error": "OverLimit", "reason": reason}, []
    except ImportError:
        raise
    except Exception as error:  # whatever the decoders' parsers run into
        if isinstance(error, OSError) and error.errno in (errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.EIO):
            return {"errno": error.errno}, []
        words = getattr(error, "strerror", None) or str(error)
        return {"error": "DamagedFile", "reason": f"cannot be decoded ({words})"}, []


def _limit(request: dict) -> None:
    """No more memory, time or files than it needs, whatever becomes of the parent."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = ((resource.RLIMIT_AS, request["max_decoder_bytes"]), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0))
    for what, value in limits:
        with contextlib.suppress(ValueError, OSError):  # some systems know the limit but do not let it be set
            hard = resource.getrlimit(what)[1]
            resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, request["timeout_seconds"] + 10)


def _address_space() -> float:
    try:
        import resource
    except ImportError:
        return math.inf
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return math.inf if limit == resource.RLIM_INFINITY else limit


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


def _run() -> None:
    request = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "wb")
    silence = os.open(os.devnull, os.O_WRONLY)
    for handle in (1, 2):  # a library that chats must neither garble the answer nor fill a pipe that nobody reads
        os.dup2(silence, handle)
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
