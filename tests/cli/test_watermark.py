"""``opencodi generate --watermark`` on the tiny model. Pictures of 16 pixels are too small to hold a mark; sounds do."""

import json

import numpy as np
import pytest
from PIL import Image

from opencodi.media import read_audio
from opencodi.trust.watermark import detect, embed


@pytest.fixture
def generate(run, model, tmp_path, monkeypatch):
    """One step of sounds and pictures into a folder of tmp_path, with a key of the test; the report."""
    monkeypatch.setenv("OPENCODI_CONFIG", str(tmp_path / "config"))

    def call(name, *arguments):
        common = ("--text", "a rooster", "--to", "text,image,audio", "--steps", 1, "--device", "cpu")
        code, _, err = run("generate", *common, "--model", model, "--output", tmp_path / name, *arguments)
        assert (code, err) == (0, "")
        return json.loads((tmp_path / name / "result.json").read_text())

    return call


def test_results_are_marked_where_that_is_asked_for_and_the_report_says_so(generate, tmp_path):
    plain = generate("plain", "--seed", 5)
    assert plain["watermark"] == {"written": False, "modalities": []}
    assert not (tmp_path / "config").exists()
    marked = generate("marked", "--seed", 5, "--watermark")
    assert marked["watermark"] == {"written": True, "modalities": ["image", "audio"]}
    key = tmp_path / "config" / "watermark.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.read_text().strip() not in (tmp_path / "marked" / "result.json").read_text()
    assert detect(tmp_path / "marked" / "audio-0.wav").found
    assert not detect(tmp_path / "plain" / "audio-0.wav").found
    assert (tmp_path / "marked" / "text-0.txt").read_text() == (tmp_path / "plain" / "text-0.txt").read_text()
    picture = Image.open(tmp_path / "plain" / "image-0.png")
    assert (np.asarray(Image.open(tmp_path / "marked" / "image-0.png")) == np.asarray(embed(picture))).all()


def test_the_same_seed_gives_the_same_marked_results_alone_and_among_others(generate, tmp_path):
    generate("two", "--watermark", "--seed", 5, "--number", 2)
    generate("one", "--watermark", "--seed", 6)
    alone, among = (read_audio(tmp_path / name).samples for name in ("one/audio-0.wav", "two/audio-1.wav"))
    assert np.abs(alone - among).max() < 1e-2
    one, other = (np.asarray(Image.open(tmp_path / name), int) for name in ("one/image-0.png", "two/image-1.png"))
    assert np.abs(one - other).max() <= 2


def test_a_key_that_others_may_read_is_refused_before_anything_is_made(run, model, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENCODI_CONFIG", str(tmp_path))
    (tmp_path / "watermark.key").write_text("0" * 64)
    (tmp_path / "watermark.key").chmod(0o644)
    ask = ("generate", "--text", "a rooster", "--to", "image", "--model", model, "--output", tmp_path / "out")
    code, _, err = run(*ask, "--watermark")
    assert code == 2 and "chmod 600" in err and not (tmp_path / "out").exists()
    code, _, err = run(*ask, "--watermark", "--server", "http://127.0.0.1:1")
    assert code == 2 and "opencodi serve" in err
