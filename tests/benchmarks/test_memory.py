"""The memory benchmark, in this process and in one of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tiny

from .conftest import FOLDER


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny.pipeline().save_pretrained(folder)
    return str(folder)


def test_what_a_call_reads_is_counted(model, monkeypatch):
    from memory import measure

    from opencodi.parts.stored import StoredPart

    monkeypatch.setattr(StoredPart, "load", StoredPart.load)  # put back afterwards
    counts = {}
    for outputs in ("image", "image+audio", "video"):
        for offload in ("none", "disk", "group-disk"):
            found = measure(model, outputs, "float32", offload, "cpu", 1)
            assert found["peak"] > 1e7 and found["device_peak"] == 0
            counts.setdefault(outputs, set()).add(found["parameters"])
    assert all(len(count) == 1 for count in counts.values())
    image, joint, video = (counts[outputs].pop() for outputs in ("image", "image+audio", "video"))
    assert image < joint and image <= video


@pytest.mark.slow
def test_the_table_is_markdown_with_a_row_for_each_combination(model, tmp_path):
    """The script imports nothing heavy itself, so its own memory does not count."""
    options = ["--model", model, "--outputs", "image", "--dtype", "float32", "--offload", "disk"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ran = subprocess.run(
        [sys.executable, str(FOLDER / "memory.py"), *options], capture_output=True, text=True, env=environment
    )
    assert ran.returncode == 0, ran.stderr
    titles, rule, libraries, row = ran.stdout.splitlines()
    assert titles == "| outputs | dtype | offload | parameters | seconds | peak memory |"
    assert set(rule) <= set("| -")
    assert libraries.startswith("| (libraries) |")
    assert row.startswith("| image | float32 | disk | ") and row.endswith(" GB |")
    assert Path(model).is_dir()
