"""Credentials of what the server makes, and POST /v1/verify."""

import io
import json
import logging

import c2pa
import pytest

from opencodi.errors import ArgumentError
from opencodi.server import verify_routes
from opencodi.server.client import generate_remotely
from opencodi.server.settings import Keys
from opencodi.trust import prepare, verify
from opencodi.trust.signing import digest

from ..trust.conftest import issue
from .serving import QUICK, data_url, serving, until


def check(server, **body) -> dict:
    answer = server.http.post("/v1/verify", **body)
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()["data"]
    return found


def test_every_result_says_that_a_model_made_it(server, files):
    asked = {"text": "a rooster", "image": data_url(files["image"]), "seed": 5}
    job = server.make(**asked, outputs="text,image", num_outputs_per_prompt=2)
    for result in job["results"]:
        upload = {"file": ("x", server.fetch(result))}
        if result["modality"] == "text":
            upload["credentials"] = ("y", server.fetch({"url": result["credentials"]}))
        found = check(server, files=upload)
        assert found["verdict"] == "generated" and found["credentials"]["known_as"] == "own"
        said = found["credentials"]["generation"]
        assert said["seed"] == result["seed"] and said["model"]["name"] == "tiny"
        assert said["inputs"][0] == digest("text", "a rooster", job["credentials"]["salt"])
        assert said["inputs"][1] == digest("image", files["image"])
    server.http.delete(f"/v1/generations/{job['id']}")
    assert server.http.get(job["results"][0]["credentials"]).status_code == 404


@pytest.mark.parametrize("form", ["mp3", "wav", "flac", "opus", "aac", "pcm"])
def test_sounds_have_their_credentials_inside_or_linked(server, form):
    answer = server.http.post("/v1/audio/generate", json={"input": "a drum", "response_format": form, **QUICK})
    upload = {"file": answer.content}
    if form in ("opus", "aac", "pcm"):
        link, relation = answer.headers["Link"].split(";")
        assert relation.strip() == 'rel="c2pa-manifest"'
        upload["credentials"] = server.fetch({"url": link.strip("<>")})
    else:
        assert "Link" not in answer.headers
    assert check(server, files=upload)["verdict"] == "generated"


def test_pictures_in_base64_have_them_and_so_do_clips(server):
    picture = server.http.post("/v1/images/generations", json={"prompt": "a rooster", "size": "64x64", **QUICK}).json()
    url = "data:image/png;base64," + picture["data"][0]["b64_json"]
    assert check(server, json={"file": url})["verdict"] == "generated"
    clip = server.http.post("/v1/videos", json={"prompt": "a rooster", **QUICK}).json()
    until(lambda: server.http.get(f"/v1/videos/{clip['id']}").json()["status"] == "completed")
    content = server.http.get(f"/v1/videos/{clip['id']}/content").content
    assert json.loads(c2pa.Reader("video/mp4", io.BytesIO(content)).json())["validation_state"] == "Valid"


def test_uploads_are_checked_like_files(server, files):
    found = check(server, files={"file": ("../../etc/passwd", files["image"])})
    assert (found["verdict"], found["file"], found["credentials"]) == ("cannot_tell", "file 1", None)
    several = server.http.post("/v1/verify", json={"file": [data_url(files["image"]), data_url(b"words")]}).json()
    assert [each["file"] for each in several["data"]] == ["file 1", "file 2"]
    assert list(server.service.store.uploads.iterdir()) == []


def test_bad_uploads_are_refused_in_one_sentence(server, files):
    for body, status, says in (
        ({"json": {}}, 400, "file: give 1 to 8 files"),
        ({"json": {"file": "https://example.com/a.png"}}, 400, "links are not opened"),
        ({"json": {"file": 5}}, 400, "file: give data: URLs"),
        ({"json": {"file": [data_url(b"a")] * 9}}, 400, "file: give 1 to 8 files"),
        ({"json": {"file": [data_url(b"a")] * 2, "credentials": data_url(b"b")}}, 400, "belong to one file"),
        ({"json": {"file": data_url(b"")}}, 400, "file 1: has no bytes"),
        ({"files": {"picture": files["image"]}}, 400, "in the fields file and credentials"),
        ({"content": b"no form"}, 400, "neither JSON nor"),
    ):
        answer = server.http.post("/v1/verify", **body)
        assert (answer.status_code, says in answer.json()["error"]["message"]) == (status, True), answer.text
        assert str(server.service.store.folder) not in answer.text
    assert list(server.service.store.uploads.iterdir()) == []


def test_uploads_have_limits_keys_and_a_place_in_the_line(pipe, files, tmp_path):
    (tmp_path / "keys").write_text("anna a-key-of-some-length\n")
    with serving(pipe, Keys(tmp_path / "keys"), "a-key-of-some-length", max_upload_bytes=100) as running:
        large = running.http.post("/v1/verify", files={"file": files["image"]})
        assert (large.status_code, large.json()["error"]["code"]) == (413, "over_limit")
        nobody = running.http.post("/v1/verify", files={"file": b"a"}, headers={"Authorization": "Bearer no"})
        assert nobody.status_code == 401
        running.service.jobs.draining = True
        assert running.http.post("/v1/verify", files={"file": b"a"}).status_code == 503


def test_a_reader_that_fails_harms_nobody(server, monkeypatch, files):
    from opencodi.trust import reading

    monkeypatch.setattr(reading, "_PROGRAM", reading._PROGRAM.with_name("none.py"))
    answer = server.http.post("/v1/verify", files={"file": files["image"]})
    assert answer.status_code == 507 and answer.json()["error"]["code"] == "unreadable_file"
    monkeypatch.undo()
    assert check(server, files={"file": files["image"]})["verdict"] == "cannot_tell"


def test_the_operator_switches_them_off_or_signs_with_a_certificate(pipe, tmp_path, files, caplog):
    caplog.set_level(logging.DEBUG)
    certificate, key, authority = issue(tmp_path)
    with serving(pipe, certificate=certificate, private_key=key, trust=authority) as running:
        result = running.make(text="a rooster")["results"][0]
        found = check(running, files={"file": running.fetch(result)})
        assert (found["credentials"]["known_as"], found["credentials"]["signer"]["name"]) == ("trusted", "Somebody")
    assert not any(line in caplog.text for line in key.read_text().splitlines()[1:-1])
    with serving(pipe, credentials=False) as running:
        job = running.make(text="a rooster", outputs="text,image")
        assert job["credentials"]["written"] is False and "credentials" not in job["results"][0]
        assert check(running, files={"file": running.fetch(job["results"][1])})["verdict"] == "cannot_tell"
    with pytest.raises(ArgumentError, match="holds no certificate"):
        (tmp_path / "words").write_text("no certificate")
        verify_routes.read_authorities(tmp_path / "words")


def test_generating_on_a_server_brings_its_credentials_along(server, tmp_path):
    names = generate_remotely(server.url, tmp_path, {"text": ["a rooster"]}, outputs=["text", "image"], seed=1, **QUICK)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, "text-0.c2pa", "result.json"])
    report = json.loads((tmp_path / "result.json").read_text())["credentials"]
    assert report["written"] and report["signer"] == prepare().identity.name
    assert [verify(tmp_path / name).exit_code for name in names] == [0, 0]
