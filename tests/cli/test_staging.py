"""Folders of results: refused before work where they cannot be, and complete or not there."""

import os
import signal
import subprocess
import sys
from time import time

import pytest

from opencodi.cli.staging import check_output, staged
from opencodi.errors import ArgumentError


@pytest.fixture
def call(run, model):
    return lambda output: run("generate", "--to", "text", "--steps", 1, "--model", model, "--output", output)


def refused(answer: tuple[int, str, str]) -> str:
    code, out, err = answer
    assert (code, out) == (2, "")
    assert err.startswith("error: --output: ") and err.count("\n") == 1
    return err


def test_a_file_on_the_way_is_named_and_stays(call, tmp_path):
    (tmp_path / "taken").write_text("something else")
    for place in ("taken", "taken/deeper"):
        assert "taken is not a folder that can be written to" in refused(call(tmp_path / place))
    assert (tmp_path / "taken").read_text() == "something else"


def test_a_folder_where_a_result_would_be_written_is_refused_and_the_rest_stays(call, tmp_path):
    (tmp_path / "text-0.txt").mkdir()
    (tmp_path / "result.json").write_text("older")
    assert "text-0.txt is a folder, where a result would be written" in refused(call(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["result.json", "text-0.txt"]
    assert (tmp_path / "result.json").read_text() == "older"


@pytest.mark.parametrize("place", ["a" * 300, "new/" + "b" * 300, "/".join(["c" * 200] * 25)], ids=["one", "deeper", "path"])
def test_names_that_are_too_long_are_refused_and_no_folder_is_left(call, tmp_path, place):
    assert "File name too long" in refused(call(tmp_path / place))
    assert not os.listdir(tmp_path)


def test_a_loop_of_links_is_refused(call, tmp_path):
    (tmp_path / "one").symlink_to(tmp_path / "other")
    (tmp_path / "other").symlink_to(tmp_path / "one")
    refused(call(tmp_path / "one"))
    refused(call(tmp_path / "one" / "deeper"))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no /proc")
def test_a_place_where_the_system_makes_no_folders_is_refused(call):
    assert "/proc is not a folder that can be written to" in refused(call("/proc/opencodi/out"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write_is_refused(call, tmp_path):
    tmp_path.chmod(0o500)
    assert "Permission denied" in refused(call(tmp_path / "out"))


def test_checking_leaves_nothing_behind_and_changes_nothing(tmp_path):
    (tmp_path / "here").mkdir()
    check_output(tmp_path / "here", ["image-0.png"])
    check_output(tmp_path / "new" / "deeper", ["image-0.png"])
    assert os.listdir(tmp_path) == ["here"] and not os.listdir(tmp_path / "here")
    with pytest.raises(ArgumentError, match="--output"):
        check_output(tmp_path / "new" / ("d" * 300))
    assert os.listdir(tmp_path) == ["here"]


def test_a_failure_while_writing_leaves_nothing_behind(tmp_path):
    with pytest.raises(RuntimeError), staged(tmp_path / "out") as folder:
        (folder / "image-0.png").write_text("half")
        raise RuntimeError
    assert not list((tmp_path / "out").iterdir())


WRITE_AND_WAIT = """
import sys, time
from pathlib import Path
from time import time
from opencodi.cli.staging import staged
with staged(Path(sys.argv[1])) as folder:
    (folder / "image-0.png").write_text("half")
    print(folder.name, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def writer(tmp_path):
    """Another process that writes into the same folder, waiting; and the name of its temporary folder."""
    started = subprocess.Popen(
        [sys.executable, "-c", WRITE_AND_WAIT, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield started, started.stdout.readline().strip()
    started.kill()
    started.wait()


def test_the_next_run_removes_what_a_killed_one_left(writer, tmp_path):
    other, name = writer
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert os.listdir(tmp_path) == [name]
    os.utime(tmp_path / name, (time() - 10, time() - 10))  # a folder of this moment may not have its lock yet
    with staged(tmp_path) as folder:
        (folder / "text-0.txt").write_text("whole")
    assert os.listdir(tmp_path) == ["text-0.txt"]


def test_a_run_that_still_goes_on_keeps_its_files(writer, tmp_path):
    other, name = writer
    with staged(tmp_path) as folder:
        (folder / "text-0.txt").write_text("whole")
    assert sorted(os.listdir(tmp_path)) == [name, "text-0.txt"]
    other.communicate("\n")
    assert sorted(os.listdir(tmp_path)) == ["image-0.png", "text-0.txt"]
