"""The loop: the same run whether interrupted or not, and clear words when it cannot go on."""

import json
import os
import re
import signal
import time
from multiprocessing import get_context

import pytest
import torch
import yaml
from accelerate import Accelerator
from safetensors.torch import load_file

from opencodi.cli import main
from opencodi.errors import ConfigurationError, TrainingError
from opencodi.training import loop
from opencodi.training.options import Options
from opencodi.training.recipe import Recipe
from opencodi.training.run import run_recipe
from opencodi.training.task import Task

from .tiny_recipes import DATA, shrink


def train(folder, **changes):
    options = {key: changes.pop(key) for key in ("resume", "override", "minutes", "workers") if key in changes}
    if options.get("resume"):
        options = {"override": True, **options}  # more steps are another recipe
    folder.mkdir(exist_ok=True)
    changes = {"steps": 4, "learning_rate_schedule": "constant_with_warmup", **changes}
    return run_recipe(shrink("image_autoencoder", folder, **changes), data=DATA, device="cpu", **options)


def checkpoint(folder):
    run = folder / "model" / "training" / "image_autoencoder" / "checkpoint"
    return {name: load_file(run / f"{name}.safetensors") for name in ("weights", "ema", "optimizer")}


def test_resuming_equals_never_having_stopped(tmp_path):
    train(tmp_path / "whole")
    train(tmp_path / "parts", steps=2)
    train(tmp_path / "parts", steps=4, resume=True)
    whole, parts = checkpoint(tmp_path / "whole"), checkpoint(tmp_path / "parts")
    for name, tensors in whole.items():
        assert tensors.keys() == parts[name].keys()
        for key, value in tensors.items():
            assert torch.equal(value, parts[name][key]), (name, key)


def test_batches_drawn_by_other_processes_are_the_same_batches(tmp_path):
    train(tmp_path / "here", gradient_accumulation_steps=2)
    train(tmp_path / "elsewhere", gradient_accumulation_steps=2, workers=2)
    here, elsewhere = checkpoint(tmp_path / "here"), checkpoint(tmp_path / "elsewhere")
    assert all(torch.equal(value, elsewhere["weights"][key]) for key, value in here["weights"].items())


def test_another_seed_is_another_run(tmp_path):
    train(tmp_path / "a", steps=1, seed=0)
    train(tmp_path / "b", steps=1, seed=1)
    a, b = checkpoint(tmp_path / "a")["weights"], checkpoint(tmp_path / "b")["weights"]
    assert any(not torch.equal(a[key], b[key]) for key in a)


def test_the_loss_falls(tmp_path):
    train(tmp_path, steps=30, batch_size=8, learning_rate=0.01)
    log = tmp_path / "model" / "training" / "image_autoencoder" / "log.jsonl"
    losses = [line["loss"] for line in map(json.loads, log.read_text().splitlines()) if "loss" in line]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


class Flatten(Task):
    """Learns to answer 0 to rows that come in order, so that a step depends only on how many rows it has seen."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.rows = iter(torch.randn(12, 3, generator=torch.Generator().manual_seed(0)))

    def sample_batch(self, rng, batch_size):
        return {"rows": torch.stack([next(self.rows) for _ in range(batch_size)])}

    def forward(self, batch, generator):
        return {"loss": (batch["rows"] * self.weight).sum(1).square().mean()}


def test_gradient_accumulation_counts_as_one_larger_batch_per_step(tmp_path):
    found = []
    for size, parts in ((4, 1), (2, 2)):
        task, folder = Flatten(), tmp_path / str(parts)
        sizes = {"steps": 3, "batch_size": size, "gradient_accumulation_steps": parts, "report_every": 1}
        recipe = Recipe(
            **{"task": "flatten", "model_folder": str(folder / "model"), "writes": (), "settings": {}},
            **{"learning_rate": 0.1, "warmup_steps": 1, **sizes},
        )
        loop.train(task, recipe, folder, accelerator=Accelerator(cpu=True))
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        found.append([task.weight.detach(), *(line[name] for line in lines for name in ("loss", "gradient_norm"))])
    assert len(found[0]) == 7
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)


def test_a_time_budget_stops_the_run_with_a_checkpoint_and_an_export(tmp_path):
    train(tmp_path, steps=100_000, minutes=0.0001)
    assert (tmp_path / "model" / "image_autoencoder" / "config.json").is_file()
    assert checkpoint(tmp_path)["weights"]
    assert list((tmp_path / "model" / "training" / "image_autoencoder" / "samples").glob("*.png"))


def test_an_interrupted_run_saves_what_it_has_learned_and_can_go_on(tmp_path):
    recipe = shrink("image_autoencoder", tmp_path, steps=100_000)
    arguments = ["train", str(recipe), "--data", str(DATA), "--device", "cpu"]
    run = tmp_path / "model" / "training" / "image_autoencoder"
    process = get_context("fork").Process(target=main, args=(arguments,))
    process.start()
    deadline = time.monotonic() + 120
    while not (run / "log.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    process.join(60)
    assert process.exitcode == 130
    steps = json.loads((run / "checkpoint" / "state.json").read_text())["step"]
    assert steps >= 1
    train(tmp_path, steps=steps + 1, resume=True)
    assert json.loads((run / "summary.json").read_text())["step"] == steps + 1


def test_a_run_is_never_overwritten_by_accident(tmp_path):
    train(tmp_path, steps=1)
    with pytest.raises(TrainingError, match="checkpoint is a run's already: --resume"):
        train(tmp_path, steps=1)


def test_another_seed_batch_size_or_learning_rate_is_refused_or_accepted_aloud(tmp_path, capsys):
    train(tmp_path, steps=1)
    other = {"seed": 5, "batch_size": 3, "learning_rate": 0.5, "report_every": 7}
    with pytest.raises(
        TrainingError, match=r"learning_rate is 0\.5 and was 0\.0008.*accept the change with --override"
    ):
        train(tmp_path, steps=1, resume=True, override=False, **other)
    train(tmp_path, steps=1, resume=True, override=True, **other)
    said = capsys.readouterr().err
    assert "another recipe: seed is 5 and was 0; batch_size is 3 and was 2; learning_rate" in said
    assert "report_every" not in said


class Slow(Flatten):
    """Takes its time to validate."""

    def validate(self, generator):
        time.sleep(0.5)
        return {}


def test_a_time_budget_holds_for_the_closing_validation_too(tmp_path):
    task = Slow()
    task.rows = iter(torch.randn(100_000, 3))
    named = {"task": "slow", "model_folder": str(tmp_path / "model"), "writes": (), "settings": {}}
    recipe = Recipe(**named, steps=50_000, batch_size=1)
    started = time.monotonic()
    options = Options(minutes=4 / 60, started=started)
    loop.train(task, recipe, tmp_path, options=options, accelerator=Accelerator(cpu=True))
    assert json.loads((tmp_path / "summary.json").read_text())["step"] > 0
    assert time.monotonic() - started < 6


def test_resuming_nothing_says_so(tmp_path):
    with pytest.raises(TrainingError, match="no checkpoint to resume from"):
        train(tmp_path, resume=True)


def test_a_checkpoint_of_other_networks_is_refused_by_name(tmp_path):
    train(tmp_path, steps=1)
    path = shrink("image_autoencoder", tmp_path)
    path.write_text(path.read_text().replace("latent_channels: 4", "latent_channels: 6"))
    with pytest.raises(TrainingError, match=r"does not fit this recipe: .*conv"):
        run_recipe(path, data=DATA, device="cpu", resume=True, override=True)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path):
    train(tmp_path, steps=1)
    before = checkpoint(tmp_path)["weights"]
    with pytest.raises(TrainingError, match="the loss is nan at step"):
        # A step of this size sends every weight beyond what float32 holds.
        train(tmp_path, steps=20, learning_rate=1e30, max_gradient_norm=1e30, resume=True)
    after = checkpoint(tmp_path)["weights"]
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_stage_whose_predecessor_is_missing_says_which_to_train(tmp_path):
    with pytest.raises(TrainingError, match="image_autoencoder is missing: first train"):
        run_recipe(shrink("image_diffuser", tmp_path), data=DATA, device="cpu")


def test_a_style_nobody_drew_is_refused_by_name(tmp_path, trained):
    path = shrink("image_diffuser", tmp_path, model_folder=str(trained / "model"))
    path.write_text(path.read_text().replace("fluent-3d", "crayon"))
    with pytest.raises(ConfigurationError, match="'crayon'; there are fluent-3d, fluent-emoji-flat, noto, twemoji"):
        run_recipe(path, data=DATA, device="cpu", resume=True, override=True)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("stepz: 3", "unknown key 'stepz'; did you mean 'steps'"),
        ("task: image_autoencode", "unknown task 'image_autoencode'; did you mean 'image_autoencoder'"),
        ("steps: many", "steps: 'many' should be a valid integer; correct it"),
        ("steps: 0", "steps: 0 should be greater than or equal to 1"),
        ("steps: true", "steps: True should be a valid integer"),
        ("learning_rate: fast", "learning_rate: 'fast' should be a valid number"),
        ("settings: {}", "settings: patch_size, .* missing; add them"),
        ("settings: [1]", r"settings: \[1\] should be a valid dictionary"),
        ("data: {image_shard: [images]}", "data: unknown key 'image_shard'; did you mean 'image_shards'"),
        ("collection: sticker", "unknown collection 'sticker'; did you mean 'stickers'"),
        ("writes: []", r"writes: this run makes image_autoencoder; write \[image_autoencoder\]"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_sentence(tmp_path, line, message):
    path = shrink("image_autoencoder", tmp_path)
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **yaml.safe_load(line)}))
    with pytest.raises(ConfigurationError, match=f"^{re.escape(str(path))}.*{message}"):
        run_recipe(path, data=DATA, device="cpu")


def test_no_data_says_how_to_give_it(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENCODI_DATA", raising=False)
    with pytest.raises(TrainingError, match="--data or in OPENCODI_DATA"):
        run_recipe(shrink("image_autoencoder", tmp_path), device="cpu")
