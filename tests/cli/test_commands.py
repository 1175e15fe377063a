"""The commands as a whole: help, version, ``models`` and ``train``."""

import json
import resource
from pathlib import Path

import pytest

from .. import tiny
from ..training.tiny_recipes import DATA, shrink

COMMANDS = ["generate", "train", "evaluate", "models", "reconstruct", "data", "convert"]
NESTED = ["data build", "data check", "convert codi", "convert stable-diffusion"]


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_takes_less_than_a_second_of_computing(process):
    before = processor_seconds()
    ran = process("--help")
    assert ran.returncode == 0
    assert all(name in ran.stdout for name in COMMANDS)
    assert processor_seconds() - before < 1.0


@pytest.mark.parametrize("command", [*COMMANDS, *NESTED])
def test_every_command_explains_itself(run, command):
    code, out, err = run(*command.split(), "--help")
    assert (code, err) == (0, "")
    assert "Usage: opencodi " + command in out
    # Every option says what it is for
    described = [line for line in out.splitlines() if line.startswith("│") and " --" in line]
    assert described and all(len(line.strip("│ *").split()) > 3 for line in described)


def test_without_arguments_there_is_help_and_with_version_the_version(run):
    assert run()[0] == 0
    assert "generate" in run()[1]
    assert run("--version") == (0, "opencodi 0.1.0\n", "")


def test_models_lists_what_is_installed_and_the_parts_of_one(run, model, monkeypatch):
    monkeypatch.setenv("OPENCODI_MODELS", str(Path(model).parent))
    monkeypatch.setenv("COLUMNS", "250")  # paths of temporary folders are long
    code, out, _ = run("models")
    assert code == 0
    (row,) = [line for line in out.splitlines() if line.split()[:1] == ["tiny"]]
    assert " M" in row and " MB" in row and model in row
    _, parts, _ = run("models", "tiny")
    assert all(name in parts for name in tiny.components())
    assert "FlatUNet" in parts and "guidance_interval" not in parts


def test_train_runs_a_recipe_and_prints_its_last_measures(run, tmp_path):
    recipe = shrink("image_autoencoder", tmp_path)
    code, out, _ = run("train", recipe, "--data", DATA, "--device", "cpu")
    assert code == 0
    (psnr,) = [float(line.split()[1]) for line in out.splitlines() if line.split()[:1] == ["psnr"]]
    summary = tmp_path / "model" / "training" / "image_autoencoder" / "summary.json"
    assert psnr == pytest.approx(json.loads(summary.read_text())["psnr"], rel=1e-3)
    assert "on validation items" in out
