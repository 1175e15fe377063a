"""What can be said of where a file comes from, in plain words. Nothing here ever says that a file is real."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, OpenCoDiError
from ..media.limits import DEFAULT_LIMITS, Limits
from .identity import known_authorities, read_authorities
from .reading import Found, plain, read_credentials
from .signing import SIDECAR

NOT_REAL = "That does not make it real: credentials are easily removed."


class Verdict(StrEnum):
    """What is known of a file."""

    GENERATED = "made by a model"
    SIGNED = "signed"
    UNKNOWN_SIGNER = "unknown signer"
    CHANGED = "changed"
    CANNOT_TELL = "cannot tell"


EXIT_CODES = {
    Verdict.GENERATED: 0,
    Verdict.CANNOT_TELL: 3,
    Verdict.CHANGED: 4,
    Verdict.UNKNOWN_SIGNER: 5,
    Verdict.SIGNED: 6,
}
"""Exit codes of ``opencodi verify``; of several files the first of 4, 5, 6, 3 that occurs. 2 is bad input."""


@dataclass(frozen=True)
class Watermark:
    """What was found of a watermark.

    Attributes:
        checked: whether it was looked for; else ``reason`` says why not.
        found: whether it is there.
        p_value: how likely a file without it would look so.
        modality: as which the file was read.
    """

    checked: bool
    found: bool = False
    p_value: float | None = None
    modality: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Verification:
    """What can be said of a file.

    Attributes:
        file: its name.
        verdict: in one word.
        sentence: in plain words.
        credentials: what its credentials say; None if it has none.
        watermark: what was found of one.
    """

    file: str
    verdict: Verdict
    sentence: str
    credentials: Found | None
    watermark: Watermark

    @property
    def exit_code(self) -> int:
        """See ``EXIT_CODES``."""
        return EXIT_CODES[self.verdict]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"verdict": self.verdict.name.lower()}


def verify(
    path: str | Path,
    *,
    sidecar: str | Path | None = None,
    trust: str | Path | bytes | None = None,
    limits: Limits = DEFAULT_LIMITS,
    watermark: bool = True,
) -> Verification:
    """Say what can be said of where a file comes from. It is parsed in a child process only.

    Args:
        path: a file of any kind.
        sidecar: its credentials, if they are not in the file or in ``NAME.c2pa`` beside it.
        trust: PEM file (or its content) of authorities whose signers are believed, besides those of this installation.
        limits: on the file.
        watermark: whether to look for one.

    Raises:
        MediaError: if the file cannot be read.
        ArgumentError: if the file is itself a sidecar, or ``trust`` holds no certificate.
    """
    path = Path(path)
    if path.suffix.lower() == SIDECAR:
        raise ArgumentError(f"{path}: is a sidecar; give the file that it belongs to")
    trusted = trust if isinstance(trust, bytes) else read_authorities(trust) if trust is not None else b""
    found = read_credentials(path, Path(sidecar) if sidecar else None, known_authorities(), trusted, limits)
    mark = _look_for_watermark(path) if watermark else Watermark(False, reason="not asked for")
    verdict, sentence = judge(found, mark)
    return Verification(path.name, verdict, sentence, found, mark)


def judge(found: Found | None, mark: Watermark) -> tuple[Verdict, str]:
    """The verdict on what was found, and a sentence or three."""
    chance = "" if mark.p_value is None else f" (p = {mark.p_value:.1g})"
    marked = (
        f"It carries a watermark of a key of yours{chance}: a model whose key you hold made it." if mark.found else ""
    )
    if found is None:
        if mark.found:
            return Verdict.GENERATED, f"{marked} It has no credentials, so nothing says who made it."
        looked = "and no watermark was found" if mark.checked else "and no watermark was looked for"
        return Verdict.CANNOT_TELL, f"Cannot tell: it has no credentials {looked}. {NOT_REAL}"
    verdict, sentence = _judge_credentials(found)
    if mark.found and verdict in (Verdict.UNKNOWN_SIGNER, Verdict.CANNOT_TELL):
        verdict = Verdict.GENERATED
    return verdict, f"{sentence} {marked}".strip()


def _judge_credentials(found: Found) -> tuple[Verdict, str]:
    who = found.signer.get("name") or "an unnamed signer"
    maker = found.generator or "an unnamed program"
    made = f"that a model made it ({_maker(found, maker)})"
    said = made if found.generated else f"that {maker} handled it, not how it was made"
    if found.where == "elsewhere":
        return (
            Verdict.CANNOT_TELL,
            f"Cannot tell: its credentials are on another machine and are not fetched. {NOT_REAL}",
        )
    if found.integrity == "changed":
        signed = "It is not the file that was signed: somebody changed it afterwards"
        beside = ", or its sidecar belongs to another file" if found.where == "sidecar" else ""
        return Verdict.CHANGED, f"{signed}{beside}. Its credentials say nothing about what it is now."
    if found.integrity == "broken":
        problem = f" ({found.problems[0]})" if found.problems else ""
        return Verdict.CHANGED, f"Its credentials are damaged or forged{problem}. They say nothing about it."
    if found.known_as == "unknown":
        stale = any(code.endswith(".expired") for code in found.problems)
        doubt = (
            "whose certificate is no longer valid"
            if stale
            else "whom nobody here knows; anybody can call themselves that"
        )
        return Verdict.UNKNOWN_SIGNER, f"Its credentials are intact and say {said}. They are signed by {who}, {doubt}."
    by = f"this installation ({who})" if found.known_as == "own" else f"{who}, whose authority you trust"
    verdict = Verdict.GENERATED if found.generated else Verdict.SIGNED
    return verdict, f"Signed by {by}, and not changed since. The signer states {said}."


def _maker(found: Found, maker: str) -> str:
    model = found.generation.get("model")
    name = model.get("name") if isinstance(model, dict) else None
    return f"{maker}, model {plain(name)}" if name else maker


def _look_for_watermark(path: Path) -> Watermark:
    name = f"{__package__}.watermark"
    if find_spec(name) is None:
        return Watermark(False, reason="this version has no detector")
    try:
        found = import_module(name).detect(path)
    except (OpenCoDiError, ModuleNotFoundError) as error:
        return Watermark(False, reason=str(error))
    if found is None:
        return Watermark(False, reason="there is no detector for files of this kind")
    return Watermark(True, bool(found.found), float(found.p_value), str(found.modality))
