"""Components in a model folder: put in place whole, found again whenever a writer died, and read only as declared."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import opencodi
from opencodi.errors import ConfigurationError, TrainingError
from opencodi.latents.image import ImageAutoencoder
from opencodi.training.components import ModelFolder, find_component, load_component, save_component

from .. import tiny

NAME = "image_autoencoder"

KILLED = """
import os, pathlib, signal, sys
from opencodi.latents.image import ImageAutoencoder
from opencodi.training.components import save_component
folder, fatal = pathlib.Path(sys.argv[1]), int(sys.argv[2])
network = ImageAutoencoder.from_pretrained(folder)
for weight in network.parameters():
    weight.data.zero_()
calls = 0
def die(event, arguments):
    global calls
    if event == "os.rename":
        calls += 1
        if calls == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(die)
save_component(network, folder)
"""


@pytest.fixture
def model(tmp_path):
    save_component(tiny.image_autoencoder(), tmp_path / NAME)
    return tmp_path


@pytest.mark.parametrize(("renames_done", "new"), [(0, False), (1, True)])
def test_a_component_is_found_whenever_its_writer_was_killed(model, renames_done, new):
    command = [sys.executable, "-c", KILLED, str(model / NAME), str(renames_done + 1)]
    source = str(Path(opencodi.__file__).parents[1])
    ran = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONPATH": source})
    assert ran.returncode == -signal.SIGKILL, ran.stderr.decode()
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
    with pytest.raises(ConfigurationError, match="reads: this run needs image_autoencoder; add it"):
        ModelFolder(model, []).load(ImageAutoencoder, NAME)


def test_a_config_says_nothing_of_where_its_network_was_loaded_from(model):
    network = ImageAutoencoder.from_pretrained(model / NAME)
    save_component(network, model / "again")
    for path in (model / "again").rglob("*.json"):
        assert str(model) not in path.read_text()
    stored = load_file(model / "again" / "diffusion_pytorch_model.safetensors")
    assert all(value.dtype == torch.float16 for value in stored.values())
