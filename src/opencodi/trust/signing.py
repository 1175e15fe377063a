"""C2PA credentials (https://c2pa.org): what made a file, signed, inside the file or in a sidecar beside it."""

import hashlib
import io
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import ArgumentError, MediaError, OpenCoDiError
from ..media.files import opened
from ..media.kinds import find_kind
from ..media.limits import DEFAULT_LIMITS
from ..media.partial import partial_file
from ..media.system import refused
from .identity import Identity, given_identity, own_identity

SIDECAR = ".c2pa"
GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
GENERATION = "opencodi.generation"
"""Label of our own assertion: model, settings, seed, digests of the inputs."""
EMBEDDING = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
}
"""Kinds (``media.kinds``) whose files hold their credentials themselves. All others get a sidecar."""
SWITCHED_OFF = "switched off with --no-credentials"
OFFLINE = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": False, "verify_trust": True},
}
"""Settings of c2pa: nothing is fetched from another machine."""
_SAMPLE = 2**16


@dataclass(frozen=True)
class Statement:
    """What credentials say of how a file came to be.

    Attributes:
        model: its name, and ``model_version`` the fingerprint of its folder (``fingerprint``).
        seed: of the first result.
        settings: of the call. No prompt: words are inputs.
        inputs: one ``{"modality", "sha256"}`` each, see ``digest``.
        salt: of the digests of words. It is not written; who has it can show what the words were.
    """

    model: str | None = None
    model_version: str | None = None
    seed: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Sequence[Mapping[str, Any]] = ()
    salt: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)

    @classmethod
    def of(
        cls,
        given: Mapping[str, Iterable[Any]],
        negative: str | None = None,
        model: str | Path | None = None,
        seed: int | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> "Statement":
        """That of a call.

        Args:
            given: words, and files as bytes or paths, by modality.
            negative: words to steer away from.
            model: its folder, or its name where there is no folder.
            seed, settings: see above.

        Raises:
            MediaError: if a file cannot be read.
        """
        name = model.resolve().name if isinstance(model, Path) else model
        statement = cls(name, fingerprint(model) if isinstance(model, Path) else None, seed, settings or {})
        inputs = [
            digest(str(modality), item if isinstance(item, str | bytes) else Path(item), statement.salt)
            for modality, items in given.items()
            for item in items
        ]
        if negative:
            inputs.append(digest("text", negative, statement.salt, role="negative"))
        return replace(statement, inputs=inputs)

    def for_result(self, number: int) -> "Statement":
        """That of the result of this number, whose seed is ``seed + number``."""
        return self if self.seed is None else replace(self, seed=self.seed + number)

    def as_dict(self) -> dict[str, Any]:
        """As it is written."""
        model = {"name": self.model, "version": self.model_version}
        said: dict[str, Any] = {"model": {name: value for name, value in model.items() if value is not None}}
        said["seed"] = self.seed
        said |= {"settings": dict(self.settings), "inputs": [dict(each) for each in self.inputs]}
        return {name: value for name, value in said.items() if value not in (None, {}, [])}


def digest(modality: str, content: bytes | str | Path, salt: str = "", **more: str) -> dict[str, Any]:
    """What credentials say of an input: its SHA-256, from which nobody can tell the input.

    A short prompt could be guessed from its SHA-256, so words are hashed after a ``salt``: SHA-256 of both in UTF-8.

    Args:
        modality: of the input.
        content: words, the bytes of a file, or its path.
        salt: for words.
        **more: further facts, such as ``role="negative"``.

    Raises:
        MediaError: if the file cannot be read.
    """
    if isinstance(content, str):
        return {"modality": modality, **more, "sha256": _sha256((salt + content).encode()), "salted": True}
    if isinstance(content, Path):
        with opened(content, DEFAULT_LIMITS) as file:
            return {"modality": modality, **more, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    return {"modality": modality, **more, "sha256": _sha256(content)}


def fingerprint(folder: Path) -> str:
    """16 hexadecimal digits that tell one model folder from another, trained further or not.

    SHA-256 of the names and sizes of its files, of the content of small ones, and of the beginning, middle and end of large
    ones, so that 20 GB take no longer than 20 MB.
    """
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".json", ".safetensors") or not path.is_file():
            continue
        size = path.stat().st_size
        whole.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode("utf-8", "surrogateescape"))
        is_large = size > 4 * _SAMPLE
        with path.open("rb") as file:
            for start in (0, size // 2, size - _SAMPLE) if is_large else (0,):
                file.seek(start)
                whole.update(file.read(_SAMPLE if is_large else size))
    return whole.hexdigest()[:16]


@dataclass(frozen=True)
class Credentials:
    """Signs results, or says why it does not. ``prepare`` makes it, before any work is done.

    Attributes:
        identity: who signs; None if nothing is signed.
        reason: why nothing is signed.
    """

    identity: Identity | None
    reason: str | None = None

    def sign(self, path: Path, statement: Statement) -> Path | None:
        """Write credentials into a file that a model made, or beside it; nothing if there is no identity.

        Returns:
            The sidecar, or None if the file holds its credentials itself.

        Raises:
            SystemFailure, MediaError: if they cannot be written; the file is then unchanged.
        """
        agent = {"name": "OpenCoDi", "version": __version__}
        created = {"action": "c2pa.created", "digitalSourceType": GENERATED, "softwareAgent": agent}
        said = {"label": GENERATION, "kind": "Json", "created": True, "data": statement.as_dict()}
        actions = {"label": "c2pa.actions.v2", "created": True, "data": {"actions": [created]}}
        return self._write(path, [actions, said])

    def sign_edit(self, path: Path, source: Path, actions: Sequence[str]) -> Path | None:
        """As ``sign``, for a file made from a signed one: its credentials hold those of the source.

        Args:
            source: a file that ``verify`` says was signed here: it is parsed in this process.
            actions: what was done to it, in C2PA's words, such as ``c2pa.resized``.
        """
        return self._write(path, [], source, actions)

    def report(self, statement: Statement) -> dict[str, Any]:
        """What ``result.json`` says of it."""
        if self.identity is None:
            return {"written": False, "reason": self.reason}
        who = {"signer": self.identity.name, "certificate_sha256": self.identity.fingerprint}
        return {"written": True, **who, "salt": statement.salt}

    def _write(
        self, path: Path, assertions: list[dict[str, Any]], source: Path | None = None, actions: Sequence[str] = ()
    ) -> Path | None:
        if (
            self.identity is None or not path.stat().st_size
        ):  # a model may write an empty text, and C2PA signs no nothing
            return None
        import c2pa

        media_type = _media_type(path)
        definition = {
            "claim_version": 2,
            "claim_generator_info": [{"name": "OpenCoDi", "version": __version__}],
            "title": path.name.encode("utf-8", "replace").decode(),
            "format": media_type or "application/octet-stream",
            "assertions": assertions,
        }
        try:
            builder = c2pa.Builder(json.dumps(definition), context=c2pa.Context.from_dict(OFFLINE))
            if source is not None:
                builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
                with source.open("rb") as file:
                    parent = {"title": source.name.encode("utf-8", "replace").decode(), "relationship": "parentOf"}
                    builder.add_ingredient(json.dumps(parent), _media_type(source), file)
                for action in actions:
                    builder.add_action(json.dumps({"action": action}))
            if media_type is None:
                sidecar = path.with_suffix(SIDECAR)
                builder.set_no_embed()
                content = builder.sign(_signer(self.identity), definition["format"], io.BytesIO(path.read_bytes()))
                with partial_file(sidecar) as temporary:
                    temporary.write_bytes(content)
                    temporary.replace(sidecar)
                return sidecar
            with partial_file(path) as temporary:
                with path.open("rb") as file, temporary.open("w+b") as signed:
                    builder.sign(_signer(self.identity), media_type, file, signed)
                temporary.replace(path)
            return None
        except c2pa.C2paError as error:
            raise MediaError(
                f"{path}: no credentials can be written into it ({_words(error)}), export it again"
            ) from error
        except OSError as error:
            raise refused(f"{path}: no credentials can be written", error, path.parent) from error


def prepare(
    enabled: bool = True, certificate: str | Path | None = None, private_key: str | Path | None = None
) -> Credentials:
    """Get ready to sign, before any work is done.

    Args:
        enabled: False signs nothing.
        certificate, private_key: the user's own, see ``identity.given_identity``; else those made on this machine.

    Returns:
        What signs. If this machine's own identity cannot be had, it signs nothing and its ``reason`` says why.

    Raises:
        ArgumentError: if the user's own files cannot be used.
    """
    if not enabled:
        if certificate or private_key:
            raise ArgumentError(
                "--no-credentials: needs no --certificate and no --private-key; leave one or the other out"
            )
        return Credentials(None, SWITCHED_OFF)
    try:
        given = given_identity(certificate, private_key)
        identity = given or own_identity()
        _try(identity)
    except ModuleNotFoundError as error:
        lacking = f"the package {error.name} is not installed; run pip install c2pa-python cryptography"
        if certificate or private_key:
            raise ArgumentError(f"--certificate: {lacking}") from error
        return Credentials(None, lacking)
    except ArgumentError:
        raise
    except OpenCoDiError as error:
        return Credentials(None, str(error))
    return Credentials(identity)


def sign(
    path: str | Path,
    statement: Statement | None = None,
    credentials: Credentials | None = None,
    replace: bool = False,
) -> Path | None:
    """Sign a file that exists: state that a model made it.

    Sign only what a model made. The file is parsed in this process, so sign only files that you trust.

    Args:
        path: a file of any kind. PNG (APNG, too), JPEG, WebP, GIF, WAV, FLAC, MP3, MP4 and M4A hold their credentials
            themselves; beside any other, such as a text, WebM or Ogg, a sidecar ``NAME.c2pa`` is written.
        statement: what the credentials say.
        credentials: who signs; ``prepare()`` if None.
        replace: whether credentials that are there already may be lost.

    Returns:
        The sidecar, or None if the file holds its credentials itself.

    Raises:
        ArgumentError: if there are credentials already, or nobody can sign.
        MediaError: if the file cannot be read or written.
    """
    from .reading import read_credentials

    path = Path(path)
    credentials = credentials or prepare()
    if credentials.identity is None:
        raise ArgumentError(f"{path}: cannot be signed ({credentials.reason})")
    if path.suffix.lower() == SIDECAR:
        raise ArgumentError(f"{path}: is a sidecar; give the file that it belongs to")
    media_type = _media_type(path)
    is_signed = read_credentials(path) is not None if media_type else path.with_suffix(SIDECAR).exists()
    if is_signed and not replace:
        where = path if media_type else path.with_suffix(SIDECAR)
        raise ArgumentError(f"{where}: credentials are there already; say replace=True to lose them")
    return credentials.sign(path, statement or Statement())


def forget_sidecars(folder: Path, names: Iterable[str], signed: bool) -> None:
    """Delete sidecars that an earlier run left beside files that this one has written without any, or signed inside."""
    for name in names:
        path = folder / name
        if not signed or not path.stat().st_size or _media_type(path) is not None:
            path.with_suffix(SIDECAR).unlink(missing_ok=True)


def _media_type(path: Path) -> str | None:
    """What c2pa calls the kind of a file; None if it cannot hold credentials."""
    with opened(path, DEFAULT_LIMITS) as file:
        kind, _ = find_kind(file)
    return "audio/mp4" if kind == "mp4" and path.suffix.lower() == ".m4a" else EMBEDDING.get(kind or "")


def _signer(identity: Identity) -> Any:
    import c2pa

    # An empty address of a time stamping service would be taken for one
    return c2pa.Signer.from_info(c2pa.C2paSignerInfo(identity.algorithm, identity.chain, identity.key, None))


def _try(identity: Identity) -> None:
    """Sign a few bytes, so that a certificate that C2PA refuses is refused before the work.

    Raises:
        ArgumentError: with C2PA's reason.
    """
    import c2pa

    definition = {"claim_generator_info": [{"name": "OpenCoDi", "version": __version__}], "assertions": []}
    builder = c2pa.Builder(json.dumps(definition), context=c2pa.Context.from_dict(OFFLINE))
    builder.set_no_embed()
    try:
        builder.sign(_signer(identity), "text/plain", io.BytesIO(b"a rooster"))
    except c2pa.C2paError as error:
        raise ArgumentError(
            f"certificate {identity.name!r}: C2PA does not take it ({_words(error)}); docs/security.md says what it must be"
        ) from error


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
