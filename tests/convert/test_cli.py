"""``opencodi convert codi``: the same conversion from the command line."""

import json
from pathlib import Path

import pytest

from opencodi import cli
from opencodi.convert import published

from .checkpoints import CONFIGS, write_checkpoints


@pytest.fixture
def run(capsys):
    """Run a command in this process: exit code, standard output, standard error."""

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            cli.main(["convert", "codi", *map(str, arguments)])
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return call


def test_files_become_a_folder_and_what_was_done_is_printed(run, tmp_path, monkeypatch):
    monkeypatch.setitem(published.CONFIGS, "audio_denoiser", CONFIGS["audio_denoiser"])
    source, output = write_checkpoints(tmp_path / "files", audio=True), tmp_path / "codi"
    code, out, err = run("--checkpoints", source, "--output", output, "--dtype", "float16", "--exchange", "self")
    assert (code, err) == (0, "")
    assert "audio_denoiser" in out and out.splitlines()[-1] == str(output)
    assert json.loads((output / "model_index.json").read_text())["exchange"] == "self"


BAD_CALLS = [
    (["--output", "{new}"], "--checkpoints"),
    (["--checkpoints", "{files}"], "--output"),
    (["--checkpoints", "{files}", "--output", "{new}", "--dtype", "int8"], "--dtype"),
    (["--checkpoints", "{files}", "--output", "{new}", "--exchange", "none"], "--exchange"),
    (["--checkpoints", "{files}", "--output", "{new}"], "CoDi_encoders.pth: cannot be read as a checkpoint"),
    (["--checkpoints", "{new}", "--output", "{new}"], "--checkpoints: there is no folder"),
    (["--checkpoints", "{files}", "--output", "{files}/CoDi_encoders.pth"], "is not a folder"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_CALLS, ids=[" ".join(call) for call, _ in BAD_CALLS])
def test_bad_input_is_one_line_and_exit_code_2_and_nothing_is_written(run, tmp_path: Path, arguments, message):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "CoDi_encoders.pth").write_bytes(b"garbage")
    places = {"files": tmp_path / "files", "new": tmp_path / "new"}
    code, out, err = run(*(argument.format(**places) for argument in arguments))
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "new").exists()
