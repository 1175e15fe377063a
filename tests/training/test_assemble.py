"""From the stages' folder to a model that ships."""

import json
import shutil

import pytest

from opencodi import AnyToAnyPipeline
from opencodi.errors import ConfigurationError, TrainingError
from opencodi.training.assemble import assemble, loss_curves, read_sampling, stage_table

from .tiny_recipes import RECIPES


def test_the_stages_together_are_a_model_that_generates_and_knows_its_history(trained, tmp_path):
    folder, destination = tmp_path / "stages", tmp_path / "model"
    shutil.copytree(trained / "model", folder)
    earlier = {"step": 7, "seconds": 60, "recipe": {"batch_size": 2, "gradient_accumulation_steps": 3}, "loss": 0.5}
    (folder / "training.json").write_text(json.dumps({"an_earlier_stage": earlier, "image_diffuser": earlier}))
    destination.mkdir()
    (destination / "README.md").write_text("the card")
    sampling = read_sampling(RECIPES / "sampling.yaml")
    assemble(folder, destination, sampling)

    history = json.loads((destination / "training.json").read_text())
    assert history["an_earlier_stage"] == earlier  # not run again
    assert history["image_diffuser"]["step"] == 2  # run again
    assert str(folder) not in json.dumps(history)
    assert history["image_diffuser"]["curves"]["loss"]["step"] == [1, 2]
    assert "| `an_earlier_stage.yaml` | 7 | 42 | 1 | loss 0.5 |" in stage_table(history)
    assert (destination / "README.md").read_text() == "the card"
    pipeline = AnyToAnyPipeline.from_pretrained(destination)
    pipeline.set_progress_bar_config(disable=True)
    solver = sampling.pop("scheduler")
    assert type(pipeline.scheduler).__name__ == solver != "DDIMScheduler"
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert {name: pipeline.config[name] for name in sampling} == sampling
    made = pipeline(text="a dog", outputs=["text", "image"], num_inference_steps=2)
    assert made.image[0].size == (64, 64) and isinstance(made.text[0], str)


def test_curves_are_means_of_neighbouring_reports_and_every_validation(tmp_path):
    lines = [{"step": step, "loss": float(step), "other": 1.0} for step in range(1, 8)]
    lines.insert(4, {"step": 4, "validation/psnr": 26.37387})
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert loss_curves(tmp_path / "log.jsonl", points=3) == {
        "loss": {"step": [3, 6, 7], "value": [2.0, 5.0, 7.0]},
        "validation/psnr": {"step": [4], "value": [26.37]},
    }
    assert loss_curves(tmp_path / "nothing.jsonl") == {}


def test_what_has_not_been_trained_is_named(trained, tmp_path):
    shutil.copytree(trained / "model", tmp_path / "stages", ignore=shutil.ignore_patterns("audio_denoiser"))
    with pytest.raises(TrainingError, match="lacks audio_denoiser"):
        assemble(tmp_path / "stages", tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "text, message",
    [
        ("exchange_lag: 1", "exchange_lag is nothing"),
        ("image_denoiser: x", "image_denoiser is"),
        ("scheduler: AutoencoderKL", "AutoencoderKL is no solver"),
        ("scheduler: 5", "5 is no solver"),
        ("[", "YAML"),
        ("5", "names"),
    ],
)
def test_a_wrong_sampling_file_is_refused_by_name(tmp_path, text, message):
    (tmp_path / "sampling.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=f"sampling.yaml: .*{message}"):
        read_sampling(tmp_path / "sampling.yaml")
    with pytest.raises(ConfigurationError, match="nowhere"):
        read_sampling(tmp_path / "nowhere.yaml")


def test_nothing_that_ships_says_where_it_was_made(trained, tmp_path):
    folder = tmp_path / "stages"
    shutil.copytree(trained / "model", folder)
    summary = folder / "training" / "image_diffuser" / "summary.json"
    values = json.loads(summary.read_text())
    values["recipe"]["initial_weights"] = str(tmp_path / "finished")
    summary.write_text(json.dumps(values))
    assemble(folder, tmp_path / "model")
    for path in (tmp_path / "model").rglob("*.json"):
        assert str(tmp_path) not in path.read_text() and str(trained) not in path.read_text(), path
    assert (
        json.loads((tmp_path / "model" / "training.json").read_text())["image_diffuser"]["recipe"]["initial_weights"]
        == "finished"
    )
