"""``opencodi serve --ray``: the same server with its model in replicas on Ray Serve."""

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import numpy as np
import pytest

from opencodi import cli

from .. import tiny
from .serving import pixels, until


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(["serve", *arguments])
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_replicas_are_for_ray_and_are_counted(capsys):
    assert "needs --ray" in refused(capsys, "--replicas", "2")
    for count in ("0", "3-2", "many", "-1"):
        assert "such as 2, or two such as 1-4" in refused(capsys, "--ray", f"--replicas={count}")


def test_without_ray_the_message_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # what an import finds where ray is not installed
    assert "pip install 'opencodi[server,ray]'" in refused(capsys, "--ray", "--port", "0")


@pytest.mark.slow
def test_replicas_answer_as_one_server_does(tmp_path):
    pytest.importorskip("ray.serve", reason="needs pip install 'opencodi[ray]'", exc_type=ImportError)
    pipe = tiny.pipeline()
    pipe.save_pretrained(tmp_path / "tiny")
    (tmp_path / "settings.yaml").write_text("max_steps: 1000\ndecoders: 1\nwarm_up: false\n")
    command = [sys.executable, "-m", "opencodi", "serve", "--ray", "--replicas", "1-2", "--port", "0", "--threads", "1"]
    command += ["--model", str(tmp_path / "tiny"), "--device", "cpu", "--settings", str(tmp_path / "settings.yaml")]
    log = tmp_path / "log"
    with log.open("w") as written:
        process = subprocess.Popen(command, stderr=written, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        found = until(lambda: re.search(r"serving tiny at (\S+) on 2 replicas", log.read_text()) or process.poll(), 120)
        assert isinstance(found, re.Match), log.read_text()
        with httpx2.Client(base_url=found[1], timeout=60, trust_env=False) as http:
            until(lambda: answers(http), 30)

            # One picture is what one server makes
            made = finished(http, text="a rooster", num_inference_steps=2, seed=3)
            assert made["status"] == "completed", made
            far = pixels(http.get(made["results"][0]["url"]).content)
            generator = tiny.torch.Generator().manual_seed(3)
            near = pipe(text="a rooster", outputs="image", num_inference_steps=2, generator=generator).image[0]
            assert np.abs(far - np.asarray(near, dtype=float)).max() <= 1

            # Many at once are made together, and one that is wrong harms no other
            bodies = [{"text": "a rooster", "num_inference_steps": 2, "seed": seed} for seed in range(7)]
            with ThreadPoolExecutor(8) as clients:
                ends = list(clients.map(lambda body: finished(http, **body), [*bodies, {**bodies[0], "height": 7}]))
            assert [end["status"] for end in ends] == [*["completed"] * 7, "failed"]
            assert "height" in ends[-1]["error"]["message"]
            assert max(map(int, re.findall(r"together=(\d+)", log.read_text()))) > 1

            # A job stops between two steps; the next one does not wait for its thousand
            job = http.post("/v1/generations", json={"text": "a rooster", "num_inference_steps": 1000}).json()
            until(lambda: http.get(f"/v1/generations/{job['id']}").json()["steps"] > 0, 30)
            http.delete(f"/v1/generations/{job['id']}")
            assert finished(http, text="a dog", num_inference_steps=1)["status"] == "completed"

            vector = http.post("/v1/embeddings", json={"input": "a rooster"}).json()["data"][0]["embedding"]
            assert vector == pytest.approx(
                pipe.encode_prompt(text="a rooster", extras=()).tokens[0, 0].tolist(), abs=1e-4
            )
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()


def answers(http):
    """Whether the server listens already."""
    try:
        return http.get("/health").status_code == 200
    except httpx2.TransportError:
        return False


def finished(http, **body):
    """A job at its end."""
    answer = http.post("/v1/generations", json=body)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    deadline = time.monotonic() + 60
    while job["status"] in ("queued", "in_progress"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
        job = http.get(f"/v1/generations/{job['id']}").json()
    return job
