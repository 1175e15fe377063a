"""A tiny model and one file of each modality; commands run in this process or in one of their own."""

import os
import subprocess
import sys

import pytest

from opencodi.media import write_audio, write_image, write_video

from .. import tiny


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny.pipeline().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> dict[str, str]:
    """One file of each modality."""
    folder = tmp_path_factory.mktemp("inputs")
    media = tiny.media()
    write_image(media["image"], folder / "a.png")
    write_video(media["video"], folder / "a.mp4")
    write_audio(media["audio"], folder / "a.wav")
    (folder / "a.txt").write_text(media["text"])
    endings = {"text": "txt", "image": "png", "video": "mp4", "audio": "wav"}
    return {name: str(folder / f"a.{ending}") for name, ending in endings.items()}


@pytest.fixture
def process():
    """Run a command in a process of its own."""

    def call(*arguments, environment=(), **options) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "opencodi", *arguments]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        return subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1", **dict(environment)}, **streams)

    return call
