"""What holds at the door for every modality, and that a failed write leaves nothing behind."""

import os
import subprocess
import sys
from itertools import permutations

import numpy as np
import pytest

from opencodi.errors import ArgumentError, EmptyFile, MediaError, MissingFile, OverLimit, WrongKind
from opencodi.media import Limits, image, read, write
from opencodi.modality import MODALITIES, Modality

from .samples import clip, picture, tone

MEDIA = {Modality.TEXT: "a rooster", Modality.IMAGE: picture(), Modality.VIDEO: clip(4), Modality.AUDIO: tone(0.5)}
everything = pytest.mark.parametrize("modality", list(Modality))


def path_for(modality, folder, name="a"):
    return folder / f"{name}{MODALITIES[modality].write_suffix}"


def test_every_modality_can_be_read_and_written():
    assert all(record.read and record.write for record in MODALITIES.values())


@everything
def test_one_way_in_and_out_for_all(tmp_path, modality):
    write(modality, MEDIA[modality], path_for(modality, tmp_path))
    assert isinstance(read(modality, path_for(modality, tmp_path)), MODALITIES[modality].media_type())
    assert isinstance(read(modality.value, str(path_for(modality, tmp_path))), MODALITIES[modality].media_type())


@everything
def test_missing_empty_and_large_files_are_told_apart(tmp_path, modality):
    path = path_for(modality, tmp_path)
    with pytest.raises(MissingFile, match="there is no such file"):
        read(modality, path)
    with pytest.raises(FileNotFoundError):  # as every Python programmer would catch it
        read(modality, path)
    path.write_bytes(b"")
    with pytest.raises(EmptyFile, match="has no bytes"):
        read(modality, path)
    path.unlink()
    path.mkdir()
    with pytest.raises(MissingFile, match="folder"):
        read(modality, path)
    path.rmdir()
    write(modality, MEDIA[modality], path)
    with pytest.raises(OverLimit, match="bytes, the limit is 5"):
        read(modality, path, Limits(max_bytes=5))


@everything
def test_a_name_no_file_system_takes_is_missing(tmp_path, modality):
    with pytest.raises(MissingFile):
        read(modality, tmp_path / ("a" * 300))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes")
@everything
def test_a_pipe_does_not_make_the_reader_wait(tmp_path, modality):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MissingFile, match="device"):
        read(modality, tmp_path / "pipe")


@pytest.mark.parametrize(("given", "wanted"), list(permutations(Modality, 2)))
def test_a_file_of_another_modality_is_of_the_wrong_kind(tmp_path, given, wanted):
    path = path_for(given, tmp_path)
    write(given, MEDIA[given], path)
    with pytest.raises(WrongKind, match=r"a\.\w+: "):
        read(wanted, path)


@everything
def test_writing_replaces_a_file_and_leaves_no_other(tmp_path, modality):
    path = path_for(modality, tmp_path)
    path.write_bytes(b"old")
    write(modality, MEDIA[modality], path)
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() != b"old"


@everything
def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path, modality):
    path = path_for(modality, tmp_path)
    path.write_bytes(b"old")
    with pytest.raises(ArgumentError):
        write(modality, object(), path)
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() == b"old"


@everything
def test_an_unknown_ending_a_missing_folder_and_a_folder_are_refused(tmp_path, modality):
    with pytest.raises(WrongKind, match=r"cannot be written as '\.xyz', use \."):
        write(modality, MEDIA[modality], tmp_path / "a.xyz")
    with pytest.raises(WrongKind, match="without ending"):
        write(modality, MEDIA[modality], tmp_path / "a")
    with pytest.raises(MissingFile, match="its folder does not exist"):
        write(modality, MEDIA[modality], path_for(modality, tmp_path / "nowhere"))
    path_for(modality, tmp_path).mkdir()
    with pytest.raises(MediaError, match="is a folder"):
        write(modality, MEDIA[modality], path_for(modality, tmp_path))


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_written_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "plain").write_text("")
    write(Modality.IMAGE, picture(), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "plain").stat().st_mode


@everything
def test_names_with_spaces_and_other_alphabets_work(tmp_path, modality):
    path = path_for(modality, tmp_path, name="ein Hahn 🐓 %d #1")
    write(modality, MEDIA[modality], path)
    assert isinstance(read(modality, path), MODALITIES[modality].media_type())


def test_a_relative_name_is_found_from_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Modality.VIDEO, clip(4), "a.mp4")
    assert len(read(Modality.VIDEO, "a.mp4").frames) == 4


def test_importing_media_loads_no_torch():
    code = "import opencodi.media, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_suffixes_said_to_be_written_are_written(tmp_path):
    from opencodi.media import audio, text, video

    written = {Modality.TEXT: text, Modality.IMAGE: image, Modality.VIDEO: video, Modality.AUDIO: audio}
    for modality, module in written.items():
        assert MODALITIES[modality].write_suffix in module.WRITE_SUFFIXES
        for suffix in module.WRITE_SUFFIXES:
            write(modality, MEDIA[modality], tmp_path / f"a{suffix}")
            assert np.size(list((tmp_path / f"a{suffix}").read_bytes())) > 5
