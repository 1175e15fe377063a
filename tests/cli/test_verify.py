"""`opencodi verify`, and credentials of what the commands write."""

import json
import shutil
from pathlib import Path

import pytest

from opencodi.trust import Verdict, verify
from opencodi.trust.signing import Statement, digest

from ..trust.conftest import issue

GENERATE = ["generate", "--text", "a rooster", "--steps", "2", "--seed", "3", "--device", "cpu"]


@pytest.fixture(scope="module")
def made(model, tmp_path_factory):
    """A picture and a text that `opencodi generate` made."""
    from opencodi import cli

    folder = tmp_path_factory.mktemp("made")
    with pytest.raises(SystemExit) as stop:
        cli.main([*GENERATE, "--negative", "a drum", "--to", "image,text", "--model", model, "--output", str(folder)])
    assert stop.value.code == 0
    return folder


def test_what_generate_writes_says_how_it_was_made(made, model):
    report = json.loads((made / "result.json").read_text())
    found = verify(made / "image-0.png").credentials
    assert found.known_as == "own" and found.generation["seed"] == 3
    assert found.generation["model"]["name"] == Path(model).name and len(found.generation["model"]["version"]) == 16
    assert found.generation["settings"]["steps"] == report["settings"]["steps"]
    assert report["credentials"]["written"] and report["credentials"]["signer"] == found.signer["name"]
    words, negative = found.generation["inputs"]
    salt = report["credentials"]["salt"]  # who has it can show what the words were
    assert words == digest("text", "a rooster", salt) and negative == digest("text", "a drum", salt, role="negative")
    for secret in (b"rooster", b"drum", salt.encode(), str(made).encode()):
        assert secret not in (made / "image-0.png").read_bytes()


def test_a_table_says_it_in_plain_words(run, made):
    code, out, err = run("verify", made / "image-0.png")
    assert (code, err) == (0, "")
    head, row, empty, sentence = out.splitlines()
    assert head.split() == ["verdict", "credentials", "signer", "watermark", "file"] and empty == ""
    assert row.startswith("made by a model  intact, embedded  this installation  not ")
    assert row.rstrip().endswith(str(made / "image-0.png"))
    assert sentence.startswith(f"{made / 'image-0.png'}: Signed by this installation") and "model tiny" in sentence


def test_json_holds_all_of_it(run, made, files):
    code, out, _ = run("verify", "--json", made / "image-0.png", files["audio"])
    ours, other = json.loads(out)["files"]
    assert (code, ours["verdict"], other["verdict"]) == (3, "generated", "cannot_tell")
    assert ours["file"] == str(made / "image-0.png") and ours["credentials"]["generation"]["seed"] == 3
    assert other["credentials"] is None and set(other["watermark"]) == {
        "checked",
        "found",
        "p_value",
        "modality",
        "reason",
    }


def test_exit_codes_tell_scripts_the_gravest_verdict(run, made, files, tmp_path):
    changed = shutil.copy(made / "image-0.png", tmp_path / "changed.png")
    content = bytearray(changed.read_bytes())
    content[-20] ^= 1
    changed.write_bytes(content)
    certificate, key, authority = issue(tmp_path)
    theirs = shutil.copy(files["image"], tmp_path / "theirs.png")
    from opencodi.trust import prepare, sign

    sign(theirs, Statement(), prepare(certificate=certificate, private_key=key))
    ours, nothing = made / "image-0.png", files["audio"]
    for asked, expected in (
        ([ours, nothing], 3),
        ([ours, nothing, theirs], 5),
        ([ours, theirs, changed], 4),
        ([changed, tmp_path / "none.png"], 2),
        ([theirs, "--trust", authority], 0),
    ):
        assert run("verify", *asked)[0] == expected


def test_bad_input_is_one_line_and_the_other_files_are_looked_at(run, made, tmp_path):
    (tmp_path / "empty.png").touch()
    names = [tmp_path / "none.png", tmp_path, tmp_path / "empty.png", made / "text-0.c2pa", made / "image-0.png"]
    code, out, err = run("verify", *names)
    assert code == 2 and "made by a model" in out
    lines = err.splitlines()
    assert len(lines) == 4 and all(line.startswith("error: ") for line in lines)
    assert [word in line for word, line in zip(("no such file", "is a folder", "no bytes", "sidecar"), lines)] == [
        True
    ] * 4
    assert run("verify", "--trust", made / "image-0.png", made / "image-0.png")[0] == 2


def test_no_credentials_leaves_them_out_and_says_so(run, model, tmp_path):
    (tmp_path / "text-0.c2pa").write_text("of an earlier run")
    common = ["--to", "text,image", "--model", model, "--output", tmp_path]
    assert run(*GENERATE, *common, "--no-credentials")[0] == 0
    report = json.loads((tmp_path / "result.json").read_text())
    assert report["credentials"] == {"written": False, "reason": "switched off with --no-credentials"}
    assert not (tmp_path / "text-0.c2pa").exists() and verify(tmp_path / "image-0.png").verdict == Verdict.CANNOT_TELL


def test_ones_own_certificate_signs(run, model, tmp_path):
    certificate, key, authority = issue(tmp_path)
    ours = ["--certificate", certificate, "--private-key", key]
    assert run(*GENERATE, "--to", "image", "--model", model, "--output", tmp_path / "out", *ours)[0] == 0
    assert verify(tmp_path / "out/image-0.png", trust=authority).credentials.signer["name"] == "Somebody"


def test_a_certificate_that_cannot_sign_is_refused_before_the_model_is_loaded(run, tmp_path, files):
    common = ["--to", "image", "--output", tmp_path / "out"]
    for more, says in (
        (["--certificate", files["image"], "--private-key", files["image"]], "holds no certificate"),
        (["--certificate", tmp_path / "none.pem", "--private-key", files["image"]], "none.pem: cannot be read"),
        (["--certificate", files["image"]], "needs --private-key"),
        (["--no-credentials", "--certificate", "a", "--private-key", "b"], "--no-credentials"),
        (["--no-credentials", "--server", "http://127.0.0.1:9"], "give these options to `opencodi serve`"),
    ):
        code, _, err = run(*GENERATE, *common, *more)
        assert code == 2 and says in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_without_a_place_for_the_key_the_work_goes_on_and_says_so(run, model, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("OPENCODI_CONFIG", str(tmp_path / "file"))
    code, _, err = run(*GENERATE, "--to", "image", "--model", model, "--output", tmp_path / "out")
    assert code == 0 and err.startswith("warning: no credentials are written: ") and err.count("\n") == 1
    report = json.loads((tmp_path / "out/result.json").read_text())
    assert not report["credentials"]["written"] and "signing.pem" in report["credentials"]["reason"]


def test_packs_carry_on_the_credentials_of_what_they_are_made_from(run, made, files, tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    shutil.copy(made / "image-0.png", folder)
    shutil.copy(files["image"], folder / "somebodys.png")
    assert run("export", folder, "--for", "whatsapp")[0] == 0
    pack = folder / "stickers/whatsapp"
    entries = json.loads((pack / "pack.json").read_text())["stickers"]
    assert [entry["credentials"] for entry in entries] == [True, False]
    ours, theirs = (verify(pack / entry["file"]) for entry in entries)
    assert ours.verdict == Verdict.GENERATED and ours.credentials.generation["seed"] == 3
    assert theirs.verdict == Verdict.CANNOT_TELL  # nobody knows how a file without credentials was made
    assert run("export", folder, "--for", "whatsapp", "--no-credentials")[0] == 0
    assert verify(pack / entries[0]["file"]).verdict == Verdict.CANNOT_TELL
