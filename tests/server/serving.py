"""A real server on a real port in a thread, with the tiny pipeline behind it."""

import asyncio
import base64
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import numpy as np
import openai
import uvicorn
from PIL import Image

from opencodi.media import write_audio, write_image, write_video
from opencodi.server.app import build_app
from opencodi.server.settings import Keys, Settings

QUICK = {"num_inference_steps": 2}
LONG = {"num_inference_steps": 1000}
"""Of the tiny model: some seconds, unless it is stopped."""


class Running:
    """One running server, and how to talk to it."""

    def __init__(self, app: Any, url: str, loop: asyncio.AbstractEventLoop, key: str | None) -> None:
        self.service, self.url, self.loop = app.state.service, url, loop
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.http = httpx2.Client(base_url=url, headers=headers, timeout=60, trust_env=False)
        self.openai = openai.OpenAI(
            base_url=f"{url}/v1",
            api_key=key or "none",
            max_retries=0,
            http_client=httpx2.Client(trust_env=False, timeout=60),
        )

    def generate(self, **body: Any) -> dict[str, Any]:
        """Begin a job; it must be accepted."""
        answer = self.http.post("/v1/generations", json={**QUICK, **body})
        assert answer.status_code == 202, answer.text
        return answer.json()

    def wait(self, job: dict[str, Any], seconds: float = 60) -> dict[str, Any]:
        """Poll until a job has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            job = self.http.get(f"/v1/generations/{job['id']}").json()
            if job["status"] in ("completed", "failed", "cancelled"):
                return job
            time.sleep(0.02)
        raise AssertionError(f"still {job['status']}")

    def make(self, **body: Any) -> dict[str, Any]:
        """A job, finished."""
        return self.wait(self.generate(**body))

    def fetch(self, result: dict[str, Any]) -> bytes:
        """The bytes behind a link."""
        answer = httpx2.get(result["url"], trust_env=False)
        assert answer.status_code == 200
        return answer.content

    def picture(self, job: dict[str, Any], index: int = 0) -> np.ndarray:
        """A picture that a job made."""
        results = [result for result in job["results"] if result["modality"] == "image"]
        return pixels(self.fetch(results[index]))

    def busy(self) -> dict[str, Any]:
        """Begin a long job and wait until it runs."""
        job = self.generate(text="a rooster", **LONG)
        while self.http.get(f"/v1/generations/{job['id']}").json()["steps"] == 0:
            time.sleep(0.01)
        return job


@contextmanager
def serving(pipe: Any, keys: Keys | None = None, key: str | None = None, **settings: Any) -> Iterator[Running]:
    """Serve while inside."""
    settings = {"port": 0, "max_steps": 1000, "warm_up": False, "decoders": 1, **settings}
    app = build_app(pipe, Settings(**settings), keys, name="tiny")
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_config=None, access_log=False, timeout_graceful_shutdown=1, ws="none")
    )
    loops = []

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve()

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    app.state.service.base_url = url
    running = Running(app, url, loops[0], key)
    try:
        yield running
    finally:
        running.http.close()
        server.should_exit = True
        thread.join(timeout=30)
        assert not thread.is_alive()


def pixels(content: bytes) -> np.ndarray:
    """A picture file as numbers."""
    return np.asarray(Image.open(io.BytesIO(content)), dtype=float)


def files_of(media: dict[str, Any], folder: Any) -> dict[str, bytes]:
    """Each medium as the bytes of a file."""
    write_image(media["image"], folder / "a.png")
    write_video(media["video"], folder / "a.mp4")
    write_audio(media["audio"], folder / "a.wav")
    return {
        name: (folder / f"a.{end}").read_bytes() for name, end in (("image", "png"), ("video", "mp4"), ("audio", "wav"))
    }


def data_url(content: bytes) -> str:
    """Bytes as JSON can carry them."""
    return "data:application/octet-stream;base64," + base64.b64encode(content).decode()


def until(look, seconds: float = 10):
    """What a function returns as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found
