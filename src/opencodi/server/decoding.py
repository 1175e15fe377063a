"""Uploads → media objects. This process never parses them: a child does, and is replaced whenever it fails."""

import asyncio
import json
import os
import secrets
import signal
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..media import Audio, Limits, Media, Video
from .problems import Problem, bad_request

STATUS = {"OverLimit": 413, "WrongKind": 415, "SystemFailure": 507}
FILES_PER_CHILD = 200
_ANSWER_BYTES = 2**16
_ENVIRONMENT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT")


class Child:
    """One decoding process; started when first needed."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._process, self._files = folder, None, 0

    async def ask(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Its answer.

        Raises:
            Problem: if it crashes, says nothing sensible, or takes longer than ``timeout`` seconds.
        """
        if self._process is None or self._process.returncode is not None or self._files >= FILES_PER_CHILD:
            await self._start()
        self._files += 1
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            line = await asyncio.wait_for(self._process.stdout.readline(), timeout)
            answer = json.loads(line)
            if isinstance(answer, dict):
                return answer
            raise ValueError("no answer")
        except TimeoutError:
            await self.stop()
            raise bad_request(
                f"takes more than {timeout:g} s to decode, cut it or make it smaller", code="slow_file"
            ) from None
        except (ValueError, OSError):
            await self.stop()
            raise bad_request("crashed the decoder, export it again", code="damaged_file") from None
        except asyncio.CancelledError:
            await self.stop()  # it may still be busy with what nobody waits for
            raise

    async def stop(self) -> None:
        """End it, and the decoder that it may have started."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def _start(self) -> None:
        await self.stop()
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        environment |= {"TMPDIR": str(self._folder), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._files = 0
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", f"{__package__}.decode_worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=self._folder,
            env=environment,
            limit=_ANSWER_BYTES,
            start_new_session=True,
        )


class Decoders:
    """A few decoding processes, each busy with one upload at a time.

    Args:
        folder: private to this server; uploads lie there while they are read.
        limits: of one upload.
        count: how many processes at most.
    """

    def __init__(self, folder: Path, limits: Limits, count: int) -> None:
        self._folder, self._limits = folder, limits
        self._children = [Child(folder) for _ in range(count)]
        self._idle: asyncio.Queue[Child] = asyncio.Queue()
        for child in self._children:
            self._idle.put_nowait(child)

    async def read(self, modality: str, content: bytes, label: str) -> Media:
        """Decode one upload.

        Args:
            label: how to call it in messages, such as ``image 1``; never a name that a client gave.

        Raises:
            Problem: 400, 413 or 415, if it cannot be read as this modality within the limits.
        """
        path = self._folder / f"upload-{secrets.token_hex(8)}"
        raw = path.with_suffix(".raw")
        child = await self._idle.get()
        try:
            await asyncio.to_thread(write_private, path, content)
            request = {"modality": modality, "path": str(path), "raw": str(raw), "limits": asdict(self._limits)}
            answer = await child.ask(request, self._limits.timeout_seconds + 5)
            if "error" in answer:
                message = str(answer.get("message"))[:500].replace(str(path), label)
                code = "".join("_" + letter.lower() if letter.isupper() else letter for letter in str(answer["error"]))
                raise Problem(STATUS.get(answer["error"], 400), code.strip("_"), message)
            return await asyncio.to_thread(_restore, raw, answer, self._limits)
        except Problem as problem:
            message = problem.message if problem.message.startswith(label) else f"{label}: {problem.message}"
            raise Problem(problem.status, problem.code, message, modality) from None
        finally:
            path.unlink(missing_ok=True)
            raw.unlink(missing_ok=True)
            self._idle.put_nowait(child)

    async def close(self) -> None:
        """End all of them."""
        for child in self._children:
            await child.stop()


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that only this user may read. FileExistsError if there is one."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _restore(raw: Path, answer: dict[str, Any], limits: Limits) -> Media:
    """The object again. The child might have been taken over by what it read, so nothing it says is believed."""
    try:
        size = raw.stat().st_size
        shape, count = answer.get("shape"), int(answer.get("samples", 0))
        pixels = int(np.prod(shape, dtype=object)) if shape else 0
        if (
            size > limits.max_decoded_bytes + 4 * limits.max_pixels
            or pixels + 4 * count != size
            or min(count, pixels) < 0
        ):
            raise ValueError("sizes disagree")
        content = np.fromfile(raw, np.uint8)
        sound = Audio(content[pixels:].view(np.float32), int(answer["sample_rate"])) if count else None
        if shape is None:
            return sound
        frames = content[:pixels].reshape(shape)
        return Video(frames, float(answer["fps"]), sound) if "fps" in answer else Image.fromarray(frames)
    except (OSError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise bad_request("the decoder's answer makes no sense, export the file again", code="damaged_file") from error
