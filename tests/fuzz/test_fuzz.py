"""A short run of every fuzz target. ``python benchmarks/fuzz.py`` runs as many cases as there is time for."""

import pytest

from opencodi.errors import DamagedFile
from opencodi.media import read_audio

from . import corpus, server
from .mutations import mutated
from .runner import run
from .targets import TARGETS

COUNTS = {"audio": 8, "video": 6, "model folder": 20, "container": 1_000, "text": 40, "verify": 6}


@pytest.mark.parametrize("name", TARGETS)
def test_every_case_is_read_or_refused_with_a_typed_error(name):
    report = run(name, COUNTS.get(name, 200))
    assert report.cases == COUNTS.get(name, 200)
    assert not report.untyped and not report.hangs
    assert not report.crashes or TARGETS[name].is_contained
    assert report.outcomes["ok"] or name == "text"


def test_cases_are_the_same_every_time_and_differ_from_one_another():
    seeds = [bytes(range(256)) * 4, b"another file" * 30]
    assert [mutated(seeds, 3, case) for case in range(20)] == [mutated(seeds, 3, case) for case in range(20)]
    assert len({mutated(seeds, 3, case) for case in range(20)}) > 15
    assert mutated(seeds, 3, 0) != mutated(seeds, 4, 0)


def test_bad_uploads_are_refused_in_words(server_with_files):
    running, files = server_with_files
    found = server.bad_uploads(running.http, "image", [files["image"]], 30)
    assert found[400] + found[413] + found[415] > 5 and found.total() == 30
    assert running.http.post("/v1/embeddings", json={"input": "a rooster"}).status_code == 200


def test_odd_requests_are_refused_in_words(server_with_files):
    running, _ = server_with_files
    schema = running.http.get("/openapi.json").json()
    paths = list(server.json_paths(schema))
    assert {"/v1/generations", "/v1/images/generations", "/v1/embeddings"} <= set(paths)
    found = sum((server.odd_bodies(running.http, path, schema, 12) for path in paths), server.Counter())
    assert found[400] + found[422] > 10
    assert running.http.post("/v1/embeddings", json={"input": "a rooster"}).status_code == 200


def test_a_length_beyond_what_a_file_can_hold_is_damage(tmp_path):
    content = bytearray(corpus.sounds(tmp_path)["w64"])
    content[40 + 16 : 40 + 24] = (2**63 - 5_000).to_bytes(8, "little")
    (tmp_path / "a.w64").write_bytes(content)
    with pytest.raises(DamagedFile, match=r"a\.w64: is truncated"):
        read_audio(tmp_path / "a.w64")
