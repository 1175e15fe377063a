"""What a run shows: the bar at any width, a log without traces of what is done again, and everything in TensorBoard."""

import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console

from opencodi.errors import ConfigurationError
from opencodi.training.pictures import save_grid
from opencodi.training.progress import Bar, Report
from opencodi.training.recipe import Recipe, changes_since
from opencodi.training.showing import save_clip, save_sound, save_texts

RECIPE = Recipe(task="line", model_folder="m", writes=(), settings={"a": {"b": (1, 2)}}, steps=100, report_every=1)


@pytest.mark.parametrize("width", [20, 30, 60, 120, 300])
def test_the_bar_says_rate_and_time_left_at_any_width(width):
    console = Console(file=io.StringIO(), width=width, force_terminal=True)
    bar = Bar(console=console, auto_refresh=False)
    bar.add_task(
        "transparent_image_autoencoder", total=2600, completed=10, losses="loss 1", rate="12.3/s", left="1:02:03"
    )
    console.print(bar.make_tasks_table(bar.tasks))
    lines = console.file.getvalue().strip("\n").split("\n")
    assert len(lines) == 1 and "12.3/s" in lines[0] and "1:02:03" in lines[0], lines
    assert ("loss 1" in lines[0]) == (width >= 100)


def logged(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_what_a_resumed_run_does_again_is_logged_once(tmp_path):
    lines = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}, {"step": 2, "validation/loss": 1.0}, {"step": 3}]
    log = tmp_path / "log.jsonl"
    log.write_text("\n".join(map(json.dumps, lines)) + '\n{"step": 4, "lo')
    Report(RECIPE, tmp_path, 2)
    assert logged(tmp_path) == lines[:3]
    Report(RECIPE.model_copy(update={"steps": 2}), tmp_path, 2)
    assert logged(tmp_path) == lines[:2]


def test_a_report_says_rate_and_time_left(tmp_path, capsys):
    with Report(RECIPE, tmp_path, 0) as report:
        report.step(1, {"loss": 0.5, "learning_rate": 1.5e-7}, 8)
    (line,) = logged(tmp_path)
    assert line["learning_rate"] == 1.5e-7 and line["items_per_second"] > 0
    assert "left 0:0" in capsys.readouterr().err


def test_tensorboard_shows_losses_pictures_clips_sounds_and_texts(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    picture = tmp_path / "samples" / "step-000004.png"
    picture.parent.mkdir()
    save_grid(torch.zeros(2, 3, 8, 8), picture)
    save_clip(torch.rand(3, 3, 8, 8), picture, "a Dog / runs", fps=8)
    save_sound(torch.sin(torch.arange(1600) / 5), picture, "bell", 16000)
    save_texts(["a dog\ta hound"], picture)
    with Report(RECIPE, tmp_path, 0) as report:
        report.step(4, {"loss": 0.5, "gradient_norm": 2.0, "learning_rate": 0.1}, 8)
        report.validation(4, {"loss_at_0.1": 0.25}, picture)
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0, "audio": 0, "scalars": 0, "tensors": 0})
    tags = events.Reload().Tags()
    assert {"loss", "gradient_norm", "learning_rate", "items_per_second", "validation/loss_at_0.1"} <= {
        *tags["scalars"]
    }
    assert {*tags["images"]} == {"samples/all", "clips/a_dog_runs"} and tags["audio"] == ["sounds/bell"]
    assert "samples/all/text_summary" in tags["tensors"]
    assert events.Images("clips/a_dog_runs")[0].encoded_image_string.startswith(b"GIF89a")
    assert np.isclose(events.Audio("sounds/bell")[0].sample_rate, 16000)


def test_a_tracker_that_is_asked_for_gets_losses_and_pictures(tmp_path, monkeypatch):
    told = []
    library = SimpleNamespace(
        init=lambda **values: told.append(values["name"]),
        log=lambda values, step: told.append((values, step)),
        finish=lambda: told.append("finished"),
        Image=lambda path: f"image {path[-15:]}",
        Html=lambda text: text,
    )
    monkeypatch.setitem(sys.modules, "trackio", library)
    save_grid(torch.zeros(1, 3, 8, 8), tmp_path / "step-000001.png")
    save_texts(["a dog & a cat"], tmp_path / "step-000001.png")
    with Report(RECIPE, tmp_path / "run", 0, track="trackio") as report:
        report.validation(1, {"loss": 2.0}, tmp_path / "step-000001.png")
    assert told == [
        "run",
        ({"validation/loss": 2.0}, 1),
        ({"samples/all": "image step-000001.png", "texts/all": "<pre>a dog &amp; a cat\n</pre>"}, 1),
        "finished",
    ]
    with pytest.raises(ConfigurationError, match="--track: 'mlflow' is not one of trackio, wandb"):
        Report(RECIPE, tmp_path / "run", 0, track="mlflow")


def test_what_a_recipe_says_otherwise_is_named():
    stored = json.loads(json.dumps(RECIPE.model_dump(mode="json")))
    assert changes_since(stored, RECIPE) == []
    changed = RECIPE.model_copy(update={"seed": 3, "settings": {"a": {"b": (1, 3)}}, "report_every": 7})
    assert changes_since(stored, changed) == ["settings.a.b is [1, 3] and was [1, 2]", "seed is 3 and was 0"]
    del stored["seed"]
    assert changes_since(stored, RECIPE) == []
