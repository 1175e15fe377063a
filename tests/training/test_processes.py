"""Two processes train as one: every stage does the same run, and whatever happens to one process stops both in order."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from opencodi.errors import ConfigurationError
from opencodi.training import loop
from opencodi.training.contrastive import info_nce
from opencodi.training.options import Options
from opencodi.training.processes import check_divides, gathered, make_accelerator
from opencodi.training.recipe import Recipe
from opencodi.training.run import run_recipe
from opencodi.training.task import Task

from .tiny_recipes import DATA, ORDER, shrink
from .trained_model import WATCHED

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STAGES = ORDER
VARIED = {"image_autoencoder", "bridging_image", "bridging_audio"}
"""Stages that vary each item while they train; the items of the second process are varied otherwise."""

TOLERANCE = {"audio_vocoder": 0.1, "text_autoencoder": 0.1}
"""Of losses that are no mean over items: a quotient of norms, a mean over words."""


class Line(Task):
    """Learns to answer a row in spite of noise, and to find it among all rows of the batch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.scale = torch.nn.Parameter(torch.ones(()))

    def sample_batch(self, rng, batch_size):
        return {"rows": torch.from_numpy(rng.standard_normal((batch_size, 3)).astype(np.float32))}

    def forward(self, batch, generator):
        rows, count = batch["rows"], len(batch["rows"])
        noise = torch.randn(count, 3, generator=generator) + torch.rand((count, 1), generator=generator)
        answer = rows * self.weight + noise
        contrastive = info_nce(gathered(answer), gathered(rows), self.scale)
        return {"loss": (answer - rows).square().mean() + contrastive}


def line_recipe(folder: Path) -> Recipe:
    sizes = {"steps": 6, "batch_size": 4, "gradient_accumulation_steps": 2, "report_every": 1, "warmup_steps": 1}
    named = {"task": "line", "model_folder": str(folder / "model"), "writes": (), "settings": {}}
    return Recipe(**named, **sizes, learning_rate=0.1, checkpoint_minutes=1000, mixed_precision="no")


@pytest.fixture(scope="module")
def both(tmp_path_factory, trained):
    """The folder in which two processes did all that ``two_processes`` says."""
    folder = tmp_path_factory.mktemp("both")
    for name in (*STAGES, "sharded"):
        (folder / name).mkdir()
        stage = "text_diffuser" if name == "sharded" else name
        before = trained / name / "before" if name == "alignment_video_audio" else trained / "model"
        shutil.copytree(before, folder / name / "model", ignore=shutil.ignore_patterns("training"))
        shrink(stage, folder / name, **WATCHED.get(stage, {}))
    (folder / "resumed").mkdir()
    run_recipe(shrink("text_autoencoder", folder / "resumed", steps=2), data=DATA, device="cpu")
    shrink("text_autoencoder", folder / "resumed", steps=3)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "-m", "tests.training.two_processes", str(folder)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def seen(folder):
    return [json.loads((folder / f"seen-{rank}.json").read_text()) for rank in (0, 1)]


def losses(model, name):
    lines = (model / "training" / name / "log.jsonl").read_text().splitlines()
    return [line["loss"] for line in map(json.loads, lines) if "loss" in line]


def gradients(model, name):
    lines = (model / "training" / name / "log.jsonl").read_text().splitlines()
    return [line["gradient_norm"] for line in map(json.loads, lines) if "loss" in line]


@pytest.mark.parametrize("name", STAGES)
def test_two_processes_with_half_the_batch_do_the_run_of_one(both, trained, name):
    assert [each[name] for each in seen(both)] == [0, 0]
    one, two = losses(trained / "model", name), losses(both / name / "model", name)
    assert len(two) == 2 and all(map(math.isfinite, two))
    if name not in VARIED:
        assert two == pytest.approx(one, rel=TOLERANCE.get(name, 0.02))
    if name not in {*VARIED, *TOLERANCE, "bridging_video"}:  # the last has dropout
        first, second = (gradients(folder, name)[0] for folder in (trained / "model", both / name / "model"))
        assert second == pytest.approx(first, rel=0.05)


def test_a_run_may_go_on_with_another_number_of_processes(both, tmp_path):
    assert [each["resumed"] for each in seen(both)] == ["done", "done"]
    run_recipe(shrink("text_autoencoder", tmp_path, steps=3), data=DATA, device="cpu")
    run = Path("model/training/text_autoencoder/checkpoint/weights.safetensors")
    one, two = load_file(tmp_path / run), load_file(both / "resumed" / run)
    assert all(torch.allclose(value, two[name], atol=0.02) for name, value in one.items())


def test_sharded_weights_learn_and_are_exported_whole(both, trained):
    assert [each["sharded"] for each in seen(both)] == ["done", "done"]
    model = both / "sharded" / "model"
    assert losses(model, "text_diffuser") == pytest.approx(losses(trained / "model", "text_diffuser"), rel=0.02)
    for name in ("text_denoiser", "text_prompt_map"):
        one, two = (
            load_file(folder / name / "diffusion_pytorch_model.safetensors") for folder in (trained / "model", model)
        )
        assert one.keys() == two.keys()
        assert all(torch.allclose(value.float(), two[key].float(), atol=0.01) for key, value in one.items())
    moments = load_file(model / "training" / "text_diffuser" / "checkpoint" / "optimizer.safetensors")
    assert any(value.ndim > 1 for value in moments.values())


def step_of(folder):
    return json.loads((folder / "run" / "checkpoint" / "state.json").read_text())["step"]


def test_a_loss_that_is_not_finite_on_one_process_stops_both(both):
    first, second = (each["nan"] for each in seen(both))
    assert first.startswith("TrainingError: line: the loss is nan at step 1; there is no healthy checkpoint")
    assert second.startswith("TrainingError: line: the loss is nan at step 1")


def test_a_signal_to_one_process_stops_both_after_the_same_step(both):
    assert [each["signal"] for each in seen(both)] == ["KeyboardInterrupt: "] * 2
    assert step_of(both / "signal") == 2


def test_data_that_one_process_cannot_read_stop_both_and_nothing_learned_is_lost(both):
    first, second = (each["data"] for each in seen(both))
    assert "another process cannot read its data" in first and "shard-7.tar" in second
    assert step_of(both / "data") == 1


def test_no_time_left_stops_both_with_an_export(both):
    assert [each["minutes"] for each in seen(both)] == ["done"] * 2
    assert json.loads((both / "minutes" / "run" / "summary.json").read_text())["step"] == 0


def test_noise_and_negatives_are_those_of_the_whole_batch(both, tmp_path):
    task = Line()
    accelerator = make_accelerator(torch.device("cpu"), "no")
    loop.train(task, line_recipe(tmp_path), tmp_path / "run", options=Options(), accelerator=accelerator)
    two, one = (load_file(f / "run" / "checkpoint" / "weights.safetensors") for f in (both / "line", tmp_path))
    torch.testing.assert_close(two, one)


def test_a_batch_that_cannot_be_shared_evenly_is_refused():
    with pytest.raises(ConfigurationError, match="batch_size: 3 items cannot be shared evenly by 2 processes; make it"):
        check_divides(3, 2)
