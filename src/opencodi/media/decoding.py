"""Runs the program in `worker/` and brings back what it decoded, or a typed error: the parent never parses such a file itself.

The child gets the open file as its standard input and answers on its standard output: one line of JSON, then the bytes
of the frames and of the samples. Nothing is written to a disk.
"""

import errno
import json
import math
import os
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .. import errors
from ..errors import DamagedFile, DecoderCrash, MediaError, OverLimit, SystemFailure
from .child import running
from .kinds import FFMPEG_PARSERS, SNDFILE_KINDS
from .limits import Limits
from .objects import SAMPLE_RATES, Audio
from .system import refused

_WORKER = Path(__file__).with_name("worker")
_CLASSES = {name: getattr(errors, name) for name in ("EmptyFile", "DamagedFile", "WrongKind", "OverLimit")}
_REMEDIES = {
    "EmptyFile": ", give a clip or sound that lasts",
    "DamagedFile": ", fetch or export it again",
    "OverLimit": ", cut it or make it smaller",
}
"""What to do about an answer of the child; the words for a wrong kind say it themselves."""
_CRASHES = {getattr(signal, name, None) for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS")}
_SYSTEM_WORDS = {
    "MemoryError": errno.ENOMEM,
    "Cannot allocate memory": errno.ENOMEM,
    "emory allocation": errno.ENOMEM,  # OpenBLAS
    "failed to map segment": errno.ENOMEM,  # the loader of libraries
    "Too many open files": errno.EMFILE,
    "Resource temporarily unavailable": errno.EAGAIN,
    "start new thread": errno.EAGAIN,
}
"""What a child says that could not even start."""
_MAX_ANSWER = 16 * 2**20


@dataclass(frozen=True)
class Decoded:
    """What the child decoded.

    Attributes:
        frames: uint8 ``[num_frames, height, width, 3]``, or None if only the sound was asked for.
        times: when each frame begins, in seconds after the first.
        end: when the last frame ends.
        rate: frames per second as the file declares it, if it does.
        audio: starts with the first frame; None if there is none.
    """

    frames: np.ndarray | None
    times: np.ndarray
    end: float
    rate: float | None
    audio: Audio | None


def decode_in_child(
    path: Path, file: BinaryIO, kind: str, limits: Limits, frames: bool, sample_rate: int | None
) -> Decoded:
    """Decode an open file of a known kind (a key of `kinds.KINDS`) in a child process.

    Args:
        path: its name, for messages.
        file: stands where the content begins.
        kind: decides which parser reads it.
        limits: held by the child.
        frames: whether the pictures are wanted, or only the sound.
        sample_rate: of the sound, in hertz; None keeps the file's own.

    Raises:
        DamagedFile, EmptyFile, WrongKind, OverLimit: as the child finds. OverLimit, too, if it takes too long.
        DecoderCrash: if the child crashes.
        SystemFailure: if the system starts no child, stops it or gives it no memory.
    """
    request = asdict(limits) | {
        "start": file.tell(),
        "kind": kind,
        "parser": FFMPEG_PARSERS.get(kind),
        "libsndfile": kind in SNDFILE_KINDS,
        "frames": frames,
        "sample_rate": sample_rate,
        "sample_rates": [SAMPLE_RATES.start, SAMPLE_RATES.stop],
    }
    answer, pictures, samples = _ask(path, file, request, limits)
    audio = None if samples is None else _in_step(path, samples, answer)
    return Decoded(pictures, np.array(answer["times"]), answer["end"], answer["rate"], audio)


def _ask(
    path: Path, file: BinaryIO, request: dict, limits: Limits
) -> tuple[dict, np.ndarray | None, np.ndarray | None]:
    # -P keeps the working folder off the child's import path; a crash while libraries are loaded is told by faulthandler;
    # one BLAS thread, since each reserves address space.
    command = [sys.executable, "-P", "-X", "faulthandler", str(_WORKER), json.dumps(request)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    options = {"stdin": file, "env": environment, "bufsize": 0}
    try:
        with running(f"{path}: cannot be decoded", command, limits.timeout_seconds, **options) as child:
            try:
                return _receive(path, child.stdout, limits)
            except EOFError:
                code, said = child.end()
    except MemoryError as error:
        raise refused(f"{path}: cannot be decoded", error) from error
    if child.expired:
        raise OverLimit(f"{path}: took more than {limits.timeout_seconds:g} s to decode, cut it or make it smaller")
    raise _ended(path, code, said)


def _receive(path: Path, pipe: BinaryIO, limits: Limits) -> tuple[dict, np.ndarray | None, np.ndarray | None]:
    """The child's answer, its frames and its samples. EOFError if it ends early."""
    length = int.from_bytes(_read(pipe, 8), "little")
    if length > _MAX_ANSWER:
        raise EOFError
    answer = json.loads(_read(pipe, length))
    if "errno" in answer:
        raise refused(f"{path}: cannot be decoded", answer["errno"])
    if "missing" in answer:
        raise _does_not_run(path, answer["missing"])
    if "error" in answer:
        raise _CLASSES[answer["error"]](f"{path}: {answer['reason']}{_REMEDIES.get(answer['error'], '')}")
    arrays = []
    for shape, dtype in ((answer["shape"], np.uint8), ([answer["num_samples"]], np.float32)):
        if not shape or not all(shape):
            arrays.append(None)
            continue
        if math.prod(shape) * np.dtype(dtype).itemsize > limits.max_decoded_bytes:
            raise OverLimit(f"{path}: takes more than {limits.max_decoded_bytes:,} bytes when decoded, cut it")
        arrays.append(np.empty(shape, dtype))
        _fill(pipe, memoryview(arrays[-1]).cast("B"))
    return answer, *arrays


def _read(pipe: BinaryIO, length: int) -> bytes:
    content = bytearray(length)
    _fill(pipe, memoryview(content))
    return bytes(content)


def _fill(pipe: BinaryIO, target: memoryview) -> None:
    done = 0
    while done < len(target):
        count = pipe.readinto(target[done:])
        if not count:
            raise EOFError
        done += count


def _ended(path: Path, code: int, said: str) -> MediaError:
    """Why a child ended without an answer."""
    if code < 0:
        name = signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
        if -code in _CRASHES and not said:  # the child is silent from when it turns to the file
            return DecoderCrash(
                f"{path}: crashed the decoder ({name}), make it smaller or convert it with another program"
            )
        return SystemFailure(
            f"{path}: the system stopped the decoder ({name}), often for lack of memory; close other programs and try again"
        )
    for words, number in _SYSTEM_WORDS.items():
        if words in said:
            return refused(f"{path}: cannot be decoded", number)
    return _does_not_run(path, said.splitlines()[-1] if said else f"exit code {code}")


def _does_not_run(path: Path, reason: str) -> SystemFailure:
    return SystemFailure(
        f"{path}: the decoder does not run ({reason}), check that av, numpy, pillow and soundfile are installed"
    )


def _in_step(path: Path, samples: np.ndarray, answer: dict) -> Audio | None:
    """The sound from the moment the first frame is shown; None if it ends before."""
    skip = answer["skip"]
    if skip > 0:
        samples = samples[skip:]
    elif skip < 0:
        samples = np.concatenate([np.zeros(-skip, np.float32), samples])
    if not np.isfinite(samples).all():
        raise DamagedFile(f"{path}: holds samples that are not numbers, export it again")
    return Audio(samples.clip(-1, 1), answer["sample_rate"]) if len(samples) else None
