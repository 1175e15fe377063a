"""Datasets of the Hugging Face hub, by name: streamed from a server that answers as the hub does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from opencodi.data.prepared import PreparedFolder

from .hub import serving
from .own import caption, picture

datasets = pytest.importorskip("datasets")
NAME = "team/squares"


def prepare(address: str, home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """``opencodi data prepare``; libraries read the hub's address when they are imported, so in a process of its own."""
    variables = {"HF_ENDPOINT": address, "HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0"}
    return subprocess.run(
        [sys.executable, "-m", "opencodi", "data", "prepare", *arguments],
        env={**os.environ, **variables, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )


def write_files(root: Path) -> None:
    """Pictures as files, and a table that names them, one folder for each split."""
    for split, numbers in (("train", range(3)), ("validation", range(3, 5)), ("test", range(5, 6))):
        (root / split).mkdir(parents=True)
        for number in numbers:
            picture(number).save(root / split / f"{number}.png")
        rows = [{"file_name": f"{number}.png", "text": caption(number)} for number in numbers]
        (root / split / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))


def write_parquet(root: Path) -> None:
    """Pictures within tables, as most datasets of the hub are."""
    (root / "data").mkdir(parents=True)
    features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
    for split, numbers in (("train", range(3)), ("validation", range(3, 5)), ("test", range(5, 6))):
        rows = {"image": [picture(number) for number in numbers], "caption": [caption(number) for number in numbers]}
        made = datasets.Dataset.from_dict(rows, features=features)
        made.to_parquet(str(root / "data" / f"{split}-00000-of-00001.parquet"))


@pytest.mark.parametrize("write", [write_files, write_parquet])
def test_a_dataset_of_the_hub_is_streamed_by_its_name(write, tmp_path):
    write(tmp_path / "repository")
    with serving(NAME, tmp_path / "repository") as (address, asked):
        ran = prepare(address, tmp_path, NAME, "--output", str(tmp_path / "out"))
    assert ran.returncode == 0, ran.stderr[-2000:]
    folder = PreparedFolder(tmp_path / "out")
    assert [record["text"] for record in folder.records] == [[caption(number)] for number in range(5)]
    assert folder.held == [False] * 3 + [True] * 2  # and the split test is left out
    assert all(np.array_equal(np.asarray(folder.media(n, "image")), np.asarray(picture(n))) for n in range(5))
    assert any(f"/datasets/{NAME}/resolve/" in question for question in asked)


def test_a_dataset_that_is_not_there_and_a_split_that_it_lacks_are_one_sentence(tmp_path):
    write_files(tmp_path / "repository")
    with serving(NAME, tmp_path / "repository") as (address, _):
        unknown = prepare(address, tmp_path, "team/circles", "--output", str(tmp_path / "out"))
        lacking = prepare(address, tmp_path, NAME, "--split", "dev", "--output", str(tmp_path / "out"))
    assert unknown.returncode == lacking.returncode == 2
    assert unknown.stderr == (
        f"error: team/circles: there is no such file or folder, and {address} shows no dataset of that name; check it, or log "
        "in with hf auth login if it is closed\n"
    )
    assert lacking.stderr == f"error: --split: {NAME} has no split 'dev'; it has train, validation, test\n"


@pytest.mark.parametrize("offline", ["0", "1"])
def test_a_hub_that_cannot_be_reached_is_one_sentence(offline, tmp_path):
    address = "http://127.0.0.1:9"  # nobody answers there
    ran = prepare(address, tmp_path, NAME, "--output", str(tmp_path / "out"), HF_HUB_OFFLINE=offline)
    assert ran.returncode == 2 and ran.stderr.count("\n") == 1
    assert ran.stderr.startswith(
        f"error: {NAME}: there is no such file or folder, and {address} cannot be reached to look for a dataset of that name ("
    )
    assert not (tmp_path / "out").exists()
