"""The best checkpoint of a run is kept beside the last ones, whatever stops the run, and can be what is exported."""

import json
import math

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from opencodi.cli import main
from opencodi.errors import TrainingError
from opencodi.modality import Modality
from opencodi.training import checkpoint, loop
from opencodi.training.checkpoint import find_best, find_checkpoints, step_of
from opencodi.training.options import Options
from opencodi.training.recipe import Recipe, comparable
from opencodi.training.task import Task
from opencodi.training.tasks import find_task

from .tiny_recipes import ORDER, read

SETTINGS = {"task": "graded", "writes": (), "settings": {}, "learning_rate": 0.1, "warmup_steps": 1}


class Graded(Task):
    """Learns to answer 0 to noise; its validations find the losses given, one after another."""

    def __init__(self, losses, unreadable=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.losses, self.unreadable, self.drawn = iter(losses), unreadable, 0

    def sample_batch(self, rng, batch_size):
        self.drawn += 1
        if self.drawn == self.unreadable:
            raise FileNotFoundError(2, "No such file or directory", "shard-7.tar")
        return {"rows": torch.from_numpy(rng.standard_normal((batch_size, 3))).float()}

    def forward(self, batch, generator):
        return {"loss": (batch["rows"] * self.weight).sum(1).square().mean()}

    def validate(self, generator):
        return {"loss": next(self.losses)}

    def export(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.weight.detach().clone(), folder / "exported.pt")


def run(folder, losses, unreadable=None, steps=5, settings=None, **options):
    recipe = Recipe(
        **{**SETTINGS, "settings": settings or {}},
        **{"model_folder": str(folder / "model"), "steps": steps, "batch_size": 2},
        **{"validate_every": 1, "checkpoint_minutes": 1e-9},
    )
    options = Options(**{"keep": 1, **options})
    task = Graded(losses, unreadable)
    return loop.train(task, recipe, folder / "run", options=options, accelerator=Accelerator(cpu=True))


def kept(folder):
    return [step_of(path) for path in find_checkpoints(folder / "run")]


def averages(folder, step):
    path = next(path for path in find_checkpoints(folder / "run") if step_of(path) == step)
    return load_file(path / "ema.safetensors")["weight"]


def summary(folder):
    return json.loads((folder / "run" / "summary.json").read_text())


@pytest.mark.parametrize(
    ("losses", "steps"),
    [
        ([3, 1, 2, 2, 1.5], [5, 2]),
        ([5, 4, 3, 2, 1], [5]),
        ([1, 1, 1, 1, 1], [5, 1]),
        ([math.nan, 2, math.nan, 3, math.nan], [5, 2]),
        ([math.nan] * 5, [5]),
    ],
    ids=["in the middle", "the last", "the first of equals", "not a number at times", "never a number"],
)
def test_the_last_and_the_best_are_kept(tmp_path, losses, steps):
    run(tmp_path, losses)
    assert kept(tmp_path) == steps
    best = find_best(tmp_path / "run")
    assert (best and step_of(best)) == (None if math.isnan(losses[-1]) and len(steps) == 1 else steps[-1])


def test_the_best_is_kept_beside_as_many_as_asked_for(tmp_path):
    run(tmp_path, [3, 1, 2, 2, 2], keep=2)
    assert kept(tmp_path) == [5, 4, 2]


def test_what_is_exported_is_the_last_or_the_best_as_asked_for(tmp_path):
    for export, step in (("last", 5), ("best", 2)):
        measures = run(tmp_path / export, [3, 1, 2, 2, 1.5], export=export)
        exported = torch.load(tmp_path / export / "model" / "exported.pt")
        assert torch.equal(exported, averages(tmp_path / export, step))
        told = summary(tmp_path / export)
        assert (told["step"], told["exported_step"], told["loss"]) == (5, step, 1 if export == "best" else 1.5)
        assert measures == {"loss": 1.5}  # of the last validation
    assert not torch.equal(averages(tmp_path / "best", 2), averages(tmp_path / "best", 5))


def test_a_run_that_was_stopped_knows_its_best_when_it_goes_on(tmp_path):
    with pytest.raises(FileNotFoundError):
        run(tmp_path, [3, 1, 2], unreadable=4)
    assert kept(tmp_path) == [3, 2]
    run(tmp_path, [2, 1.5], resume=True, export="best")
    assert kept(tmp_path) == [5, 2] and summary(tmp_path)["exported_step"] == 2
    run(tmp_path / "whole", [3, 1, 2, 2, 1.5], export="best")
    assert torch.equal(averages(tmp_path, 2), averages(tmp_path / "whole", 2))


def test_the_best_survives_a_run_that_ends_again(tmp_path):
    run(tmp_path, [3, 1, 2, 2, 1.5])
    run(tmp_path, [1.5], resume=True, export="best")
    assert kept(tmp_path) == [5, 2] and summary(tmp_path)["exported_step"] == 2


def test_a_best_that_somebody_removed_is_forgotten(tmp_path):
    with pytest.raises(FileNotFoundError):
        run(tmp_path, [3, 1, 2], unreadable=4)
    checkpoint.set_aside(find_best(tmp_path / "run"))
    run(tmp_path, [2, 4], resume=True, export="best")
    assert kept(tmp_path) == [5, 4] and summary(tmp_path)["exported_step"] == 4


def test_measures_of_other_settings_are_not_compared(tmp_path):
    with pytest.raises(FileNotFoundError):
        run(tmp_path, [3, 1, 2], unreadable=4)
    run(tmp_path, [9, 8], resume=True, settings={"scale": 2})
    assert step_of(find_best(tmp_path / "run")) == 5
    stored = read("image_autoencoder")
    assert comparable(Recipe(**stored).model_dump(mode="json"), Recipe(**{**stored, "steps": 7, "learning_rate": 1.0}))


def test_a_state_that_cannot_be_rewritten_leaves_the_old_one(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        run(tmp_path, [3, 1, 2], unreadable=4)
    before = (tmp_path / "run" / "checkpoint" / "state.json").read_bytes()
    (tmp_path / "run" / "checkpoint" / "state.json.partial").mkdir()  # nothing can be written there
    with pytest.raises(TrainingError, match="checkpoint cannot be written"):
        checkpoint.rewrite_state(tmp_path / "run", {"step": 3}, 1)
    assert (tmp_path / "run" / "checkpoint" / "state.json").read_bytes() == before


MEASURES = {
    "image_autoencoder": {"psnr": 20.0},
    "text_autoencoder": {"exact": 0.5, "exact_with_noise": 0.4},
    "audio_autoencoder": {"log_mel_error": -0.3},
    "audio_vocoder": {"log_mel_error": -0.3, "griffin_lim_log_mel_error": 0.5},
    "bridging": {"loss": -1.0},
    "manner": {"texts_read": 0.5, "styles_seen": 0.5, "course_error": -0.1},
    "alignment": {"text": -0.5, "image": -0.4},
}
"""Of each stage, measures that all are the better, the larger (errors are negated here)."""


@pytest.mark.parametrize("stage", ORDER)
def test_every_stage_says_which_validation_is_better(stage):
    values = read(stage)
    kind = find_task(values["task"], {})
    task = kind.__new__(kind)
    torch.nn.Module.__init__(task)
    task.pair = (Modality.TEXT, Modality.IMAGE)
    measures = MEASURES.get(values["task"], {"loss": -1.0})
    better = {name: value + 0.1 for name, value in measures.items()}
    errors = {name for name in measures if "error" in name or name in ("loss", "text", "image")}
    first, second = (
        {name: -value if name in errors else value for name, value in each.items()} for each in (measures, better)
    )
    assert task.score(second) > task.score(first) and task.score({}) is None


def test_the_command_refuses_what_is_neither_last_nor_best(tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text("task: image_autoencoder\n")
    with pytest.raises(SystemExit) as caught:
        main(["train", str(tmp_path / "recipe.yaml"), "--export", "newest"])
    assert caught.value.code == 2
    assert "--export: 'newest' is neither last nor best; choose one" in capsys.readouterr().err
