"""Listen, serve, and stop cleanly: jobs that were taken are finished first."""

import asyncio
import logging
import socket
import sys
from concurrent.futures import Future
from typing import Any

import uvicorn
from fastapi import FastAPI

from ..errors import ArgumentError
from .settings import Settings

CLOSE_SECONDS = 5


class DrainingServer(uvicorn.Server):
    """At the first signal it takes no more jobs, finishes those it has while it still answers questions, then ends."""

    _drain: Future | None = None

    def handle_exit(self, sig: int, frame: Any) -> None:
        """A second signal ends it at once."""
        if self._drain is not None or not self.started:
            self.should_exit = True
            return
        self._drain = asyncio.run_coroutine_threadsafe(self._finish(), self.config.app.state.loop)

    async def _finish(self) -> None:
        try:
            await self.config.app.state.service.drain()
        finally:
            self.should_exit = True


def listen(settings: Settings) -> socket.socket:
    """The socket to serve on.

    Raises:
        ArgumentError: if the address is taken or not this machine's.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((settings.host, settings.port))
    except OSError as error:
        opened.close()
        raise ArgumentError(
            f"--port: cannot listen on {settings.host}:{settings.port} ({error.strerror}); choose another"
        ) from None
    return opened


def limit_memory(gibibytes: float) -> None:
    """Let allocations beyond this fail, which one job notices, instead of the system ending the whole server.

    Raises:
        ArgumentError: if this system cannot do so.
    """
    try:
        import resource

        size = int(gibibytes * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (size, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    except (ImportError, ValueError, OSError) as error:
        raise ArgumentError(f"--memory: {gibibytes:g} GiB cannot be set on this system ({error})") from None


def serve(app: FastAPI, settings: Settings, listening: socket.socket) -> None:
    """Serve until a signal ends it."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    config = uvicorn.Config(
        app,
        access_log=False,  # links to results are secrets
        proxy_headers=False,
        server_header=False,
        log_config=None,
        lifespan="on",
        ws="none",
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=CLOSE_SECONDS,
    )
    service = app.state.service
    service.base_url = settings.base_url(listening.getsockname()[1])
    server = DrainingServer(config)

    async def run() -> None:
        app.state.loop = asyncio.get_running_loop()
        await server.serve(sockets=[listening])

    asyncio.run(run())
