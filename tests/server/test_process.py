"""``opencodi serve`` as a process of its own, and ``opencodi generate --server`` as its client."""

import json
import os
import signal
import subprocess
import sys
import time

import httpx2
import pytest
from PIL import Image

from opencodi.media import write_image

from .. import tiny
from .serving import QUICK

KEY = "a-key-of-many-letters"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server process with a key: its address, its folder, and the process."""
    folder = tmp_path_factory.mktemp("served")
    tiny.pipeline().save_pretrained(folder / "tiny")
    (folder / "keys").write_text(f"me {KEY}\n")
    (folder / "settings.yaml").write_text(f"results: {folder / 'results'}\nmax_steps: 1000\ndecoders: 1\n")
    options = ["--keys", folder / "keys", "--settings", folder / "settings.yaml", "--model", folder / "tiny"]
    command = [sys.executable, "-c", "from opencodi.cli import main; main()", "serve", "--port", "0", "--device", "cpu"]
    process = subprocess.Popen([*command, *map(str, options)], stderr=subprocess.PIPE, text=True)
    url = next(line for line in process.stderr if line.startswith("serving tiny at ")).split()[-1]
    deadline = time.monotonic() + 120
    while True:
        try:
            httpx2.get(f"{url}/health", trust_env=False)
            break
        except httpx2.TransportError:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
    yield url, folder, process
    process.kill()
    process.communicate()


def test_generate_asks_a_server_and_writes_what_it_would_have_written(served, run, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENCODI_API_KEY", KEY)
    write_image(tiny.media()["image"], tmp_path / "a.png")
    inputs = ["--text", "a rooster", "--image", tmp_path / "a.png", "--weight", "text=1,image=0.5", "--steps", "2"]
    call = ["generate", *inputs, "--to", "image,text", "--seed", "3", "--number", "2"]
    code, out, err = run(*call, "--server", served[0], "--output", tmp_path / "far")
    assert (code, err) == (0, "")
    names = ["text-0.txt", "text-1.txt", "image-0.png", "image-1.png"]
    assert out.split() == [str(tmp_path / "far" / name) for name in names]
    assert run(*call, "--model", served[1] / "tiny", "--device", "cpu", "--output", tmp_path / "here")[0] == 0
    for name in names[:2]:
        assert (tmp_path / "far" / name).read_text() == (tmp_path / "here" / name).read_text()
    for name in names[2:]:
        far, here = (Image.open(tmp_path / place / name).tobytes() for place in ("far", "here"))
        assert max(abs(one - other) for one, other in zip(far, here, strict=True)) <= 1
    report = json.loads((tmp_path / "far" / "result.json").read_text())
    assert (report["seed"], report["files"], report["settings"]["server"]) == (3, names, served[0])


def test_the_client_loads_no_library_of_media_or_networks(served, tmp_path):
    call = [
        "generate",
        "--text",
        "a",
        "--to",
        "image",
        "--steps",
        "1",
        "--output",
        str(tmp_path),
        "--server",
        served[0],
    ]
    program = (
        f"import sys\nfrom opencodi.cli import main\ntry:\n    main({call})\nexcept SystemExit as stop:\n"
        "    print(stop.code, [name for name in ('torch', 'numpy', 'PIL', 'av') if name in sys.modules])"
    )
    environment = {**os.environ, "OPENCODI_API_KEY": KEY}
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert ended.stdout.splitlines()[-1] == "0 []", ended.stderr
    assert (tmp_path / "image-0.png").is_file()


def test_the_client_says_in_one_line_what_is_wrong(served, run, tmp_path, monkeypatch):
    call = ("generate", "--text", "a", "--to", "image", "--output", tmp_path / "out", "--server")
    monkeypatch.delenv("OPENCODI_API_KEY", raising=False)
    for server, says in (
        (served[0], "Give a key of this server"),
        ("http://127.0.0.1:9", "cannot be reached"),
        ("ftp://127.0.0.1", "is no address"),
    ):
        code, out, err = run(*call, server)
        assert (code, out) == (2, "") and says in err and err.count("\n") == 1
    monkeypatch.setenv("OPENCODI_API_KEY", KEY)
    assert "weights: names 'image'" in run(*call, served[0], "--weight", "image=1")[2]
    code, _, err = run(*call, served[0], "--image", tmp_path / "none.png")
    assert code == 2 and "none.png: cannot be opened" in err
    assert not (tmp_path / "out").exists()


def test_an_address_of_others_needs_keys_and_a_port_must_be_free(served, run):
    code, _, err = run("serve", "--host", "0.0.0.0")
    assert code == 2 and "--keys" in err
    code, _, err = run("serve", "--port", served[0].split(":")[-1])
    assert code == 2 and "cannot listen" in err


def test_memory_that_is_not_allowed_is_refused_not_taken():
    program = "from opencodi.server.run import limit_memory; limit_memory(0.5); bytearray(2**30)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 1 and ended.stderr.endswith("MemoryError\n")


def test_a_stopped_server_finishes_its_jobs_first(served):
    """The last test: the process has ended after it."""
    url, folder, process = served
    client = httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False, timeout=60)
    body = {"text": "a rooster", "num_inference_steps": 150}
    jobs = [client.post("/v1/generations", json={**body, "seed": seed}).json() for seed in range(2)]
    os.kill(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + 10
    while client.get("/health").status_code != 503:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    refused = client.post("/v1/generations", json={"text": "a", **QUICK})
    assert refused.status_code == 503 and int(refused.headers["retry-after"]) >= 1
    for job in jobs:
        while (job := client.get(f"/v1/generations/{job['id']}").json())["status"] != "completed":
            assert job["status"] in ("queued", "in_progress")
            time.sleep(0.05)
        assert client.get(job["results"][0]["url"]).content.startswith(b"\x89PNG")
    client.close()
    assert process.wait(timeout=30) == 0
    assert list((folder / "results").iterdir()) == []
    said = process.stderr.read()
    assert "stopping: 2 jobs" in said and "Traceback" not in said and "rooster" not in said
