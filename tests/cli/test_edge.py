"""The edge: streams that are full, closed or ASCII only, names that are no UTF-8, errors of the system, Ctrl-C."""

import errno
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import soundfile

from opencodi.cli.edge import describe, one_line, shown
from opencodi.media.partial import partial_folder

CALL = ["generate", "--to", "text", "--text", "a rooster", "--steps", "1", "--seed", "1", "--device", "cpu"]


@pytest.fixture
def full():
    """A standard output on a full disk."""
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    with open("/dev/full", "w") as stream:
        yield stream


def test_results_stand_when_standard_output_is_full(process, model, tmp_path, full):
    ran = process(*CALL, "--model", model, "--output", tmp_path, stdout=full)
    assert ran.returncode == 0
    assert ran.stderr.startswith("warning: standard output cannot be written") and ran.stderr.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == ["result.json", "text-0.c2pa", "text-0.txt"]


SHOW = """
import sys
from pathlib import Path
from opencodi.cli.common import show_files
from opencodi.cli.edge import flush, prepare_streams
prepare_streams()
show_files(Path(sys.argv[1]), ["text-0.txt", "image-0.png"])
flush()
"""


def test_nothing_is_said_when_nobody_reads_standard_output_or_it_is_closed(tmp_path):
    command = [sys.executable, "-c", SHOW, str(tmp_path)]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        gone = subprocess.run(command, stdout=stream, stderr=subprocess.PIPE, text=True)
    closed = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True)
    no_errors = subprocess.run(["sh", "-c", '"$@" 2>&-', "sh", *command], stdout=subprocess.PIPE, text=True)
    assert (gone.returncode, gone.stderr) == (closed.returncode, closed.stderr) == (0, "")
    assert (no_errors.returncode, no_errors.stdout.count("\n")) == (0, 2)


def test_names_are_escaped_where_the_terminal_knows_only_ascii(tmp_path):
    command = [sys.executable, "-c", SHOW, str(tmp_path / "ü")]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    ran = subprocess.run(command, env={**os.environ, "PYTHONIOENCODING": "ascii"}, **options)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[0] == rf"{tmp_path}/\xfc/text-0.txt"


@pytest.mark.parametrize("arguments", [["--help"], ["models"], ["generate", "--help"]], ids=" ".join)
def test_a_command_that_only_prints_says_when_it_cannot(process, full, arguments):
    ran = process(*arguments, stdout=full)
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: ") and ran.stderr.count("\n") == 1 and "space" in ran.stderr
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        ran = process(*arguments, stdout=stream)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="every file name is Unicode there")
def test_file_names_that_are_no_utf8_can_be_read_and_written(run, model, files, tmp_path):
    name, out = os.fsdecode(b"caf\xe9.png"), tmp_path / os.fsdecode(b"r\xe9sum\xe9")
    shutil.copy(files["image"], tmp_path / name)
    code, printed, err = run(*CALL, "--image", tmp_path / name, "--model", model, "--output", out)
    assert (code, err) == (0, "")
    assert printed.strip().endswith(r"r\xe9sum\xe9/text-0.txt")
    assert json.loads((out / "result.json").read_text())["inputs"]["image"][0].endswith(r"caf\xe9.png")
    code, _, err = run(*CALL, "--image", tmp_path / os.fsdecode(b"n\xf6.png"), "--model", model, "--output", out)
    assert code == 2 and "there is no such file" in err


def test_a_file_that_cannot_be_written_goes_by_its_own_name(tmp_path):
    with partial_folder(tmp_path) as stage, partial_folder(stage) as inner:
        message = one_line(f"{inner / 'text-0.txt'}: cannot be written")
    assert message == f"{tmp_path / 'text-0.txt'}: cannot be written"
    assert one_line("a.partial-file/x: is damaged") == "a.partial-file/x: is damaged"


def test_shown_paths_can_always_be_stored():
    assert shown(os.fsdecode(b"caf\xe9")) == r"caf\xe9"
    assert shown("kü") == "kü"


@pytest.mark.parametrize(
    ("error", "says", "code"),
    [
        (OSError(errno.ENOSPC, "x", "out/a.png"), "out/a.png: no space left on device; free some space", 2),
        (OSError(errno.EMFILE, "x"), "too many open files; close other programs", 2),
        (BlockingIOError(errno.EAGAIN, "x"), "the system allows no further process", 2),
        (PermissionError(errno.EACCES, "x", b"caf\xe9"), r"caf\xe9: permission denied; check that you may", 2),
        (soundfile.LibsndfileError(2), "a sound cannot be written or read", 2),
        (MemoryError(), "there is not enough memory", 2),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "there is not enough memory", 2),
        (ZeroDivisionError("division by zero"), "unforeseen: ZeroDivisionError: division by zero", 1),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_errors_of_the_system_are_told_in_a_line(error, says, code):
    line, found = describe(error)
    assert says in line and "\n" not in line
    assert found == code


@pytest.mark.parametrize("seconds", [0.6, 2.0])
def test_ctrl_c_is_one_line_and_leaves_nothing(tmp_path, seconds):
    command = [sys.executable, "-m", "opencodi", "generate", "--to", "all", "--text", "a dog", "--steps", "500"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = subprocess.Popen([*command, "--output", str(tmp_path / "out")], **streams)
    time.sleep(seconds)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (out, err) == ("", "stopped\n")
    assert running.returncode in (130, -signal.SIGINT)  # a shell calls both 130
    assert not os.path.exists(tmp_path / "out")


def test_the_bar_and_the_report_count_the_steps_of_a_text_that_nobody_asked_for(tmp_path, files):
    """The shipped model names what a picture shows in a hidden text before it makes another of it."""
    terminal, stream = pty.openpty()
    command = [sys.executable, "-m", "opencodi", "generate", "--image", files["image"], "--to", "image"]
    options = {"env": {**os.environ, "TERM": "xterm", "COLUMNS": "120"}, "stdout": subprocess.PIPE, "stderr": stream}
    running = subprocess.Popen([*command, "--output", str(tmp_path), "--steps", "3", "--device", "cpu"], **options)
    os.close(stream)
    printed = b""
    while chunk := _read(terminal):
        printed += chunk
    assert running.wait() == 0
    running.stdout.close()
    os.close(terminal)
    counts = [(int(done), int(total)) for done, total in re.findall(rb"(\d+)/(\d+)", printed)]
    report = json.loads((tmp_path / "result.json").read_text())
    assert list(report["settings"]["steps"]) == ["text", "image"]
    assert report["settings"]["steps"]["image"] == 3 and report["settings"]["guidance"].keys() == {"text", "image"}
    assert counts[-1][0] == counts[-1][1]
    assert all(done <= total for done, total in counts)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so when the other end is closed
        return b""
