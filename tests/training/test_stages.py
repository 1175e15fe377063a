"""Every stage runs on real data with its shipped recipe (made small), and trains what it should."""

import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file

from opencodi.denoisers import FlatUNet, UNet
from opencodi.denoisers.topology import is_alignment, is_temporal
from opencodi.training.run import run_recipe

from .tiny_recipes import DATA, ORDER, shrink

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ORDER)
def test_a_stage_logs_finite_losses_and_leaves_a_checkpoint(trained, name):
    run = trained / "model" / "training" / name
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 2 and all(math.isfinite(loss) for loss in losses)
    assert json.loads((run / "checkpoint" / "state.json").read_text())["step"] == 2
    assert json.loads((run / "summary.json").read_text())["step"] == 2


def test_all_stages_together_make_every_component(trained):
    names = {path.name for path in (trained / "model").iterdir()}
    towers = {f"{modality}_prompt_encoder" for modality in ("text", "image", "video", "audio")}
    denoisers = {"text_denoiser", "image_denoiser", "audio_denoiser"}
    autoencoders = {"image_autoencoder", "audio_autoencoder", "text_autoencoder", "text_tokenizer", "audio_vocoder"}
    assert towers | denoisers | autoencoders | {"scheduler"} <= names


def test_autoencoders_record_the_statistics_of_their_latents(trained):
    config = json.loads((trained / "model" / "image_autoencoder" / "config.json").read_text())
    assert len(config["latents_mean"]) == len(config["latents_std"]) == 4
    assert all(std > 0 for std in config["latents_std"])


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of the trained folder that a test may change."""
    shutil.copytree(trained / "model", tmp_path / "model", ignore=shutil.ignore_patterns("training"))
    return tmp_path


def weights(folder, component):
    return load_file(folder / "model" / component / "diffusion_pytorch_model.safetensors")


ALIGNMENT_STAGES = {
    "alignment_text_image": ({"text_denoiser", "image_denoiser"}, set()),
    "alignment_text_audio": ({"audio_denoiser"}, {"text_denoiser"}),
    "alignment_video_audio": ({"image_denoiser"}, {"audio_denoiser"}),
}


@pytest.mark.parametrize("name", ALIGNMENT_STAGES)
def test_an_alignment_stage_leaves_every_other_weight_bit_identical(copy, name):
    learning, frozen = ALIGNMENT_STAGES[name]
    before = {component: weights(copy, component) for component in learning | frozen}
    others = {path: path.read_bytes() for path in copy.rglob("*.safetensors") if path.parent.name not in before}
    run_recipe(shrink(name, copy, learning_rate=0.05), data=DATA, device="cpu")
    for path, content in others.items():
        assert path.read_bytes() == content, path
    for component in frozen:
        after = weights(copy, component)
        assert all(torch.equal(after[key], value) for key, value in before[component].items()), component
    for component in learning:
        after = weights(copy, component)
        changed = {key for key, value in before[component].items() if not torch.equal(after[key], value)}
        assert changed and all(is_alignment(key) for key in changed)


def test_a_video_stage_with_frozen_image_weights_changes_temporal_blocks_only(copy):
    before = weights(copy, "image_denoiser")
    run_recipe(shrink("video_diffuser", copy, learning_rate=0.05), data=DATA, device="cpu")
    after = weights(copy, "image_denoiser")
    changed = {key for key, value in before.items() if not torch.equal(after[key], value)}
    assert changed and all(is_temporal(key) for key in changed)


def test_the_trained_video_network_treats_a_picture_as_the_image_network_does(trained, generator):
    video = UNet.from_pretrained(trained / "model" / "image_denoiser").float()
    assert video.config.temporal
    image = UNet(**{**{k: v for k, v in video.config.items() if not k.startswith("_")}, "temporal": False})
    image.load_state_dict({k: v for k, v in video.state_dict().items() if ".temporal." not in k})
    picture = torch.randn(2, 4, 8, 8, generator=generator)
    arguments = torch.tensor([10, 500]), torch.randn(2, 1, 16, generator=generator)
    torch.testing.assert_close(video(picture, *arguments), image(picture, *arguments))


def test_a_diffuser_can_start_from_a_finished_model_with_its_later_parts(copy):
    before = weights(copy, "image_denoiser")
    start = str(copy / "model")
    run_recipe(shrink("image_diffuser", copy, learning_rate=1e-12, initial_weights=start), data=DATA, device="cpu")
    after = weights(copy, "image_denoiser")
    assert set(after) < set(before)
    assert all(torch.equal(value, before[key]) for key, value in after.items())


def test_the_bridging_stages_of_sound_and_video_leave_the_text_projection_alone(copy):
    before = (copy / "model" / "text_prompt_encoder" / "diffusion_pytorch_model.safetensors").read_bytes()
    run_recipe(shrink("bridging_audio", copy), data=DATA, device="cpu")
    assert (copy / "model" / "text_prompt_encoder" / "diffusion_pytorch_model.safetensors").read_bytes() == before


def test_text_latents_have_the_shape_the_text_denoiser_expects(trained):
    denoiser = FlatUNet.from_pretrained(trained / "model" / "text_denoiser")
    autoencoder = json.loads((trained / "model" / "text_autoencoder" / "config.json").read_text())
    assert denoiser.config.in_channels == autoencoder["latent_dim"]
