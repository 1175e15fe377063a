"""Every stage learns from anyone's prepared folder; from caches as from the media themselves."""

import json
import os
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file

from opencodi.collections import find_collection
from opencodi.data.encoded import Rows, read_rows, write_rows
from opencodi.data.epochs import BatchRandom
from opencodi.data.prepare import prepare
from opencodi.data.prepared import PreparedFolder
from opencodi.data.sources import open_source
from opencodi.errors import ConfigurationError, OpenCoDiError, TrainingError
from opencodi.pipeline import AnyToAnyPipeline
from opencodi.training.assemble import assemble, read_sampling
from opencodi.training.components import ModelFolder, save_component
from opencodi.training.encode import encode
from opencodi.training.recipe import checked
from opencodi.training.run import run_recipe
from opencodi.training.tasks import find_task

from .. import tiny
from ..data.own import write_samples
from .tiny_recipes import SETTINGS

RECIPES = Path(__file__).parents[2] / "recipes" / "own"
BEFORE = (
    *("image_autoencoder", "text_autoencoder", "audio_autoencoder", "audio_vocoder"),
    *("bridging_image", "bridging_audio", "bridging_video"),
)
AFTER = (
    *("image_diffuser", "video_diffuser", "audio_diffuser", "text_diffuser"),
    *("alignment_text_image", "alignment_text_audio", "alignment_video_audio"),
)


SIDE = 32


def values_of(name, folder):
    """A recipe of ``recipes/own`` at the smallest sizes: one step of two items."""
    values = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
    settings = values["settings"]
    for key, value in SETTINGS[name].items():
        settings[key] = {**settings[key], **value} if key == "network" and key in settings else value
    if settings.get("sentence_encoder") == "minilm":
        settings["sentence_encoder"] = "trained"
        values |= {"reads": ["text_prompt_encoder"], "writes": ["image_prompt_encoder"]}
    if "prompt_map_steps" in settings:
        settings["prompt_map_steps"] = min(1, settings["prompt_map_steps"])
    if name == "image_autoencoder":
        values["data"]["size"] = SIDE
    if name == "bridging_image":
        settings["network"]["sample_size"] = SIDE
    if name == "image_diffuser":
        settings["adapters"]["image_prompt_map"]["size"] = [SIDE // 8] * 2
    values |= {"steps": 1, "batch_size": 2, "warmup_steps": 1, "report_every": 1, "validate_every": 100}
    return values | {"model_folder": str(folder / "model")}


def run(name, folder, stem="", **changes):
    path = folder / f"{stem or name}.yaml"
    path.write_text(yaml.safe_dump(values_of(name, folder) | changes))
    return run_recipe(path, data=folder / "prepared", device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, short_samples):
    """A prepared folder of 10 samples in shards of 4, and a model of which all stages but the last have learned from it."""
    place = tmp_path_factory.mktemp("own")
    prepare(
        open_source(str(write_samples(place / "samples", 10, clips=True))), place / "prepared", shard_size=4, workers=4
    )
    (place / "model").mkdir()
    save_component(tiny.text_prompt_encoder(), place / "model" / "text_prompt_encoder")
    for name in (*BEFORE, *AFTER):
        run(name, place)
    return place


def task_of(name, folder, encoded):
    values = values_of(name, folder)
    collection = find_collection("own")
    kind, source = find_task(values["task"], {}), collection.DATA[values["task"]]
    settings = checked(kind.Settings, values["settings"], "test")
    parts = ModelFolder(folder / "model", values["reads"])
    data = checked(source, {"encoded": str(encoded)}, "test").load(folder / "prepared", parts, settings)
    torch.manual_seed(0)
    return kind(settings, data, parts)


@pytest.fixture(scope="module")
def encoded(folder):
    list(encode(folder / "prepared", folder / "model", folder / "encoded"))
    return folder / "encoded"


def test_every_stage_has_learned_from_a_prepared_folder(folder):
    made = {place.name for place in (folder / "model").iterdir()}
    writes = {name for stage in (*BEFORE, *AFTER) for name in values_of(stage, folder)["writes"]}
    assert writes <= made
    for stage in (*BEFORE, *AFTER):
        lines = (folder / "model" / "training" / stage / "log.jsonl").read_text().splitlines()
        assert np.isfinite([json.loads(line)["loss"] for line in lines if "loss" in json.loads(line)]).all()


@pytest.mark.parametrize("name", AFTER)
def test_losses_from_caches_are_those_from_the_media(folder, encoded, name, capsys):
    fresh, cached = (task_of(name, folder, place) for place in (folder / "nothing", encoded))
    assert capsys.readouterr().out.count("anew") == 1
    for task in (fresh, cached):
        task.train()
    for number in range(2):
        batches = [task.sample_batch(BatchRandom(number, (0, number, 0)), 2) for task in (fresh, cached)]
        assert all(torch.equal(value, batches[1][key]) for key, value in batches[0].items())
        losses = []
        for task, batch in zip((fresh, cached), batches):
            torch.manual_seed(0)  # dropout
            losses.append(task(batch, torch.Generator().manual_seed(number)))
        assert all(torch.equal(value, losses[1][key]) for key, value in losses[0].items())


def test_a_diffuser_sees_each_sample_once_per_epoch(folder, encoded):
    task = task_of("image_diffuser", folder, encoded)
    count = len(task.items)
    seen = [task.items.draw(BatchRandom(number, (0, number, 0)), 3) for number in range(count)]
    drawn = np.concatenate(seen).reshape(3, count)
    assert all(sorted(epoch) == list(range(count)) for epoch in drawn)


def test_captions_are_what_a_text_diffuser_learns(folder, encoded):
    task = task_of("text_diffuser", folder, encoded)
    assert task.items.names[0] == "a red square, number 0"
    assert torch.equal(task.items.latents[[0]], task.items.codec.encode(task.items.names[:1]).half())


def contents(place):
    return {path.relative_to(place): path.read_bytes() for path in place.rglob("*.safetensors")}


def test_two_workers_and_a_stopped_call_write_the_same_shards(folder, encoded, tmp_path):
    whole = contents(encoded)
    assert len(whole) == 8 * 3  # latents and prompts of four modalities, three shards
    for number, (path, content) in enumerate(sorted(whole.items())):
        if number % 3:
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_bytes(content)
    kept = {path: (tmp_path / path).stat().st_mtime_ns for path in contents(tmp_path)}
    said = list(encode(folder / "prepared", folder / "model", tmp_path, workers=2))
    assert any(line.startswith("latents.image: 10 rows of (4, 4, 4)") for line in said)
    for path, content in whole.items():
        fresh, again = load_file(encoded / path), load_file(tmp_path / path)
        assert torch.equal(fresh["samples"], again["samples"])
        torch.testing.assert_close(fresh["rows"], again["rows"], rtol=2e-2, atol=2e-3)
        if path in kept:
            assert (tmp_path / path).stat().st_mtime_ns == kept[path] and (tmp_path / path).read_bytes() == content
    assert list(encode(folder / "prepared", folder / "model", tmp_path))[-1] == "everything was encoded already"


def test_caches_of_other_weights_are_not_used(folder, encoded, tmp_path, capsys):
    task = task_of("image_diffuser", folder, encoded)
    for name in ("text_prompt_encoder", "image_prompt_encoder", "image_autoencoder"):
        (tmp_path / "model").mkdir(exist_ok=True)
        os.symlink(folder / "model" / name, tmp_path / "model" / name)
    os.symlink(folder / "prepared", tmp_path / "prepared")
    assert capsys.readouterr().out == ""
    os.unlink(tmp_path / "model" / "image_autoencoder")
    with torch.no_grad():
        for parameter in task.items.autoencoder.parameters():
            parameter.mul_(1.1)
    save_component(task.items.autoencoder, tmp_path / "model" / "image_autoencoder")
    task_of("image_diffuser", tmp_path, encoded)
    assert "encoding latents.image anew" in capsys.readouterr().out


REFUSED = {
    "reads": (
        {"reads": ["image_autoencoder", "text_prompt_encoder"]},
        ConfigurationError,
        "needs image_prompt_encoder",
    ),
    "task": ({"task": "manner"}, ConfigurationError, "collection own has none of that name"),
    "data": ({"data": {"shards": {}}}, ConfigurationError, "unknown key 'shards'"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_recipe_that_does_not_fit_is_refused(folder, kind):
    changes, error, reason = REFUSED[kind]
    with pytest.raises(error, match=reason):
        run("image_diffuser", folder, "refused", **changes)


def test_a_kind_of_prompt_that_no_sample_has_is_refused(folder, tmp_path):
    for name in ("samples", "model"):
        os.symlink(folder / name, tmp_path / name)
    place = tmp_path / "stills"
    place.mkdir()
    for path in (folder / "samples").iterdir():
        if path.suffix in (".png", ".txt"):
            os.symlink(path, place / path.name)
    prepare(open_source(str(place)), tmp_path / "prepared")
    values = values_of("image_diffuser", tmp_path)
    values["settings"]["prompt_shares"] = {"text": 0.5, "audio": 0.2}
    values["reads"] += ["audio_prompt_encoder"]
    with pytest.raises(ConfigurationError, match="has audio; leave it out"):
        run("image_diffuser", tmp_path, "refused", settings=values["settings"], reads=values["reads"])


def test_a_folder_that_is_not_prepared_says_what_to_do(folder, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(values_of("image_autoencoder", tmp_path)))
    with pytest.raises(OpenCoDiError, match="opencodi data prepare"):
        run_recipe(path, data=folder / "samples", device="cpu")
    path.write_text(yaml.safe_dump(values_of("image_autoencoder", tmp_path) | {"collection": "stickers", "data": {}}))
    with pytest.raises((TrainingError, ConfigurationError)):
        run_recipe(path, data=folder / "samples", device="cpu")


def test_a_damaged_cache_is_named(folder, encoded, tmp_path):
    prepared = PreparedFolder(folder / "prepared")
    place = next(encoded.glob("latents.image-*"))
    for path in place.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes()[:-20])
    with pytest.raises(OpenCoDiError, match=r"samples-000000\.safetensors: is missing or damaged; remove it"):
        read_rows(tmp_path, prepared.shards, prepared.starts)


def test_rows_of_several_shards_are_read_as_one():
    parts = [torch.arange(0, 6).reshape(3, 2), torch.zeros(0), torch.arange(6, 16).reshape(5, 2)]
    rows, whole = Rows(parts), torch.arange(16).reshape(8, 2)
    for chosen in ([7, 0, 3], np.array([[1, 6], [2, 2]]), slice(2, 7, 2)):
        assert torch.equal(rows[chosen], whole[torch.as_tensor(np.arange(8)[chosen])])
    assert torch.equal(rows[5], whole[5]) and rows.shape == (8, 2)


def test_rows_larger_than_memory_stay_on_the_disk(tmp_path):
    path = tmp_path / "a.safetensors"
    write_rows(path, torch.ones(20_000, 2048, dtype=torch.half), np.arange(20_000))  # 80 MB
    rows, _ = read_rows(tmp_path, ["a"], [0, 20_000])
    assert rows[np.arange(0, 20_000, 5000)].sum() == 4 * 2048
    mapped = [each.rss for each in psutil.Process().memory_maps() if each.path == str(path)]
    assert mapped and sum(mapped) < 20e6


def test_the_model_makes_every_modality_from_a_caption(folder, tmp_path):
    assemble(folder / "model", tmp_path / "whole", read_sampling(RECIPES / "sampling.yaml"))
    pipeline = AnyToAnyPipeline.from_pretrained(tmp_path / "whole")
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(
        text="a red square", outputs="all", num_inference_steps=1, generator=torch.Generator().manual_seed(0)
    )
    assert made.image[0].size == (SIDE, SIDE) and isinstance(made.text[0], str)
    assert made.video[0].frames.shape[1:3] == (SIDE, SIDE) and made.audio[0].seconds == pytest.approx(2.048)
