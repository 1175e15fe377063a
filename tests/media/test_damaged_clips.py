"""Broken clips, really broken: the interpreter survives, and what comes out is a clip or a typed error."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from opencodi.errors import (
    DamagedFile,
    DecoderCrash,
    EmptyFile,
    MediaError,
    MissingFile,
    OverLimit,
    SystemFailure,
    WrongKind,
)
from opencodi.media import Limits, Video, decoding, read_audio, read_video, write_video

from .samples import clip, cut, encode, tone


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    """The bytes of one whole clip per container, each with sound where it can be."""
    folder = tmp_path_factory.mktemp("whole")
    video = clip(16, audio=tone(2.0))
    for name in ("a.mp4", "a.gif", "a.webp"):
        write_video(video, folder / name)
    encode(folder / "a.webm", video, tone(2.0, 48_000).samples[:, None])
    encode(folder / "late.mov", video)  # without faststart: the index comes last
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("keep", [0.001, 0.5, 0.99])
@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.webp", "a.webm", "late.mov"])
def test_a_truncated_clip_is_damaged(tmp_path, whole, name, keep):
    (tmp_path / name).write_bytes(whole[name])
    cut(tmp_path / name, keep)
    with pytest.raises((DamagedFile, WrongKind) if keep == 0.001 else DamagedFile, match=name):
        read_video(tmp_path / name)


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.webp", "a.webm", "a.mov"])
def test_zero_bytes_a_text_and_noise_named_like_a_clip(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"")
    with pytest.raises(EmptyFile, match="no bytes"):
        read_video(path)
    path.write_text("this is not a film, only a sentence about one\n" * 20)
    with pytest.raises(WrongKind, match="give a clip"):
        read_video(path)
    path.write_bytes(np.random.default_rng(0).bytes(5_000))
    with pytest.raises(MediaError):
        read_video(path)


@pytest.mark.parametrize("seed", range(15))
def test_random_corruption_gives_a_clip_or_a_typed_error(tmp_path, whole, seed):
    """Bytes flipped anywhere: in headers, index, pictures and sound."""
    random = np.random.default_rng(seed)
    name = ("a.mp4", "a.mp4", "a.mp4", "a.webm", "a.gif")[seed % 5]
    content = bytearray(whole[name])
    for place in random.integers(16, len(content), size=2 ** (seed % 7)):
        content[place] = random.integers(0, 256)
    (tmp_path / name).write_bytes(content)
    try:
        video = read_video(tmp_path / name, Limits(timeout_seconds=60))
    except MediaError as error:
        assert name in str(error)
    else:
        assert isinstance(video, Video)


def test_a_hole_in_the_pictures_is_noticed(tmp_path, whole):
    content = bytearray(whole["a.mp4"])
    start = content.find(b"mdat") + 1_000
    content[start : start + 4_000] = bytes(4_000)
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(DamagedFile, match=r"a\.mp4"):
        read_video(tmp_path / "a.mp4")


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_crash_of_the_decoder_is_not_ours(tmp_path, whole, monkeypatch):
    """A real child that really dies of a segmentation fault, in place of one that meets a fatal file."""
    (tmp_path / "crash.py").write_text(f"import os; os.close(2); os.kill(os.getpid(), {int(signal.SIGSEGV)})")
    monkeypatch.setattr(decoding, "_WORKER", tmp_path / "crash.py")
    (tmp_path / "a.mp4").write_bytes(whole["a.mp4"])
    with pytest.raises(DecoderCrash, match=r"crashed the decoder .SIGSEGV."):
        read_video(tmp_path / "a.mp4")


def test_a_decoder_that_hangs_is_stopped(tmp_path, whole):
    (tmp_path / "a.mp4").write_bytes(whole["a.mp4"])
    with pytest.raises(OverLimit, match=r"more than 0\.001 s"):
        read_video(tmp_path / "a.mp4", Limits(timeout_seconds=0.001))


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_crash_before_the_file_is_read_does_not_blame_it(tmp_path, whole, monkeypatch):
    (tmp_path / "crash.py").write_text(f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})")
    monkeypatch.setattr(decoding, "_WORKER", tmp_path / "crash.py")
    (tmp_path / "a.mp4").write_bytes(whole["a.mp4"])
    with pytest.raises(SystemFailure, match=r"SIGSEGV.*memory"):
        read_video(tmp_path / "a.mp4")


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.flac"])
@pytest.mark.parametrize("megabytes", [20, 150, 200, 225, 250])
def test_a_decoder_that_asks_for_too_much_memory_gets_none(tmp_path, name, megabytes):
    """At each of these sizes something else fails first: a library, a codec, a thread or a frame."""
    if name == "a.flac":
        soundfile.write(tmp_path / name, tone(1.0).samples, 16_000)
    else:
        write_video(clip(8, size=(1_280, 720) if name == "a.mp4" else (64, 64)), tmp_path / name)
    read = read_audio if name == "a.flac" else read_video
    try:
        read(tmp_path / name, Limits(max_decoder_bytes=megabytes * 2**20))
    except OverLimit as error:
        assert "memory" in str(error)
    except DecoderCrash as error:  # some codecs do not look whether they were given any
        assert name == "a.mp4" and "make it smaller" in str(error)
    else:
        assert megabytes > 150  # how much the libraries take differs from machine to machine


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
@pytest.mark.parametrize("megabytes", [5, 30, 90, 140, 170, 185])
def test_a_system_without_memory_is_named(tmp_path, whole, monkeypatch, megabytes):
    """As `ulimit -v` does, while the program starts or its libraries are loaded."""
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nulimit -v {megabytes * 1024}\nexec "{sys.executable}" "$@"\n')
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    (tmp_path / "a.mp4").write_bytes(whole["a.mp4"])
    try:
        read_video(tmp_path / "a.mp4")
    except SystemFailure as error:
        assert "memory" in str(error)
    else:
        assert megabytes > 90


def test_a_machine_without_a_decoder_does_not_blame_the_file(tmp_path, whole, monkeypatch):
    (tmp_path / "broken.py").write_text("import no_such_library")
    monkeypatch.setattr(decoding, "_WORKER", tmp_path / "broken.py")
    (tmp_path / "a.mp4").write_bytes(whole["a.mp4"])
    with pytest.raises(MediaError, match="No module named 'no_such_library'") as caught:
        read_video(tmp_path / "a.mp4")
    assert not isinstance(caught.value, DamagedFile)


def test_nothing_is_left_in_the_temporary_folder(tmp_path, whole, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "a.mp4").write_bytes(whole["a.mp4"])
    read_video(tmp_path / "a.mp4")
    with pytest.raises(OverLimit):
        read_video(tmp_path / "a.mp4", Limits(max_frames=2))
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_child_loads_no_torch_and_nothing_of_ours(tmp_path, whole):
    """Its start is paid for every clip, and it must run wherever the package lies."""
    probe = (
        "import sys, decoders; decoders.load({'kind': 'mp4', 'libsndfile': False});"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'opencodi', 'soundfile', 'scipy'}))"
    )
    worker = Path(decoding.__file__).with_name("worker")
    environment = os.environ | {"PYTHONPATH": str(worker)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", probe], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "[]"


def test_a_list_of_other_files_is_not_followed(tmp_path):
    """FFmpeg would open what a playlist names; nothing but the containers we name is parsed."""
    (tmp_path / "a.mp4").write_text("#EXTM3U\n#EXTINF:1,\n/etc/hostname\n")
    with pytest.raises(WrongKind):
        read_video(tmp_path / "a.mp4")
    with pytest.raises(WrongKind):
        read_audio(tmp_path / "a.mp4")


def test_a_folder_or_nothing_in_place_of_a_clip(tmp_path):
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(MissingFile, match="folder"):
        read_video(tmp_path / "a.mp4")
    with pytest.raises(MissingFile, match="no such file"):
        read_video(tmp_path / "b.mp4")
