"""What strangers send is never opened, believed, or allowed to harm."""

import json
import logging
import socket
import time
from pathlib import Path

import pytest

from opencodi.errors import ArgumentError, ConfigurationError
from opencodi.server.settings import Keys, Settings, check_address, make_settings

from .serving import QUICK, data_url, serving, until

CASES = Path(__file__).parents[1] / "data"


@pytest.mark.parametrize(
    "given",
    ["/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:9/a.png", "a.png", "data:image/png,abc", "data:;base64,%%"],
)
def test_paths_and_links_are_refused_unopened(server, given):
    for route, body in (
        ("/v1/generations", {"image": given}),
        ("/v1/embeddings", {"input": [{"image": given}]}),
        ("/v1/videos", {"prompt": "a", "input_reference": {"image_url": given}}),
    ):
        answer = server.http.post(route, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_upload")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/files/..%2f..%2fetc/passwd",
        "/v1/files/../../../etc/passwd",
        "/v1/files/{token}/..%2f..%2flock",
        "/v1/files/{token}/%2e%2e",
        "/v1/files/uploads/x",
    ],
)
def test_no_path_leads_out_of_the_results(server, path):
    job = server.make(text="a rooster")
    token = job["results"][0]["url"].split("/")[-2]
    assert len(token) >= 32 and token not in job["id"]
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:  # clients tidy paths up, strangers do not
        connection.sendall(
            f"GET {path.format(token=token)} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        )
        assert b" 404 " in connection.recv(100)


def test_forwarded_headers_change_nothing_in_links(server):
    claims = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "Forwarded": "host=evil.example"}
    job = server.http.post("/v1/generations", json={"text": "a", **QUICK}, headers=claims).json()
    assert server.wait(job)["results"][0]["url"].startswith(server.url)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
    ],
)
def test_web_pages_of_others_cannot_use_a_server_at_home(server, headers, status):
    assert server.http.get("/health", headers=headers).status_code == status


def test_limits_of_bytes_pixels_seconds_and_body(pipe, files):
    limits = {
        "max_upload_bytes": 50_000,
        "max_pixels": 200,
        "max_seconds": 0.2,
        "max_frames": 2,
        "max_body_bytes": 200_000,
    }
    with serving(pipe, **limits) as running:
        for name, content, status in (
            ("image", bytes(60_000), 413),
            ("image", files["image"], 413),
            ("audio", files["audio"], 413),
            ("video", files["video"], 413),
            ("image", files["audio"], 415),
            ("video", files["image"], 415),
        ):
            answer = running.http.post("/v1/generations", files={name: content})
            assert answer.status_code == status, answer.text
            assert answer.json()["error"]["message"].startswith(f"{name} 1: ")
        for body in (bytes(300_000), iter([bytes(150_000), bytes(150_000)])):  # with its length declared, and without
            answer = running.http.post("/v1/generations", content=body, headers={"Content-Type": "application/json"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "over_limit")
        assert list(running.service.store.uploads.iterdir()) == []
        assert running.make(text="a rooster")["status"] == "completed"


@pytest.mark.parametrize(
    "body", [b"", b"[1]", b"{", b"[" * 100_000, b'{"seed": 1e999}', b'{"text": "a", "guidance_scale": NaN}']
)
def test_odd_bodies_are_refused_with_a_sentence(server, body):
    answer = server.http.post("/v1/generations", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 and answer.json()["error"]["message"]


def test_odd_forms_are_refused_with_a_sentence(server, files):
    many = [("image", ("a", files["image"]))] * 50
    for sent in (
        {"files": many},
        {"files": {"text": b"a rooster"}},
        {"files": {"smell": b"a"}},
        {"data": {"outputs": "?"}},
    ):
        assert server.http.post("/v1/generations", **sent).status_code == 400
    assert server.http.post("/v1/embeddings", files={"smell": b"a"}).status_code == 400
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert server.http.post("/v1/generations", content=b"--x\r\nbroken", headers=headers).status_code == 400


def test_a_body_that_does_not_come_is_given_up(pipe):
    with serving(pipe, upload_seconds=0.3) as running:
        host, port = running.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST /v1/generations HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100\r\n\r\n{{"
            connection.sendall(head.encode())
            started = time.monotonic()
            assert b" 408 " in connection.recv(100)
        assert time.monotonic() - started < 5
        until(lambda: running.service.jobs.reserved == 0)


def test_prompts_are_logged_only_where_asked_for(pipe, caplog):
    caplog.set_level(logging.INFO, "opencodi.server")
    with serving(pipe) as running:
        running.make(text="a secret rooster", negative_prompt="a secret drum")
        running.make(text="a secret rooster", weights={"image": 1.0})  # fails
    assert "start job=" in caplog.text and "failed job=" in caplog.text and "secret" not in caplog.text
    with serving(pipe, log_prompts=True) as running:
        job = running.make(text="a secret rooster")
    assert "a secret rooster" in caplog.text and job["id"] not in caplog.text


def test_only_this_machine_is_served_without_keys(tmp_path):
    for host in ("127.0.0.1", "::1", "localhost"):
        check_address(Settings(host=host), Keys())
    (tmp_path / "keys").write_text("a-key-of-many-letters\n")
    for others in (Settings(host="0.0.0.0"), Settings(public_url="https://pictures.example")):
        check_address(others, Keys(tmp_path / "keys"))
        with pytest.raises(ArgumentError, match="--keys"):
            check_address(others, Keys())


def test_pages_of_allowed_sites_may_use_the_server(pipe):
    with serving(pipe, allowed_origins=["https://studio.example"]) as running:
        answer = running.http.get("/health", headers={"Origin": "https://studio.example"})
        assert answer.headers["access-control-allow-origin"] == "https://studio.example"
        refused = running.http.get("/health", headers={"Origin": "https://evil.example"})
        assert refused.status_code == 403 and "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize(
    "content", ["", "# none\n", "short\n", "name key with-too-many-words\n", "a " + "k" * 16 + "\na " + "l" * 16]
)
def test_a_bad_file_of_keys_is_refused(tmp_path, content):
    (tmp_path / "keys").write_text(content)
    with pytest.raises(ConfigurationError, match="keys"):
        Keys(tmp_path / "keys")


@pytest.mark.parametrize("header", ["", "Bearer", "Basic a-key-of-many-letters", "Bearer é", "a-key-of-many-letters"])
def test_only_a_whole_key_counts(tmp_path, header):
    (tmp_path / "keys").write_text("me a-key-of-many-letters\n")
    assert Keys(tmp_path / "keys").owner(header) is None
    assert Keys(tmp_path / "keys").owner("bearer a-key-of-many-letters") == "me"


def test_settings_come_from_a_file_and_unknown_ones_are_errors(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("max_queue: 3\nport: 9000\n")
    assert make_settings(file, port=9001, host=None) == Settings(max_queue=3, port=9001)
    for content, says in (("max_cue: 3", "max_cue"), ("max_queue: 0", "max_queue"), ("- 1", "list of names")):
        file.write_text(content)
        with pytest.raises((ArgumentError, ConfigurationError), match=says):
            make_settings(file)


def test_nothing_of_this_reaches_a_decoder_with_secrets(server, files, monkeypatch):
    """A decoding process sees no variable of ours but those that Python needs."""
    server.make(image=data_url(files["image"]))
    process = server.service.decoders._children[0]._process
    environment = Path(f"/proc/{process.pid}/environ").read_bytes().decode().split("\0")
    names = {entry.split("=")[0] for entry in environment if entry}
    assert names <= {
        "PATH",
        "PYTHONPATH",
        "LANG",
        "LC_ALL",
        "LD_LIBRARY_PATH",
        "TMPDIR",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
    }
    assert json.dumps(sorted(names))
