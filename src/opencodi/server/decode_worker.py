"""The process that reads uploads: ``python -P -m opencodi.server.decode_worker``, one JSON line in, one out.

It alone parses what strangers send. It gets no key and no other job's data, writes raw numbers into the private file it
is told, and is stopped when it takes too long; what it answers is checked again by ``decoding.py``.
"""

import json
import os
import resource
import sys
from contextlib import suppress
from typing import Any

import numpy as np

from ..errors import MediaError
from ..media import Audio, Limits, Video, read

LARGEST_FILE = 8 * 2**30


def main() -> None:
    """Answer requests ``{"modality", "path", "raw", "limits"}`` until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no answer
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    for line in sys.stdin:
        request = json.loads(line)
        answers.write(json.dumps(answer(request)) + "\n")
        answers.flush()


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Decode one file into ``raw``; what it is, or the name and sentence of an error."""
    limits = Limits(**request["limits"])
    _limit_memory(limits)
    try:
        media = read(request["modality"], request["path"], limits)
        with open(request["raw"], "xb") as raw:
            return _write(media, raw)
    except MediaError as error:
        return {"error": type(error).__name__, "message": str(error)}
    except MemoryError:
        return {"error": "OverLimit", "message": "needs more memory to decode than the limit, give a smaller file"}
    except Exception as error:  # whatever a parser runs into is a damaged file to the client
        return {"error": "DamagedFile", "message": f"cannot be decoded ({type(error).__name__}), export it again"}


def _write(media: Any, raw: Any) -> dict[str, Any]:
    """The numbers of a picture, clip or sound, as they are in memory; their shape and rate."""
    if isinstance(media, Audio):
        media.samples.tofile(raw)
        return {"samples": len(media.samples), "sample_rate": int(media.sample_rate)}
    if isinstance(media, Video):
        media.frames.tofile(raw)
        sound = {} if media.audio is None else _write(media.audio, raw)
        return {"shape": media.frames.shape, "fps": float(media.fps), **sound}
    pixels = np.asarray(media)
    pixels.tofile(raw)
    return {"shape": pixels.shape}


def _limit_memory(limits: Limits) -> None:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    wanted = limits.max_decoder_bytes if hard == resource.RLIM_INFINITY else min(limits.max_decoder_bytes, hard)
    with suppress(ValueError, OSError):  # systems that know no such limit
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


if __name__ == "__main__":
    main()
