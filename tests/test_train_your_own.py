"""The tutorial runs as it stands, from a folder of files to a generated picture."""

import re
import runpy
import shlex
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opencodi.cli import main

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "train-your-own.md").read_text(encoding="utf-8")


def run(line, monkeypatch):
    """A line of the page; Python runs in this process, which has imported everything already."""
    words = shlex.split(line)
    if words[0] not in ("python", "opencodi"):
        subprocess.run(words, check=True)
        return
    with pytest.raises(SystemExit) if words[0] == "opencodi" else nullcontext() as stop:
        if words[0] == "opencodi":
            main(words[1:])
        elif words[1] == "-m":
            monkeypatch.setattr(sys, "argv", words[2:])
            runpy.run_module(words[2], run_name="__main__")
        else:
            monkeypatch.setattr(sys, "argv", words[1:])
            runpy.run_path(words[1], run_name="__main__")
    assert stop is None or stop.value.code == 0, line


@pytest.mark.slow
def test_from_a_folder_to_a_picture(tmp_path, monkeypatch):
    for name in ("examples", "recipes", "src"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    lines = [
        line
        for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
        for line in block.splitlines()
    ]
    assert len(lines) > 8
    for line in lines:
        run(line, monkeypatch)
    pixels = np.asarray(Image.open("out/image-0.png").convert("RGB"), float)
    middle, corner = pixels[24:40, 24:40].mean((0, 1)), pixels[:6, :6].mean((0, 1))
    assert middle[0] > middle[1] + 40 and middle[0] > middle[2] + 40, middle  # red
    assert corner.min() > 180, corner  # on white
    assert Path("gallery.html").read_text().count("<article>") == 40
