"""Components in a model folder: put in place whole, found again whenever a writer died, and read only as declared."""

import os
import signal
import sys
from itertools import count
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from opencodi.errors import ConfigurationError, TrainingError
from opencodi.extras.prompt_map import PromptMap
from opencodi.latents.image import ImageAutoencoder
from opencodi.modality import Modality
from opencodi.training.components import ModelFolder, find_component, load_component, save_component
from opencodi.training.composed import load_maps, new_map
from opencodi.training.run import start_from
from opencodi.training.task import Task

from .. import tiny

NAME = "image_autoencoder"


def save_and_die(folder: Path, fatal: int) -> None:
    """Save zeros in place of the component; the process is killed when it begins the rename of that number."""
    network, calls = ImageAutoencoder.from_pretrained(folder), count(1)
    for weight in network.parameters():
        weight.data.zero_()

    def die(event, _):
        if event == "os.rename" and next(calls) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(die)
    save_component(network, folder)


@pytest.fixture
def model(tmp_path):
    save_component(tiny.image_autoencoder(), tmp_path / NAME)
    return tmp_path


@pytest.mark.parametrize(("renames_done", "new"), [(0, False), (1, True)])
def test_a_component_is_found_whenever_its_writer_was_killed(model, renames_done, new):
    writer = get_context("fork").Process(target=save_and_die, args=(model / NAME, renames_done + 1))
    writer.start()
    writer.join(60)
    assert writer.exitcode == -signal.SIGKILL
    assert (model / NAME).is_dir() != new
    network = load_component(ImageAutoencoder, model, NAME)
    assert all(not weight.any() for weight in network.parameters()) == new


def test_a_component_of_which_only_a_whole_copy_is_left_is_found(model):
    (model / NAME).rename(model / f"{NAME}.partial")
    ModelFolder(model, [NAME]).check_complete()
    assert (model / NAME / "config.json").is_file() and not (model / f"{NAME}.partial").exists()


def test_half_a_component_is_not_taken_for_one(model):
    partial = model / f"{NAME}.partial"
    (model / NAME).rename(partial)
    weights = partial / "diffusion_pytorch_model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    assert not find_component(model / NAME)
    with pytest.raises(TrainingError, match="image_autoencoder is missing: first train"):
        ModelFolder(model, [NAME]).check_complete()


def test_a_truncated_component_is_one_line_that_names_it(model):
    weights = model / NAME / "diffusion_pytorch_model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    with pytest.raises(TrainingError) as caught:
        load_component(ImageAutoencoder, model, NAME)
    assert str(caught.value).startswith(f"{model / NAME} cannot be read") and "\n" not in str(caught.value)


def test_only_what_a_run_declares_is_read(model):
    assert ModelFolder(model, [NAME]).load(ImageAutoencoder, NAME)
    assert ModelFolder(model).has(NAME) and not ModelFolder(model, []).has(NAME)
    with pytest.raises(ConfigurationError, match="reads: this run needs image_autoencoder; add it"):
        ModelFolder(model, []).load(ImageAutoencoder, NAME)


class MapTask(Task):
    """Trains a prompt map without attributes."""

    def __init__(self):
        super().__init__()
        self.map = PromptMap(embedding_dim=8, dim=4, features=4)

    def components(self):
        return {"image_prompt_map": self.map}


def test_no_weight_is_dropped_unless_the_recipe_names_it(tmp_path):
    stored = tiny.randomise(PromptMap(embedding_dim=8, dim=4, features=4, manner_dim=3))
    save_component(stored, tmp_path / "image_prompt_map")
    task = MapTask()
    with pytest.raises(
        TrainingError, match=r"linear_manner.weight differs; .*image_prompt_map.linear_manner.weight among"
    ):
        start_from(task, tmp_path)
    start_from(task, tmp_path, ["image_prompt_map.linear_manner"])
    torch.testing.assert_close(task.map.linear_1.weight, stored.linear_1.weight.half().float())


def test_a_value_that_a_network_does_not_take_is_named():
    with pytest.raises(ConfigurationError, match=r"adapters: image_prompt_map: .* 'crayon'; correct it"):
        new_map("image_prompt_map", tiny.image_denoiser(), {"crayon": 1})
    with pytest.raises(ConfigurationError, match=r"adapters: 'crayon' is unknown; choose from .*image_prompt_map"):
        new_map("crayon", tiny.image_denoiser(), {})


def test_a_run_uses_only_the_maps_that_it_reads(tmp_path):
    for name in ("image_prompt_map", "video_motion_map", "image_environment_map"):
        save_component(new_map(name, tiny.image_denoiser(), {"size": (4, 4)}), tmp_path / name)
    reads = ["image_prompt_map", "image_environment_map"]
    assert list(load_maps(ModelFolder(tmp_path), Modality.VIDEO)) == ["image_prompt_map", "video_motion_map"]
    assert list(load_maps(ModelFolder(tmp_path, reads), Modality.VIDEO)) == ["image_prompt_map"]
    assert list(load_maps(ModelFolder(tmp_path, reads), Modality.VIDEO, joint=True)) == reads


def test_a_config_says_nothing_of_where_its_network_was_loaded_from(model):
    network = ImageAutoencoder.from_pretrained(model / NAME)
    save_component(network, model / "again")
    for path in (model / "again").rglob("*.json"):
        assert str(model) not in path.read_text()
    stored = load_file(model / "again" / "diffusion_pytorch_model.safetensors")
    assert all(value.dtype == torch.float16 for value in stored.values())
