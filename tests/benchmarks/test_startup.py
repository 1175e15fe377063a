"""The benchmark of start-up on the tiny model: every row is run and the picture starts no slower than the libraries alone."""

import importlib

from tests import tiny


def test_every_row_is_timed(tmp_path, monkeypatch):
    tiny.pipeline(num_inference_steps=1).save_pretrained(tmp_path / "model")
    script = importlib.import_module("startup")
    seconds, own = script.measure(str(tmp_path / "model"), runs=1, warm=False)
    assert list(seconds) == list(script.commands(tmp_path, "any"))
    for row in ("opencodi --help", "a refused argument", "a missing file", "a wrong model name"):
        assert seconds[row][1] < 1.0
    assert 0 < own < seconds[script.PICTURE][0]
    # A picture loads weights and draws, too; yet it takes hardly longer than the bare import, most often less.
    assert seconds[script.PICTURE][1] < 1.5 * seconds[script.FLOOR][1]
