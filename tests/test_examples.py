"""The examples run: two model families are joined, and a fifth modality is trained by its recipes and used."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from opencodi.denoisers import environment_tokens, joint_forward
from opencodi.denoisers.families import adapters, noised_together
from opencodi.errors import DamagedFile
from opencodi.modality import MODALITIES
from opencodi.training.run import run_recipe

from . import tiny

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def join():
    spec = importlib.util.spec_from_file_location("join_example", ROOT / "examples" / "compose" / "join.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["transformer", "unet"])
def test_families_meet_only_through_their_adapters(join, kind):
    torch.manual_seed(0)
    families, prompt = join.build(kind)
    for adapter in adapters(families).values():
        tiny.randomise(adapter, 3)
    generator = tiny.seeded()
    clean = join.draw(torch.tensor([0, 1]), join.templates(), generator)
    noisy, times, targets = noised_together(families, clean, generator)
    denoisers = {name: family.denoiser for name, family in families.items()}
    tokens = environment_tokens(denoisers, noisy, times)
    predicted = joint_forward(denoisers, noisy, times, prompt.expand(2, -1, -1), environments=tokens)
    assert all(predicted[name].shape == targets[name].shape for name in families)
    other = {**tokens, "audio": tokens["audio"].flip(0)}
    changed = joint_forward(denoisers, noisy, times, prompt.expand(2, -1, -1), environments=other)
    assert tiny.differ(changed["image"], predicted["image"], 1e-4)
    sum(each.square().mean() for each in predicted.values()).backward()
    assert all(each.grad is None for family in families.values() for each in family.denoiser.denoiser.parameters())
    assert 0 <= join.agreement(families, prompt, "swapped", count=4, steps=2) <= 1


@pytest.mark.parametrize("name", ["image", "audio"])
def test_a_perfect_prediction_leads_each_scheduler_to_the_data(join, name):
    """The schedule of training is that of sampling: with the true target, steps end where the data is."""
    families, _ = join.build()
    family = families[name]
    clean = join.draw(torch.tensor([0, 1]), join.templates(), tiny.seeded())[name]
    scheduler = family.scheduler
    scheduler.set_timesteps(20)
    x = torch.randn(clean.shape, generator=tiny.seeded(1)) * getattr(scheduler, "init_noise_sigma", 1.0)
    for t in scheduler.timesteps:
        seen = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        level = t / 1000 if name == "image" else t
        if name == "image":
            target = (seen - clean) / level
        else:
            alpha, sigma = torch.cos(level * torch.pi / 2), torch.sin(level * torch.pi / 2)
            noise = (seen - alpha * clean) / sigma
            target = alpha * noise - sigma * clean
        x = scheduler.step(target, t, x, return_dict=False)[0]
    assert (x - clean).abs().max() < 0.05


@pytest.fixture
def rolls(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from examples.new_modality import data, piano_rolls, show

    if "roll" not in MODALITIES:
        from opencodi.modality import register

        register(piano_rolls.RECORD)
    yield data, piano_rolls, show
    del MODALITIES["roll"]
    for name in [name for name in sys.modules if name.startswith("examples")]:
        del sys.modules[name]


def test_piano_rolls_are_trained_by_their_recipes_read_and_made(rolls, tmp_path):
    data, piano_rolls, show = rolls
    tiny.pipeline().save_pretrained(tmp_path / "base")
    for stage in ("roll_bridging", "roll_diffuser"):
        values = yaml.safe_load((ROOT / "examples" / "new_modality" / "recipes" / f"{stage}.yaml").read_text())
        values |= {"base_model": str(tmp_path / "base"), "steps": 2, "batch_size": 4, "warmup_steps": 1}
        values["mixed_precision"] = "auto"  # one process has one precision
        values["data"]["variations"] = 2
        network = {"projection_dim": tiny.WIDTH} if stage == "roll_bridging" else {"cross_attention_dim": tiny.WIDTH}
        values["settings"]["network"] |= network
        (tmp_path / f"{stage}.yaml").write_text(yaml.safe_dump(values))
        run_recipe(tmp_path / f"{stage}.yaml", output=tmp_path / "rolls", data=tmp_path, device="cpu")
    pipe = show.open_model(tmp_path / "rolls", str(tmp_path / "base"))
    roll = data.motif("rocket", np.random.default_rng(0))
    made = pipe(text="a rooster", outputs="roll", num_inference_steps=1, generator=tiny.seeded())
    assert isinstance(made.roll[0], piano_rolls.PianoRoll)
    assert pipe(roll=roll, outputs="image", num_inference_steps=1, generator=tiny.seeded()).image[0].size == (16, 16)
    (file,) = made.save(tmp_path / "out")
    assert (piano_rolls.read_roll(file).notes == made.roll[0].notes).all()
    (tmp_path / "broken.roll").write_text("###\n")
    with pytest.raises(DamagedFile, match="is no piano roll"):
        piano_rolls.read_roll(tmp_path / "broken.roll")


def test_latents_of_a_roll_are_the_roll(rolls):
    data, piano_rolls, _ = rolls
    items = [data.motif(name, np.random.default_rng(1)) for name in data.MOTIFS]
    codec = piano_rolls.RollCodec(piano_rolls.RollAutoencoder())
    assert all((a.notes == b.notes).all() for a, b in zip(items, codec.decode(codec.encode(items))))
