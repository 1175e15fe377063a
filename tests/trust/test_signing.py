"""Credentials in real files of every kind, read back by C2PA's reader and by one that others wrote."""

import io
import json
import shutil

import c2pa
import numpy as np
import pytest

from opencodi.errors import ArgumentError, EmptyFile, MediaError
from opencodi.media import read
from opencodi.output import AnyToAnyOutput
from opencodi.trust import Statement, Verdict, prepare, sign, verify
from opencodi.trust.signing import digest, fingerprint

from .. import tiny
from .conftest import BESIDE, EMBEDDED, STATEMENT

MEDIA_TYPES = {
    ".png": "image/png",
    ".apng": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".mp4": "video/mp4",
}


def store_of(path) -> dict:
    """What C2PA's own reader says."""
    beside = path.with_suffix(".c2pa")
    manifest = beside.read_bytes() if path.name in BESIDE else None
    media_type = "application/octet-stream" if manifest else MEDIA_TYPES[path.suffix]
    return json.loads(c2pa.Reader(media_type, io.BytesIO(path.read_bytes()), manifest).json())


@pytest.mark.parametrize("name", [*EMBEDDED, *BESIDE])
def test_c2pas_reader_finds_that_a_model_made_it(signed, name):
    store = store_of(signed / name)
    active = store["manifests"][store["active_manifest"]]
    assertions = {each["label"]: each for each in active["assertions"]}
    assert store["validation_state"] == "Valid" and active["title"] == name
    assert [each["code"] for each in store["validation_status"]] == ["signingCredential.untrusted"]  # by it, that is
    (action,) = assertions["c2pa.actions.v2"]["data"]["actions"]
    assert action["action"] == "c2pa.created" and action["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert assertions["opencodi.generation"]["data"] == STATEMENT.as_dict()
    assert "a rooster" not in json.dumps(store)


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_reader_that_others_wrote_accepts_it(signed, name):
    encypher = pytest.importorskip("encypher_c2pa", reason="a second C2PA reader: pip install encypher-c2pa")
    report = encypher.verify((signed / name).read_bytes(), MEDIA_TYPES[(signed / name).suffix])
    assert (report["integrity"], report["signature"], report["hard_binding"]) == ("valid", "valid", "match")


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("a.gif", "image"),
        ("a.flac", "audio"),
        ("a.mp3", "audio"),
        ("a.m4a", "audio"),
        ("a.mp4", "video"),
        ("moving.apng", "video"),
    ],
)
def test_what_is_seen_and_heard_stays_the_same(plain, signed, name, modality):
    before, after = (read(modality, folder / name) for folder in (plain, signed))
    for each in (before, after):
        assert modality == "image" or len(each.frames if modality == "video" else each.samples) > 3
    inside = {"video": lambda clip: clip.frames, "audio": lambda sound: sound.samples, "image": np.asarray}[modality]
    assert np.array_equal(inside(before), inside(after))


def test_files_that_cannot_hold_credentials_are_not_touched(plain, signed):
    for name in BESIDE:
        assert (plain / name).read_bytes() == (signed / name).read_bytes()


def test_a_file_is_signed_once_unless_its_credentials_may_be_lost(plain, credentials, tmp_path):
    for name, where in (("a.png", "a.png"), ("words.txt", "words.c2pa")):
        path = shutil.copy(plain / name, tmp_path / name)
        sidecar = sign(path, credentials=credentials)
        assert (sidecar and sidecar.name) == ("words.c2pa" if name == "words.txt" else None)
        with pytest.raises(ArgumentError, match=f"{where}: credentials are there already"):
            sign(path, credentials=credentials)
        sign(path, Statement("another"), credentials, replace=True)
        assert verify(path).credentials.generation == {"model": {"name": "another"}}
    with pytest.raises(ArgumentError, match="is a sidecar"):
        sign(tmp_path / "words.c2pa")
    with pytest.raises(ArgumentError, match="switched off"):
        sign(tmp_path / "a.png", credentials=prepare(False))


def test_what_cannot_be_signed_is_left_as_it_was(credentials, tmp_path):
    damaged = tmp_path / "a.png"
    damaged.write_bytes(b"\x89PNG\r\n\x1a\n" + b"nothing that is a picture")
    with pytest.raises(MediaError, match=r"a.png: no credentials can be written into it"):
        credentials.sign(damaged, STATEMENT)
    assert damaged.read_bytes().endswith(b"a picture") and list(tmp_path.iterdir()) == [damaged]
    (tmp_path / "empty.txt").touch()  # a model may say nothing
    assert credentials.sign(tmp_path / "empty.txt", STATEMENT) is None
    with pytest.raises(EmptyFile):
        sign(tmp_path / "empty.txt", credentials=credentials)


def test_an_edited_file_keeps_the_credentials_of_its_source(plain, signed, credentials, tmp_path):
    path = shutil.copy(plain / "moving.webp", tmp_path / "sticker.webp")
    credentials.sign_edit(path, signed / "a.png", ("c2pa.resized", "c2pa.transcoded"))
    store = json.loads(c2pa.Reader("image/webp", io.BytesIO(path.read_bytes())).json())
    active = store["manifests"][store["active_manifest"]]
    actions = active["assertions"][0]["data"]["actions"]
    assert [each["action"] for each in actions] == ["c2pa.opened", "c2pa.resized", "c2pa.transcoded"]
    found = verify(path)
    assert found.verdict == Verdict.GENERATED and found.credentials.generation["model"]["name"] == "tiny"


def test_saved_results_are_signed_unless_told_otherwise(tmp_path, recwarn):
    media = tiny.media()
    output = AnyToAnyOutput({"text": ["a rooster"], "image": [media["image"]]})
    output.model = "tiny"
    output.save(tmp_path)
    assert (tmp_path / "text-0.c2pa").exists()
    assert verify(tmp_path / "image-0.png").credentials.generation["model"] == {"name": "tiny"}
    output.save(tmp_path, credentials=False)
    assert not (tmp_path / "text-0.c2pa").exists()  # it would belong to another text
    assert verify(tmp_path / "image-0.png").credentials is None and not recwarn.list


def test_saved_results_say_why_they_are_not_signed(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("OPENCODI_CONFIG", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="no credentials are written: .*signing.pem"):
        AnyToAnyOutput({"text": ["a rooster"]}).save(tmp_path / "out")
    assert (tmp_path / "out" / "text-0.txt").exists()


def test_inputs_are_named_by_digests_that_give_no_prompt_away(plain):
    given = {"text": ["a rooster"], "image": [plain / "a.png"], "audio": [(plain / "a.wav").read_bytes()]}
    one, two = (Statement.of(given, "a drum") for _ in range(2))
    words, picture, sound, negative = one.inputs
    assert words["sha256"] != two.inputs[0]["sha256"] and words == digest("text", "a rooster", one.salt)
    assert picture == two.inputs[1] and sound["sha256"] == digest("audio", plain / "a.wav")["sha256"]
    assert negative["role"] == "negative" and one.salt not in json.dumps(one.as_dict())
    assert Statement("m", seed=3).for_result(2).seed == 5 and "seed" not in Statement("m").for_result(2).as_dict()


def test_the_fingerprint_of_a_model_changes_with_any_part_of_it(tmp_path):
    (tmp_path / "part").mkdir()
    weights = tmp_path / "part" / "weights.safetensors"
    weights.write_bytes(bytes(10**6))
    (tmp_path / "model_index.json").write_text("{}")
    prints = [fingerprint(tmp_path)]
    for place in (10, 500_100, 999_999):
        content = bytearray(10**6)
        content[place] = 1
        weights.write_bytes(content)
        prints.append(fingerprint(tmp_path))
    (tmp_path / "model_index.json").write_text("[]")
    prints.append(fingerprint(tmp_path))
    (tmp_path / "part" / "notes.md").write_text("no part of the model")
    assert len(set(prints)) == 5 and fingerprint(tmp_path) == prints[-1]
