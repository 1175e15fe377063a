"""The autoencoder of RGBA pictures: its measures, its two stages, and what they leave alone."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from opencodi.latents.image import ImageAutoencoder
from opencodi.latents.transparent import to_channels
from opencodi.prompts.vision_network import PACKAGE
from opencodi.training.picture_critic import PictureCritic, critic_losses
from opencodi.training.run import run_recipe
from opencodi.training.tasks.transparent_image import alpha_iou, halo, psnr_over_grounds

from .tiny_recipes import DATA, RECIPES

SMALL = {"latent_channels": 4, "block_out_channels": [8, 8], "norm_num_groups": 4, "sample_size": 64}


def disc(radius: float = 9, veil: int = 0) -> torch.Tensor:
    rows, columns = np.mgrid[:32, :32] - 15.5
    picture = np.zeros((1, 32, 32, 4), np.uint8)
    picture[..., :3], picture[..., 3] = (30, 200, 90), veil
    picture[0, np.hypot(rows, columns) < radius, 3] = 255
    return to_channels(picture)


def test_measures_see_a_veil_and_a_wrong_shape():
    real = disc()
    assert halo(real, real) == 0 and alpha_iou(real, real).item() == 1 and psnr_over_grounds(real, real).item() > 90
    veiled = disc(veil=40)
    assert halo(veiled, real) > 0.03 and alpha_iou(veiled, real).item() == 1
    assert psnr_over_grounds(veiled, real).item() < 30
    assert 0.5 < alpha_iou(disc(radius=8), real).item() < 0.9


def test_a_picture_wrong_only_over_black_has_a_lower_psnr():
    """Clear pixels that turn white cannot be seen over white, but over other grounds."""
    real = disc()
    made = real.clone()
    made[:, :3][real[:, 3:].expand(-1, 3, -1, -1) < 0] = 1
    made[:, 3][real[:, 3] < 0] = 1
    assert psnr_over_grounds(made, real).item() < 12


def test_critic_and_decoder_each_learn_from_their_own_loss():
    torch.manual_seed(0)
    critic = PictureCritic(4, width=8)
    made = torch.randn(2, 4, 32, 32, requires_grad=True)
    losses = critic_losses(critic, made, torch.randn(2, 4, 32, 32))
    losses["critic"].backward(retain_graph=True)
    assert made.grad is None and critic.layers[0].weight.grad is not None
    critic.zero_grad(set_to_none=True)
    losses["adversarial"].backward()
    assert made.grad is not None and critic.layers[0].weight.grad is None


def tiny(name: str, folder, **settings) -> str:
    values = yaml.safe_load((RECIPES.parent / "stickers-2" / f"{name}.yaml").read_text())
    values["settings"] |= settings
    if "photo_share" in values["data"]:
        values["data"]["photo_share"] = 0.0  # the sample's photographs all validate
    values |= {"model_folder": str(folder / "model"), "steps": 2, "batch_size": 2, "warmup_steps": 1, "report_every": 1}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return str(path)


@pytest.mark.slow
def test_both_stages_train_and_the_second_leaves_latents_as_they_are(tmp_path):
    pytest.importorskip(PACKAGE)
    run_recipe(tiny("image_autoencoder", tmp_path, **SMALL), data=DATA, device="cpu")
    component = tmp_path / "model" / "image_autoencoder"
    before = load_file(component / "diffusion_pytorch_model.safetensors")
    config = json.loads((component / "config.json").read_text())
    assert config["image_channels"] == 4 and len(config["latents_std"]) == 4

    found = run_recipe(tiny("image_decoder", tmp_path, critic_width=8), data=DATA, device="cpu")
    after = load_file(component / "diffusion_pytorch_model.safetensors")
    assert before.keys() == after.keys(), "the critic is not shipped"
    for name in before:
        if "decoder" not in name and "post_quant" not in name:
            assert torch.equal(before[name], after[name]), name
    assert any(not torch.equal(before[name], after[name]) for name in before)
    again = json.loads((component / "config.json").read_text())
    assert again["latents_mean"] == config["latents_mean"] and again["latents_std"] == config["latents_std"]
    assert {"psnr_single", "psnr_collages", "psnr_frames", "psnr_photos", "alpha_iou", "halo"} <= found.keys()
    assert all(math.isfinite(value) for value in found.values())
    assert list((tmp_path / "model" / "training" / "image_decoder" / "samples").glob("*.png"))
    assert ImageAutoencoder.from_pretrained(component).config.sample_size == 64


@pytest.mark.slow
def test_sentences_of_scenes_are_learned_and_withheld_ones_measured(tmp_path):
    small = {"vocab_size": 400, "latent_dim": 16, "hidden_size": 24, "encoder_layers": 1}
    small |= {"decoder_layers": 1, "intermediate_size": 24, "num_attention_heads": 2}
    path = Path(tiny("text_autoencoder", tmp_path, **small))
    values = yaml.safe_load(path.read_text()) | {"data": {"scenes": 50, "held_scenes": 8}}
    path.write_text(yaml.safe_dump(values))
    found = run_recipe(path, data=DATA, device="cpu")
    assert {"exact", "exact_held"} <= found.keys()
