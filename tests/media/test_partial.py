"""Files appear whole or not at all, and what a killed run leaves is cleaned by the next."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opencodi.errors import MediaError
from opencodi.media import write
from opencodi.media.files import replacing, staged
from opencodi.media.partial import sweep
from opencodi.output import AnyToAnyOutput

from .samples import picture, tone

pytestmark = pytest.mark.skipif(os.name != "posix", reason="locks")


def killed_while(code: str, folder: Path) -> list[str]:
    """Names in a folder after a run was killed inside the block that `code` opens."""
    program = f"""
import os, signal, sys
from opencodi.media.files import replacing, staged
folder = sys.argv[1]
{code}
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program, str(folder)], check=False)
    assert done.returncode == -signal.SIGKILL
    return os.listdir(folder)


@pytest.mark.parametrize(
    "code",
    [
        "with replacing(folder + '/a.png', ('.png',)) as file:\n    file.write_bytes(b'half')",
        "with staged(folder) as stage:\n    (stage / 'a.png').write_bytes(b'half')",
        "with staged(folder) as stage, replacing(stage / 'a.png', ('.png',)) as file:\n    file.write_bytes(b'half')",
    ],
    ids=["a file", "a folder", "a file in a folder"],
)
def test_what_a_killed_run_left_is_gone_after_the_next(tmp_path, code):
    (left,) = killed_while(code, tmp_path)
    assert left.startswith(".partial-")
    time.sleep(2.1)  # a leftover that young might have been made this very moment
    assert sweep(tmp_path) == [tmp_path / left]
    assert os.listdir(tmp_path) == []


def test_the_next_run_sweeps_by_itself(tmp_path):
    killed_while("with staged(folder) as stage:\n    (stage / 'a.png').write_bytes(b'half')", tmp_path)
    time.sleep(2.1)
    write("image", picture(), tmp_path / "b.png")
    assert os.listdir(tmp_path) == ["b.png"]


def test_what_is_still_being_written_stays(tmp_path):
    with staged(tmp_path) as stage, replacing(tmp_path / "b.txt", (".txt",)) as file:
        for place in (stage, file):
            os.utime(place, (0, 0))
        assert sweep(tmp_path) == []
        (stage / "a.txt").write_text("a")
        file.write_text("b")
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b.txt"]


def test_what_is_not_ours_stays(tmp_path):
    names = [".partial-model", ".partial-0123456789abX", "partial-0123456789ab", ".hidden"]
    for name in names:
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / ".partial-0123456789ab").symlink_to(tmp_path)
    assert sweep(tmp_path) == []
    assert len(os.listdir(tmp_path)) == 5


def test_results_are_saved_all_or_none(tmp_path):
    (tmp_path / "audio-0.wav").mkdir()
    (tmp_path / "image-0.png").write_bytes(b"of before")
    with pytest.raises(MediaError, match=r"audio-0\.wav: is a folder"):
        AnyToAnyOutput({"image": [picture()], "audio": [tone(0.1)]}).save(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["audio-0.wav", "image-0.png"]
    assert (tmp_path / "image-0.png").read_bytes() == b"of before"
    files = AnyToAnyOutput({"image": [picture(), picture()]}).save(tmp_path / "new" / "folder")
    assert [file.name for file in files] == ["image-0.png", "image-1.png"] and all(file.is_file() for file in files)
