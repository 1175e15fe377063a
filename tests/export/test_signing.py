"""Stickers with credentials still keep the bytes that an app takes."""

import numpy as np
import pytest

from opencodi.export.encode import encode
from opencodi.export.signing import Signer
from opencodi.export.targets import FileRule
from opencodi.media import write_image
from opencodi.trust import Statement, Verdict, prepare, sign, verify

from .. import tiny


@pytest.fixture
def source(tmp_path):
    """A picture that was made here."""
    write_image(tiny.media()["image"], tmp_path / "image-0.png")
    sign(tmp_path / "image-0.png", Statement("tiny"))
    return tmp_path / "image-0.png"


@pytest.mark.parametrize("kind", ["webp", "png", "webm"])
def test_credentials_count_among_the_bytes(source, tmp_path, kind):
    frames = np.random.default_rng(0).integers(0, 255, (4 if kind == "webm" else 1, 128, 128, 4), dtype=np.uint8)
    size = len(encode(frames, 8.0, FileRule(kind, 128, 10**7, max_seconds=3, max_fps=30)))
    rule = FileRule(kind, 128, size + 100, max_seconds=3, max_fps=30)  # enough without credentials
    path = tmp_path / f"sticker.{kind}"
    assert Signer(prepare()).write(path, frames, 8.0, rule, source)
    assert path.stat().st_size <= rule.max_bytes
    found = verify(path)
    assert found.verdict == Verdict.GENERATED and found.credentials.generation["model"]["name"] == "tiny"


def test_a_changed_or_unsigned_source_is_not_vouched_for(source, tmp_path):
    frames = np.zeros((1, 32, 32, 4), np.uint8)
    rule = FileRule("webp", 32, 10**6)
    assert not Signer(prepare(False)).write(tmp_path / "a.webp", frames, 1.0, rule, source)
    assert not Signer(prepare()).write(tmp_path / "a.webp", frames, 1.0, rule, None)
    content = bytearray(source.read_bytes())
    content[-20] ^= 1
    source.write_bytes(content)
    assert not Signer(prepare()).write(tmp_path / "a.webp", frames, 1.0, rule, source)
    assert verify(tmp_path / "a.webp").credentials is None
