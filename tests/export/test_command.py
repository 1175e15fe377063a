"""`opencodi export`, and the table in the documentation."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opencodi.export import table
from opencodi.media import write_image

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    picture = np.full((16, 16, 3), 255, np.uint8)
    picture[4:12, 4:12] = (200, 0, 0)
    write_image(Image.fromarray(picture), tmp_path / "red_apple.png")
    return tmp_path


def test_packs_for_all_apps_in_one_go(run, folder):
    code, out, err = run("export", folder, "--for", "all", "--title", "Fruit")
    assert code == 0
    files = [Path(line) for line in out.splitlines()]
    assert all(file.is_file() for file in files)
    assert {file.parent.name for file in files} == {"telegram", "whatsapp", "discord"}
    assert "note: WhatsApp takes packs of at least 3 stickers" in err
    listed = json.loads((folder / "stickers/telegram/pack.json").read_text())
    assert (listed["title"], listed["stickers"][0]["emoji"]) == ("Fruit", ["🍎"])
    # What was exported is not taken for a source the next time
    run("export", folder, "--for", "telegram")
    assert len(json.loads((folder / "stickers/telegram/pack.json").read_text())["stickers"]) == 1


def test_bad_input_is_one_line_and_leaves_nothing(run, folder):
    for arguments, words in (
        ((folder, "--for", "signal"), "unknown app 'signal'; choose from telegram, whatsapp, discord, or all"),
        ((folder / "none", "--for", "all"), "is not a folder"),
        ((folder, "--for", "all", "--output", folder / "red_apple.png"), "red_apple.png"),
    ):
        code, out, err = run("export", *arguments)
        assert (code, out) == (2, "")
        assert words in err and err.count("\n") == 1
    assert sorted(path.name for path in folder.iterdir()) == ["red_apple.png"]


def test_the_documentation_shows_the_table_that_exports_keep():
    assert table() in (ROOT / "docs/export.md").read_text()
