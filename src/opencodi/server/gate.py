"""The door: before a byte of a request's body is read, who asks, from where, how much, and whether there is a place."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .engine import log_error
from .jobs import Jobs
from .metrics import Metrics
from .problems import Problem
from .settings import LOOPBACK, Keys, Settings

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

OPEN_PATHS = ("/health", "/v1/files/", "/docs", "/openapi.json", "/static-offline-docs/")
"""Need no key: nothing is made there, and links to results are secrets themselves."""
LEFT = 499
"""Counted where a client left before there was an answer."""
JOB_PATHS = (
    "/v1/generations",
    "/v1/images/generations",
    "/v1/audio/speech",
    "/v1/audio/generate",
    "/v1/videos",
    "/v1/embeddings",
    "/v1/verify",
)


class Gate:
    """ASGI middleware that refuses early. It believes no header: ``Host`` and ``Origin`` can only lead to a refusal,
    so that a web page somewhere else cannot use a server on its visitor's own machine.
    """

    def __init__(self, app: Any, settings: Settings, keys: Keys, jobs: Jobs, metrics: Metrics) -> None:
        self._app, self._settings, self._keys, self._jobs, self._metrics = app, settings, keys, jobs, metrics
        self._origins = {settings.base_url(), *settings.allowed_origins}
        self._local = settings.host in LOOPBACK
        self._hosts = {*LOOPBACK, settings.public_host}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = LEFT

        async def count_status(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        place = None
        try:
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
            self._check_origin(headers)
            owner = self._keys.owner(headers.get("authorization", ""))
            if owner is None and not scope["path"].startswith(OPEN_PATHS):
                raise Problem(401, "invalid_api_key", "Give a key of this server: Authorization: Bearer KEY.")
            length = headers.get("content-length", "0")
            if not length.isascii() or not length.isdigit() or len(length) > 18:
                raise Problem(400, "invalid_body", "Content-Length is no number.")
            if int(length) > self._settings.max_body_bytes:
                raise self._too_large()
            if scope["method"] == "POST" and scope["path"].rstrip("/") in JOB_PATHS:
                place = self._jobs.reserve()
            scope.setdefault("state", {}).update(owner=owner or "anyone", place=place)
            await self._app(scope, self._bounded(receive), count_status)
        except Problem as problem:
            await problem.response(scope, receive, count_status)
        except Exception as error:  # our own fault: said in the log without what it was about
            log_error(error, self._settings.log_prompts)
            if status == LEFT:
                await Problem(500, "internal_error", "The server failed.").response(scope, receive, count_status)
        finally:
            if place is not None:
                place.release()
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, status).inc()

    def _check_origin(self, headers: dict[str, str]) -> None:
        origin = headers.get("origin")
        host = headers.get("host", "")
        name = host.rsplit(":", 1)[0].strip("[]") if not host.endswith("]") else host.strip("[]")
        if self._local and name not in self._hosts:
            raise Problem(403, "wrong_host", "This server answers only as 127.0.0.1, localhost or its public address.")
        if origin is not None and origin not in self._origins and not (self._local and origin == f"http://{host}"):
            raise Problem(403, "wrong_origin", "Web pages of other sites may not use this server.")

    def _bounded(self, receive: Receive) -> Receive:
        """The body, as long as it is short enough and comes fast enough."""
        received, ended = 0, False
        deadline = asyncio.get_running_loop().time() + self._settings.upload_seconds

        async def bounded() -> MutableMapping[str, Any]:
            nonlocal received, ended
            if ended:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise Problem(408, "slow_upload", "The body did not arrive in time.") from None
            received += len(message.get("body", b""))
            ended = not message.get("more_body", False)
            if received > self._settings.max_body_bytes:
                raise self._too_large()
            return message

        return bounded

    def _too_large(self) -> Problem:
        return Problem(
            413, "over_limit", f"The body has more bytes than the limit of {self._settings.max_body_bytes:,}."
        )
