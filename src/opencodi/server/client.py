"""``opencodi generate --server URL``: ask a running server instead of loading a model. Only the standard library."""

import base64
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from .. import __version__
from ..errors import ArgumentError, MediaError, OpenCoDiError
from ..modality import MODALITIES

KEY_VARIABLE = "OPENCODI_API_KEY"
LARGEST_ANSWER = 2**30
SIDECAR = ".c2pa"
_TIMEOUT_SECONDS = 600.0


class ServerError(OpenCoDiError, RuntimeError):
    """A server cannot be reached, or refuses."""


class _NoRedirect(HTTPRedirectHandler):
    """The key goes to the server that was named, and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


_opener = build_opener(_NoRedirect)


def generate_remotely(
    server: str,
    output: Path,
    given: Mapping[str, Sequence[Any]],
    *,
    outputs: Sequence[str],
    seed: int | None = None,
    number: int = 1,
    **settings: Any,
) -> list[str]:
    """Let a server generate; its results and ``result.json`` appear in ``output``, all or none.

    The key, if the server wants one, is in the environment variable ``OPENCODI_API_KEY``.

    Args:
        server: its address, such as ``http://127.0.0.1:8000``.
        output: a folder; made if missing.
        given: texts, and the files of other inputs, by modality.
        outputs: modalities to make.
        seed: of the first result; drawn if None.
        number: of results.
        settings: further fields of ``POST /v1/generations``; what is None is left out.

    Returns:
        The names of the files written, beside ``result.json``.

    Raises:
        ArgumentError: if ``server`` is no address.
        MediaError: if an input cannot be opened.
        ServerError: if the server cannot be reached or refuses.
    """
    from ..cli.common import staged, steps_bar

    base = _address(server)
    seed = secrets.randbelow(2**31) if seed is None else seed
    settings = {name: value for name, value in settings.items() if value is not None}
    inputs = {str(name): [_sendable(str(name), item) for item in items] for name, items in given.items()}
    body = {
        **settings,
        **inputs,
        "outputs": [str(name) for name in outputs],
        "seed": seed,
        "num_outputs_per_prompt": number,
        "stream": True,
    }
    started = perf_counter()
    job: dict[str, Any] = {}
    with steps_bar(f"making {', '.join(outputs)}", 100) as advance:
        shown = 0
        for job in _follow(base, body):
            for _ in range(shown, int(job["progress"])):
                advance()
            shown = max(shown, int(job["progress"]))
    if job.get("status") != "completed":
        raise ServerError(
            f"--server: {(job.get('error') or {}).get('message', 'the server stopped before it was finished')}"
        )
    with staged(output) as folder:
        names = [_fetch(base, result, folder) for result in job["results"]]
        sidecars = {
            name: result["credentials"] for name, result in zip(names, job["results"]) if result.get("credentials")
        }
        for name, link in sidecars.items():
            (folder / name).with_suffix(SIDECAR).write_bytes(_read(base, link))
        report = {
            "opencodi": __version__,
            "inputs": {str(name): [str(item) for item in items] for name, items in given.items()},
            "settings": {"server": base, "model": job["model"], "outputs": list(outputs), "number": number, **settings},
            "seed": seed,
            "seconds": {**job["seconds"], "all": round(perf_counter() - started, 3)},
            "files": names,
            "credentials": job.get("credentials") or {"written": False, "reason": "the server says nothing of them"},
            "watermark": job.get("watermark") or {"written": False, "modalities": []},
        }
        (folder / "result.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for name in set(names) - set(sidecars):
        (output / name).with_suffix(SIDECAR).unlink(missing_ok=True)  # of an earlier result of that name
    return names


def _address(server: str) -> str:
    parts = urlsplit(server if "://" in server else f"http://{server}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ArgumentError(f"--server: {server!r} is no address, give one such as http://127.0.0.1:8000")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _sendable(modality: str, item: Any) -> str:
    """Words as they are; a file as a data: URL."""
    if modality == "text":
        return item
    try:
        return "data:;base64," + base64.b64encode(Path(item).read_bytes()).decode()
    except (OSError, ValueError) as error:
        raise MediaError(f"{item}: cannot be opened ({error}), check its name") from error


def _follow(base: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The job, at every event."""
    content = json.dumps(body).encode()
    with _open(f"{base}/v1/generations", content) as answer:
        try:
            for line in answer:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])
        except (OSError, HTTPException, ValueError) as error:
            raise ServerError(f"--server: {base} broke off ({error}); try again") from error


def _fetch(base: str, result: Mapping[str, Any], folder: Path) -> str:
    """Save one result under a name of ours, whatever the server calls it."""
    record = MODALITIES[result["modality"]]
    link = urlsplit(result["url"])
    suffix = Path(link.path).suffix
    known = (record.write_suffix, *record.read_suffixes)
    name = f"{record.name}-{int(result['index'])}{suffix if suffix in known else record.write_suffix}"
    (folder / name).write_bytes(_read(base, result["url"]))
    return name


def _read(base: str, link: str) -> bytes:
    """What is behind a link; it is fetched from the server that was named, whatever host the link names."""
    with _open(f"{base}{urlsplit(link).path}") as answer:
        return answer.read(LARGEST_ANSWER)


def _open(url: str, content: bytes | None = None) -> Any:
    headers = {"Content-Type": "application/json", "User-Agent": f"opencodi/{__version__}"}
    if os.environ.get(KEY_VARIABLE):
        headers["Authorization"] = f"Bearer {os.environ[KEY_VARIABLE]}"
    try:
        return _opener.open(Request(url, content, headers), timeout=_TIMEOUT_SECONDS)
    except HTTPError as error:
        try:
            message = json.loads(error.read(2**16))["error"]["message"]
        except (OSError, ValueError, KeyError, TypeError):
            message = f"the server answers {error.code}"
        raise ServerError(f"--server: {message}") from None
    except (URLError, OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise ServerError(f"--server: {url} cannot be reached ({reason}); start it with: opencodi serve") from None
