"""Runs `reader.py` on a file and brings back what its credentials say; this process parses none of them itself."""

import base64
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DecoderCrash, MediaError, OverLimit, SystemFailure, printable
from ..media.child import running
from ..media.files import opened
from ..media.kinds import find_kind
from ..media.limits import DEFAULT_LIMITS, Limits
from .signing import EMBEDDING, OFFLINE, SIDECAR

READABLE = EMBEDDING | {
    "avif": "image/avif",
    "heif": "image/heif",
    "tiff": "image/tiff",
    "svg": "image/svg+xml",
    "avi": "video/avi",
    "pdf": "application/pdf",
}
"""Kinds that may hold credentials themselves, of other programs, too."""
TIMEOUT_SECONDS = 30.0
_PROGRAM = Path(__file__).with_name("reader.py")
_ENVIRONMENT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "LANG", "LC_ALL")
"""What of the environment the child gets: no key, no password, no proxy."""
_MAX_ANSWER = 2**20
_MAX_SIDECAR = 16 * 2**20
_MAX_MEMORY = 2 * 2**30
_TRUST_ONLY = ("signingCredential.untrusted", "signingCredential.expired", "signingCredential.invalid")


@dataclass(frozen=True)
class Found:
    """What credentials say, and whether they hold. What broken ones say is left out.

    Attributes:
        integrity: ``intact``; ``changed``: the file is not the one that was signed; ``broken``: the credentials themselves.
        where: ``embedded`` or ``sidecar``.
        signer: ``name``, ``organisation``, ``authority`` and ``serial`` of the certificate.
        known_as: ``own``: signed with a certificate of this installation; ``trusted``: under an authority that the caller
            trusts; ``unknown``.
        generator: name and version of the program that signed.
        generated: whether they state that a model made the file, or the file that it was made from.
        generation: OpenCoDi's own statement: model, settings, seed, digests of inputs.
        problems: codes of the C2PA specification for what does not hold.
    """

    integrity: str
    where: str
    signer: dict[str, str] = field(default_factory=dict)
    known_as: str = "unknown"
    generator: str = ""
    generated: bool = False
    generation: dict[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def read_credentials(
    path: Path,
    sidecar: Path | None = None,
    own: bytes = b"",
    trusted: bytes = b"",
    limits: Limits = DEFAULT_LIMITS,
) -> Found | None:
    """The credentials in a file, else those in its sidecar; None if there are none. Nothing is fetched from elsewhere.

    Args:
        path: the file.
        sidecar: the file's own name with the ending ``.c2pa`` if None.
        own, trusted: PEM of authorities, see ``Found.known_as``.
        limits: on bytes.

    Raises:
        MissingFile, EmptyFile, OverLimit: if it is no file, has no bytes, too many, or takes too long.
        DecoderCrash: if the child crashes.
        SystemFailure: if the system starts no child.
    """
    with opened(path, limits) as file:
        media_type = READABLE.get(find_kind(file)[0] or "")
    request = {
        "path": str(path.absolute()),
        "media_type": media_type,
        "sidecar": "",
        "own": own.decode(),
        "trusted": trusted.decode(),
        "settings": OFFLINE,
        "max_memory": _MAX_MEMORY,
        "timeout_seconds": TIMEOUT_SECONDS,
    }
    answer = _ask(path, request) if media_type else {"found": False}
    if answer == {"found": False}:
        content = _sidecar(path, sidecar)
        if content is None:
            return None
        request |= {"media_type": "application/octet-stream", "sidecar": base64.b64encode(content).decode()}
        answer = _ask(path, request)
    return _found(path, answer, "sidecar" if request["sidecar"] else "embedded")


def _sidecar(path: Path, given: Path | None) -> bytes | None:
    beside = given or path.with_suffix(SIDECAR)
    if given is None and not beside.is_file():
        return None
    with opened(beside, Limits(max_bytes=_MAX_SIDECAR)) as file:
        return file.read()


def _ask(path: Path, request: dict[str, Any]) -> dict[str, Any]:
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    # -P keeps the working folder off the child's import path
    command, options = [sys.executable, "-P", str(_PROGRAM)], {"stdin": subprocess.PIPE, "env": environment}
    with running(f"{path}: its credentials cannot be read", command, TIMEOUT_SECONDS, **options) as child:
        try:
            with child.stdin:
                child.stdin.write(json.dumps(request).encode())
        except BrokenPipeError:
            pass  # it has ended; its exit code says why
        said = child.stdout.read(_MAX_ANSWER + 1)
        if len(said) <= _MAX_ANSWER:
            code, complaint = child.end()
    if child.expired:
        raise OverLimit(f"{path}: its credentials took more than {TIMEOUT_SECONDS:g} s to read; give a smaller file")
    if len(said) > _MAX_ANSWER:
        return {"broken": "they say more than a megabyte"}
    if code < 0:
        raise DecoderCrash(f"{path}: crashed the reader of credentials (signal {-code}); nothing can be said of it")
    if code > 0:
        raise _does_not_run(path, complaint.splitlines()[-1] if complaint else f"exit code {code}")
    try:
        answer = json.loads(said)
    except ValueError:
        return {"broken": "their reader gave no answer"}
    if answer.get("too_large"):
        raise OverLimit(f"{path}: its credentials need more than {_MAX_MEMORY:,} bytes of memory; give a smaller file")
    return answer


def _does_not_run(path: Path, reason: str) -> MediaError:
    if "No module named" in reason:
        return SystemFailure(
            f"{path}: credentials cannot be read without the package c2pa-python; run pip install c2pa-python"
        )
    return SystemFailure(
        f"{path}: the reader of credentials does not run ({reason}); check that c2pa-python is installed"
    )


def _found(path: Path, answer: dict[str, Any], where: str) -> Found | None:
    """The child's answer, of which nothing but plain words of bounded length is taken over."""
    if "broken" in answer:
        return Found("broken", where, problems=(plain(answer["broken"]),))
    if answer.get("found") is not True:
        return (
            None
            if not answer.get("remote")
            else Found("broken", "elsewhere", problems=("remote manifest, not fetched",))
        )
    failures = tuple(plain(code) for code in answer["failures"])
    grave = [code for code in failures if code not in _TRUST_ONLY]
    if any(not code.endswith("Hash.mismatch") for code in grave):  # of another part than the file's content
        return Found("broken", where, problems=failures)
    integrity = "changed" if grave else "intact"
    known_as = {"user_anchors": "own", "system_anchors": "trusted"}.get(answer.get("trusted_by"), "unknown")
    generator = answer["generator"]
    generation = answer.get("generation")
    return Found(
        integrity=integrity,
        where=where,
        signer={name: plain(value) for name, value in answer["signer"].items() if value},
        known_as=known_as if integrity == "intact" and not failures else "unknown",
        generator=" ".join(plain(generator.get(name)) for name in ("name", "version") if generator.get(name)),
        generated=any(str(source).rpartition("/")[2] in _BY_MODEL for source in answer["sources"]),
        generation=generation if isinstance(generation, dict) else {},
        problems=failures,
    )


_BY_MODEL = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia")


def plain(value: Any) -> str:
    """At most 200 characters on one line, as a terminal may safely show them."""
    return "".join(map(printable, " ".join(str(value).split())[:200]))
