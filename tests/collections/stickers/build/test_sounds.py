"""Sounds and speech of the stickers collection, from waves made here."""

import struct
import zlib

import numpy as np
import pytest
import soundfile

from opencodi.collections.stickers.build.recordings import cut, unpack_resources
from opencodi.collections.stickers.build.soundfonts import notes_of
from opencodi.collections.stickers.build.speech import spoken, tidy
from opencodi.collections.stickers.build.waves import encode_opus, read_wave


def test_sounds_are_trimmed_and_cut_into_loud_pieces():
    rng = np.random.default_rng(0)
    silence, noise = np.zeros(8000, np.float32), rng.normal(0, 0.1, 30_000).astype(np.float32)
    pieces = cut(np.concatenate([silence, noise, silence]))
    assert len(pieces[0]) == 24_000 and all(np.abs(p).max() <= 0.8001 for p in pieces)
    assert np.abs(pieces[0][:400]).max() > 0.1, "silence before the sound is gone"
    assert cut(silence) == [] and len(cut(np.tile(noise, 9))) == 4


def test_equal_sounds_are_equal_bytes_and_readable(tmp_path):
    tone = (0.5 * np.sin(np.arange(16_000) * 0.1)).astype(np.float32)
    first, second = encode_opus(tone, 0.9), encode_opus(tone, 0.9)
    assert first == second
    (tmp_path / "a.ogg").write_bytes(first)
    read, rate = soundfile.read(tmp_path / "a.ogg")
    assert rate == 16_000 and np.abs(read - tone)[1000:-1000].max() < 0.1
    again = read_wave(tmp_path / "a.ogg")
    assert abs(len(again) - 16_000) < 700 and 0.4 < np.abs(again).max() < 0.6
    (tmp_path / "b.ogg").write_bytes(b"no sound")
    assert len(read_wave(tmp_path / "b.ogg")) == 0


def test_every_soundfont_plays_what_it_has():
    sounds = {
        "instruments": {"🎸": [[0, 24], [8, 25]]},
        "drums": {"🥁": [35]},
        "effects": {"🌊": [[0, 122]]},
        "gs_effects": {"🚪": [[2, 124]]},
    }
    full, small, effects = (
        notes_of(name, sounds) for name in ("fluid-soundfont-gm", "timgm6mb-soundfont", "fluid-soundfont-gs")
    )
    assert {note.bank for note in full} == {0, 8, 128} and {note.bank for note in small} == {0, 128}
    assert [(note.emoji, note.kind, note.bank, note.program) for note in effects] == [("🚪", "effect", 2, 124)]


def test_resource_files_are_unpacked_plain_and_deflated(tmp_path):
    """The root folder holds one folder that holds two files."""
    names, offsets = b"", []
    for name in ("sounds", "a.ogg", "b.ogg"):
        offsets.append(len(names))
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    packed = struct.pack(">I", 5) + zlib.compress(b"bytes")
    data = struct.pack(">I", 3) + b"abc" + struct.pack(">I", len(packed)) + packed
    tree = struct.pack(">IHII", 0, 2, 1, 1) + struct.pack(">IHII", offsets[0], 2, 2, 2)
    tree += struct.pack(">IHHHI", offsets[1], 0, 0, 0, 0) + struct.pack(">IHHHI", offsets[2], 1, 0, 0, 7)
    head = b"qres" + struct.pack(">4I", 1, 20, 20 + len(tree), 20 + len(tree) + len(data))
    (tmp_path / "x.rcc").write_bytes(head + tree + data + names)
    files = unpack_resources(tmp_path / "x.rcc", tmp_path / "out")
    assert {str(file.relative_to(tmp_path / "out")): file.read_bytes() for file in files} == {
        "sounds/a.ogg": b"abc",
        "sounds/b.ogg": b"bytes",
    }


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Japanese “free of charge” button", "Japanese free of charge button"),
        ("keycap: *", ""),
        ("hot dog (food)", "hot dog"),
        ("woman’s hat", "woman's hat"),
        ("salt & pepper", "salt and pepper"),
    ],
)
def test_names_are_spoken_without_signs(name, said):
    assert spoken(name) == said


def test_speech_is_trimmed_and_levelled():
    wave = np.zeros(16_000, np.float32)
    wave[6000:9000] = 0.1 * np.sin(np.arange(3000) * 0.3)
    tidied = tidy(wave, 16_000)
    assert 3000 < len(tidied) < 4500 and np.abs(tidied).max() == pytest.approx(0.7, abs=1e-3)
    assert tidy(np.zeros(1000, np.float32), 16_000) is None
