"""Runs `decode_worker.py` and brings back what it decoded, or a typed error: the parent never parses a clip itself."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from .. import errors
from ..errors import DamagedFile, MediaError
from .limits import Limits
from .objects import SAMPLE_RATES, Audio

_WORKER = Path(__file__).with_name("decode_worker.py")
_CLASSES = {name: getattr(errors, name) for name in ("EmptyFile", "DamagedFile", "WrongKind", "OverLimit")}
_REMEDIES = {
    "EmptyFile": ", give a clip or sound that lasts",
    "DamagedFile": ", fetch or export it again",
    "OverLimit": ", cut it or make it smaller",
}
"""What to do about an answer of the child; the words for a wrong kind say it themselves."""


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


def decode_in_child(path: Path, kind: str, limits: Limits, frames: bool, sample_rate: int | None) -> Decoded:
    """Decode a file of a known kind (a key of `containers.KINDS`) in a child process.

    Raises:
        DamagedFile: if it cannot be decoded, crashes the child, or takes more than `limits.timeout_seconds`.
        EmptyFile, WrongKind, OverLimit: as the child finds.
    """
    with TemporaryDirectory(prefix="opencodi-") as folder:
        request = asdict(limits) | {
            "path": str(path.resolve()),
            "kind": kind,
            "folder": folder,
            "frames": frames,
            "sample_rate": sample_rate,
            "sample_rates": [SAMPLE_RATES.start, SAMPLE_RATES.stop],
        }
        answer = _ask(path, request, limits.timeout_seconds)
        pictures = np.fromfile(Path(folder, "frames"), np.uint8) if frames else None
        samples = np.fromfile(Path(folder, "samples"), np.float32) if answer["num_samples"] else None
    if pictures is not None:
        pictures = pictures.reshape(-1, *answer["shape"])
    audio = None if samples is None else _in_step(path, samples[: answer["num_samples"]], answer)
    return Decoded(pictures, np.array(answer["times"]), answer["end"], answer["rate"], audio)


def _ask(path: Path, request: dict, timeout: float) -> dict:
    # -P keeps this folder off the child's import path; one BLAS thread, since each reserves address space.
    command = [sys.executable, "-P", str(_WORKER), json.dumps(request)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    try:
        child = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, env=environment, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DamagedFile(f"{path}: took more than {timeout:g} s to decode, cut it or fetch it again") from error
    if child.returncode < 0:
        raise DamagedFile(f"{path}: crashed the decoder (signal {-child.returncode}), fetch or export it again")
    try:
        answer = json.loads(child.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        said = child.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no answer"]
        raise MediaError(
            f"{path}: the decoder failed ({said[0]}), check that av, numpy and pillow are installed"
        ) from error
    if "error" in answer:
        remedy = _REMEDIES.get(answer["error"], "")
        raise _CLASSES[answer["error"]](f"{path}: {answer['reason']}{remedy}")
    return answer


def _in_step(path: Path, samples: np.ndarray, answer: dict) -> Audio | None:
    """The sound from the moment the first frame is shown; None if it ends before."""
    skip = answer["skip"]
    samples = np.concatenate([np.zeros(max(0, -skip), np.float32), samples[max(0, skip) :]])
    if not np.isfinite(samples).all():
        raise DamagedFile(f"{path}: holds samples that are not numbers, export it again")
    return Audio(samples.clip(-1, 1), answer["sample_rate"]) if len(samples) else None
