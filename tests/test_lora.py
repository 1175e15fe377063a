"""Low-rank adapters: learned, saved, loaded, mixed, fused and taken out again; what does not fit is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from opencodi import AnyToAnyPipeline, cli
from opencodi.data.prepare import prepare
from opencodi.data.sources import open_source
from opencodi.denoisers import UNet
from opencodi.errors import ArgumentError, CollectionError, ConfigurationError
from opencodi.media import write_audio
from opencodi.parts.lora import WEIGHTS
from opencodi.training.run import run_recipe

from . import tiny

pytest.importorskip("peft")

from opencodi.training.lora import LoraFile, LoraValues, add_lora

RECIPES = Path(__file__).parents[1] / "recipes" / "own"
CALL = {"text": "a rooster", "outputs": "image", "num_inference_steps": 2, "output_type": "latent"}


def adapted(folder, seed: int, network=None, rank: int = 2, alpha: float = 4.0) -> UNet:
    """A denoiser with a random adapter, which is saved in ``folder``."""
    network = network or tiny.image_denoiser()
    add_lora(network, "image_denoiser", LoraValues(rank=rank, alpha=alpha))
    noise = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        if ".lora_" in name:
            parameter.data = (0.3 * torch.randn(parameter.shape, generator=noise)).half().float()
    LoraFile(network, "image_denoiser").save_pretrained(folder)
    return network


def made(pipe) -> torch.Tensor:
    return pipe(**CALL, generator=tiny.seeded()).image


def near(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, atol=1e-4)


def test_a_new_adapter_changes_nothing_and_is_all_that_learns():
    network, x = tiny.image_denoiser(), torch.randn(1, 4, 8, 8)
    prompt, times = torch.randn(1, 1, tiny.WIDTH), torch.tensor([500])
    before = network(x, times, prompt)
    add_lora(network, "image_denoiser", LoraValues(rank=2))
    assert torch.equal(network(x, times, prompt), before)
    assert all(".lora_" in name for name, each in network.named_parameters() if each.requires_grad)
    with pytest.raises(ConfigurationError, match="no layer named so"):
        add_lora(tiny.image_denoiser(), "image_denoiser", LoraValues(targets=("to_x",)))


def test_what_was_learned_is_what_is_loaded(tmp_path):
    trained = adapted(tmp_path / "look", 1)
    pipe = tiny.pipeline()
    plain = made(pipe)
    assert pipe.load_lora_weights(tmp_path / "look") == "look"
    assert near(made(pipe), made(tiny.pipeline(image_denoiser=trained))) and not near(made(pipe), plain)
    pipe.unload_lora_weights()
    assert near(made(pipe), plain) and pipe.get_list_adapters() == {}


def test_adapters_are_mixed_by_weights_fused_and_saved(tmp_path):
    adapted(tmp_path / "a", 1), adapted(tmp_path / "b", 2, rank=3)
    pipe = tiny.pipeline()
    plain = made(pipe)
    pipe.load_lora_weights(tmp_path / "a")
    one = made(pipe)
    pipe.load_lora_weights(tmp_path / "b" / WEIGHTS, adapter_name="other")
    assert not near(made(pipe), one)
    pipe.set_adapters(["a", "other"], [1.0, 0.0])
    assert near(made(pipe), one)
    pipe.set_adapters("a", 0.0)
    assert near(made(pipe), plain)
    pipe.set_adapters(["a", "other"], [0.5, 0.25])
    mixed = made(pipe)
    with pytest.raises(ArgumentError, match="fuse_lora"):
        pipe.save_pretrained(tmp_path / "model")
    pipe.fuse_lora()
    assert near(made(pipe), mixed)
    pipe.unload_lora_weights()
    pipe.save_pretrained(tmp_path / "model")
    opened = AnyToAnyPipeline.from_pretrained(tmp_path / "model")
    opened.set_progress_bar_config(disable=True)
    assert near(made(opened), mixed)


def test_a_part_with_an_adapter_keeps_it_when_parts_leave_memory(tmp_path):
    adapted(tmp_path / "a", 1)
    tiny.pipeline().save_pretrained(tmp_path / "model")
    pipe = AnyToAnyPipeline.from_pretrained(tmp_path / "model")
    pipe.set_progress_bar_config(disable=True)
    pipe.enable_disk_offload()
    plain = made(pipe)
    pipe.load_lora_weights(tmp_path / "a")
    first = made(pipe)
    assert not near(first, plain) and near(made(pipe), first)


def test_what_does_not_fit_is_refused_and_changes_nothing(tmp_path):
    pipe = tiny.pipeline()
    plain = made(pipe)
    adapted(tmp_path / "wide", 1, UNet(**{**tiny.DENOISER, "model_channels": 16}))
    adapted(tmp_path / "deep", 1, UNet(**{**tiny.DENOISER, "num_res_blocks": (2, 2)}))
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    for name, reason in (
        ("wide", "does not fit"),
        ("deep", "made for another model"),
        ("broken.safetensors", "cannot be read"),
    ):
        with pytest.raises(ConfigurationError, match=reason):
            pipe.load_lora_weights(tmp_path / name)
    with pytest.raises(ArgumentError, match="there is no such file"):
        pipe.load_lora_weights(tmp_path / "none")
    adapted(tmp_path / "a", 1)
    with pytest.raises(ConfigurationError, match="which this model does not have"):
        tiny.pipeline(image_denoiser=None).load_lora_weights(tmp_path / "a")
    assert near(made(pipe), plain) and pipe.get_list_adapters() == {}
    pipe.load_lora_weights(tmp_path / "a")
    with pytest.raises(ArgumentError, match="is loaded already"):
        pipe.load_lora_weights(tmp_path / "a")
    with pytest.raises(ArgumentError, match="no adapter is named 'b'; loaded: a"):
        pipe.set_adapters("b")
    with pytest.raises(ArgumentError, match="2 weights for 1"):
        pipe.set_adapters("a", [1.0, 2.0])


def test_the_command_adds_adapters_by_weight(tmp_path, capsys):
    adapted(tmp_path / "a", 1)
    tiny.pipeline().save_pretrained(tmp_path / "model")

    def picture(name: str, *more: str) -> np.ndarray:
        call = ["generate", "--model", tmp_path / "model", "--text", "a rooster", "--to", "image", "--steps", 2]
        call += ["--device", "cpu", "--seed", 1, "--output", tmp_path / name]
        with pytest.raises(SystemExit) as stop:
            cli.main([*map(str, call), *more])
        assert stop.value.code == 0, capsys.readouterr().err
        return np.asarray(Image.open(tmp_path / name / "image-0.png"), int)

    plain, full = picture("plain"), picture("full", "--lora", str(tmp_path / "a"))
    assert np.abs(picture("none", "--lora", f"{tmp_path / 'a'}:0") - plain).max() <= 1 < np.abs(full - plain).max()
    assert json.loads((tmp_path / "full" / "result.json").read_text())["settings"]["lora"] == {str(tmp_path / "a"): 1.0}
    for wrong in ("none", f"{tmp_path / 'a'}:much"):
        with pytest.raises(SystemExit) as stop:
            cli.main(["generate", "--text", "a", "--to", "image", "--output", str(tmp_path / "x"), "--lora", wrong])
        assert stop.value.code == 2 and "--lora" in capsys.readouterr().err


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_a_recipe_makes_an_adapter_of_own_files_and_leaves_the_base_alone(modality, tmp_path, capsys):
    tiny.pipeline().save_pretrained(tmp_path / "base")
    own = tmp_path / "own"
    own.mkdir()
    for place in range(4):
        item = tiny.media(place)[modality]
        item.save(own / f"{place}.png") if modality == "image" else write_audio(item, own / f"{place}.wav")
        (own / f"{place}.txt").write_text("a rooster\na red apple\n")
    prepare(open_source(str(own)), tmp_path / "prepared")
    values = yaml.safe_load((RECIPES / f"{modality}_lora.yaml").read_text())
    parts = ["autoencoder", "denoiser"]
    values |= {"base_model": str(tmp_path / "base"), "steps": 2, "batch_size": 2, "report_every": 1, "warmup_steps": 1}
    values["reads"] = [*(f"{modality}_{part}" for part in parts), "text_prompt_encoder"]
    values["settings"] |= {"style": "", "lora": {"rank": 2}}
    recipe = tmp_path / "own.yaml"
    recipe.write_text(yaml.safe_dump(values))
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", str(recipe), "--plan", "--output", str(tmp_path / "out"), "--device", "cpu"])
    planned = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("own "))
    assert stop.value.code == 0 and planned.split()[-2] == "4"  # samples: two steps of two
    run_recipe(recipe, data=tmp_path / "prepared", output=tmp_path / "out", device="cpu")
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [f"{modality}_lora", "training"]
    pipe = tiny.pipeline()
    name = pipe.load_lora_weights(tmp_path / "out" / f"{modality}_lora")
    assert pipe.get_list_adapters() == {f"{modality}_denoiser": [name]}
    with pytest.raises(CollectionError, match=r"own: is not prepared; give opencodi data prepare .*own --output"):
        run_recipe(recipe, data=own, output=tmp_path / "again", device="cpu")
