"""What is left of a run when weights blow up, files are damaged, the disk is full or the process is killed."""

import io
import json
import os
import resource
import shutil
import signal
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from opencodi.cli import main
from opencodi.errors import TrainingError
from opencodi.training.checkpoint import find_checkpoints
from opencodi.training.run import run_recipe

from .tiny_recipes import DATA, shrink


def train(folder, **changes):
    options = {key: changes.pop(key) for key in ("resume", "override", "keep", "data") if key in changes}
    if options.get("resume"):
        options = {"override": True, **options}  # more steps are another recipe
    folder.mkdir(exist_ok=True)
    changes = {"learning_rate_schedule": "constant_with_warmup", "checkpoint_minutes": 1e-9, **changes}
    return run_recipe(shrink("image_autoencoder", folder, **changes), **{"data": DATA, "device": "cpu", **options})


def run_of(folder) -> Path:
    return folder / "model" / "training" / "image_autoencoder"


def steps_of(folder) -> dict[str, int]:
    found = find_checkpoints(run_of(folder))
    return {path.name: json.loads((path / "state.json").read_text())["step"] for path in found}


@pytest.fixture(scope="module")
def three_steps(tmp_path_factory):
    """A run of three steps with a checkpoint after each."""
    folder = tmp_path_factory.mktemp("run")
    train(folder, steps=3)
    return folder


@pytest.fixture
def run(three_steps, tmp_path):
    shutil.copytree(three_steps, tmp_path / "run")
    return tmp_path / "run"


def test_the_last_healthy_checkpoints_are_kept_as_many_as_asked_for(three_steps, tmp_path):
    assert steps_of(three_steps) == {"checkpoint": 3, "checkpoint-000002": 2, "checkpoint-000001": 1}
    train(tmp_path / "one", steps=3, keep=1)
    assert steps_of(tmp_path / "one") == {"checkpoint": 3}


def blow_up(checkpoint: Path, value: float) -> None:
    weights = load_file(checkpoint / "weights.safetensors")
    name = next(iter(weights))
    save_file({**weights, name: torch.full_like(weights[name], value)}, checkpoint / "weights.safetensors")


def test_a_checkpoint_that_is_not_finite_is_passed_over_and_the_one_before_named(run, capsys):
    blow_up(run_of(run) / "checkpoint", torch.nan)
    train(run, steps=4, resume=True)
    assert "resuming from checkpoint-000002, step 2" in capsys.readouterr().out
    assert json.loads((run_of(run) / "summary.json").read_text())["step"] == 4


def test_weights_that_lead_to_no_finite_loss_are_set_aside_and_an_older_checkpoint_is_taken(run):
    blow_up(run_of(run) / "checkpoint", 1e38)
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) at step 3; .*checkpoint-000002 of step 2 is whole"):
        train(run, steps=4, resume=True)
    assert (run_of(run) / "unhealthy-000003").is_dir()
    train(run, steps=4, resume=True)
    assert json.loads((run_of(run) / "summary.json").read_text())["step"] == 4


def test_weights_that_blow_up_in_the_last_step_are_neither_saved_nor_exported(run):
    before = (run / "model" / "image_autoencoder" / "diffusion_pytorch_model.safetensors").read_bytes()
    with pytest.raises(
        TrainingError, match=r"not finite at step 4, so it is not saved; .*checkpoint of step 3 is whole"
    ):
        train(run, steps=4, resume=True, learning_rate=1e39, max_gradient_norm=1e30)
    assert (run / "model" / "image_autoencoder" / "diffusion_pytorch_model.safetensors").read_bytes() == before


@pytest.mark.parametrize("file", ["weights.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("missing", [False, True])
def test_a_damaged_file_of_a_checkpoint_is_named(run, file, missing):
    if missing and file == "state.json":
        return  # then it is no checkpoint
    path = run_of(run) / "checkpoint" / file
    size = path.stat().st_size
    if missing:
        path.unlink()
    else:
        os.truncate(path, size // 2)
    with pytest.raises(TrainingError) as caught:
        train(run, steps=4, resume=True)
    message = str(caught.value)
    assert message.startswith(f"{path} is {'missing' if missing else 'damaged'}") and "\n" not in message
    shutil.rmtree(path.parent)  # as the message says
    train(run, steps=4, resume=True)


def test_a_checkpoint_left_by_a_run_that_died_while_it_was_replaced_is_found(run):
    for name in ("checkpoint-000002", "checkpoint-000001"):
        shutil.rmtree(run_of(run) / name)
    (run_of(run) / "checkpoint").rename(run_of(run) / "checkpoint.old")
    with pytest.raises(TrainingError, match=r"checkpoint\.old is a run's already: --resume continues it"):
        train(run, steps=4)
    train(run, steps=4, resume=True)
    assert json.loads((run_of(run) / "summary.json").read_text())["step"] == 4


def test_a_truncated_shard_is_named(tmp_path):
    shutil.copytree(DATA, tmp_path / "data", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shard = tmp_path / "data" / "images.tar.gz"
    os.truncate(shard, shard.stat().st_size // 2)
    with pytest.raises(TrainingError) as caught:
        train(tmp_path / "run", steps=1, data=tmp_path / "data")
    assert str(caught.value).startswith(f"{shard} is damaged") and "\n" not in str(caught.value)


def train_with_small_files(recipe: Path, errors: Path) -> None:
    """No file may grow beyond a few kilobytes: for the process, the disk is full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384))
    with errors.open("w") as file, redirect_stderr(file), redirect_stdout(io.StringIO()):
        main(["train", str(recipe), "--data", str(DATA), "--device", "cpu", "--resume", "--override"])


def test_a_file_that_cannot_be_written_is_one_line_and_what_was_there_stays(run, tmp_path):
    recipe = shrink("image_autoencoder", run, steps=4)
    before = (run_of(run) / "checkpoint" / "weights.safetensors").read_bytes()
    process = get_context("fork").Process(target=train_with_small_files, args=(recipe, tmp_path / "errors"))
    process.start()
    process.join(60)
    lines = (tmp_path / "errors").read_text().splitlines()
    errors = [line for line in lines if line.startswith("error:")]
    assert process.exitcode == 2 and not any("Traceback" in line for line in lines), lines
    assert len(errors) == 1 and str(run_of(run)) in errors[0] and "too large" in errors[0]
    assert (run_of(run) / "checkpoint" / "weights.safetensors").read_bytes() == before
    assert not (run_of(run) / "checkpoint.partial").exists()
