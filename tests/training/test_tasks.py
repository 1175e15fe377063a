"""Every stage runs on real data with its shipped recipe (made small), and trains what it should."""

import json
import math
import re
import shutil

import pytest
import torch
import yaml
from safetensors.torch import load_file

from opencodi.collections import find_collection
from opencodi.denoisers import FlatUNet, UNet
from opencodi.denoisers.part_names import is_alignment, is_temporal
from opencodi.errors import TrainingError
from opencodi.latents.image import ImageAutoencoder
from opencodi.training.recipe import Recipe, checked, load_recipe
from opencodi.training.run import run_recipe
from opencodi.training.tasks import find_task

from .tiny_recipes import DATA, ORDER, RECIPES, read, shrink

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
    assert towers | denoisers | autoencoders | {"scheduler", "manner_reader"} <= names


def test_autoencoders_record_the_statistics_of_their_latents(trained):
    config = json.loads((trained / "model" / "image_autoencoder" / "config.json").read_text())
    assert len(config["latents_mean"]) == len(config["latents_std"]) == 4
    assert all(std > 0 for std in config["latents_std"])


def weights(folder, component):
    return load_file(folder / component / "diffusion_pytorch_model.safetensors")


def changed(stage, component):
    """Names of the weights that a stage added to a component or changed."""
    before, after = weights(stage / "before", component), weights(stage / "after", component)
    assert before.keys() <= after.keys()
    return {key for key in after if key not in before or not torch.equal(after[key], before[key])}


ALIGNMENT_STAGES = {
    "alignment_text_image": ({"text_denoiser", "image_denoiser"}, set()),
    "alignment_text_audio": ({"audio_denoiser"}, {"text_denoiser"}),
    "alignment_video_audio": ({"image_denoiser"}, {"audio_denoiser"}),
}
"""{stage: (components that learn, components that stay)}."""


@pytest.mark.parametrize("name", ALIGNMENT_STAGES)
def test_an_alignment_stage_leaves_every_other_weight_bit_identical(trained, name):
    learning, frozen = ALIGNMENT_STAGES[name]
    stage = trained / name
    for path in (stage / "before").rglob("*.safetensors"):
        if path.parent.name not in learning | frozen:
            assert (stage / "after" / path.relative_to(stage / "before")).read_bytes() == path.read_bytes(), path
    for component in frozen:
        assert not changed(stage, component), component
    for component in learning:
        names = changed(stage, component)
        assert names and all(is_alignment(key) for key in names)
        after = weights(stage / "after", component)
        # These are zero until they have learned.
        assert any(after[key].any() for key in names if key.endswith(".alignment.proj_out.weight"))


def test_a_video_stage_with_frozen_image_weights_changes_temporal_blocks_only(trained):
    names = changed(trained / "video_diffuser", "image_denoiser")
    assert names and all(is_temporal(key) for key in names)
    after = weights(trained / "video_diffuser" / "after", "image_denoiser")
    assert any(after[key].any() for key in names if key.endswith(".temporal.attention.to_out.weight"))


def test_the_trained_video_network_treats_a_picture_as_the_image_network_does(trained, generator):
    video = UNet.from_pretrained(trained / "model" / "image_denoiser").float()
    assert video.config.temporal
    image = UNet(**{**{k: v for k, v in video.config.items() if not k.startswith("_")}, "temporal": False})
    image.load_state_dict({k: v for k, v in video.state_dict().items() if ".temporal." not in k and not is_temporal(k)})
    picture = torch.randn(2, 4, 8, 8, generator=generator)
    arguments = torch.tensor([10, 500]), torch.randn(2, 1, 16, generator=generator)
    torch.testing.assert_close(video(picture, *arguments), image(picture, *arguments))


def test_a_diffuser_can_start_from_a_finished_model_and_removes_nothing_that_it_does_not_make(trained, tmp_path):
    finished = tmp_path / "finished"
    shutil.copytree(trained / "model", finished, ignore=shutil.ignore_patterns("training"))
    recipe = shrink("image_diffuser", tmp_path, learning_rate=1e-12, initial_weights=str(finished))
    with pytest.raises(
        TrainingError, match=r"image_denoiser has parts .* would remove .*environment_encoder.*--output"
    ):
        run_recipe(recipe, data=DATA, device="cpu", output=finished)
    before = weights(finished, "image_denoiser")
    assert all(torch.equal(value, before[key]) for key, value in weights(trained / "model", "image_denoiser").items())
    shutil.copytree(finished, tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / "image_denoiser")
    run_recipe(recipe, data=DATA, device="cpu")
    after = weights(tmp_path / "model", "image_denoiser")
    assert set(after) < set(before)
    fitted = "prompt_map.linear_"  # learns before the first step, from where it was
    assert all(torch.equal(value, before[key]) for key, value in after.items() if not key.startswith(fitted))
    before, after = ({path.name for path in folder.iterdir()} for folder in (finished, tmp_path / "model"))
    assert before - {"training"} == after - {"training"}


@pytest.mark.parametrize(
    "path", sorted(set(RECIPES.rglob("*.yaml")) - {RECIPES / "sampling.yaml"}), ids=lambda path: path.stem
)
def test_every_recipe_can_be_run_and_stands_in_the_order_of_all(path):
    recipe, collection = load_recipe(path), find_collection("stickers")
    checked(find_task(recipe.task, collection.TASKS).Settings, recipe.settings, str(path))
    checked(collection.DATA[recipe.task], recipe.data, str(path))
    assert recipe.initial_weights in ("", recipe.model_folder)
    order = re.search(r"for stage in (.*?);", (path.parent / "README.md").read_text(), re.DOTALL)[1]
    assert order.replace("\\", "").split().count(str(path.relative_to(RECIPES).with_suffix(""))) == 1


@pytest.mark.parametrize("name", ORDER)
def test_the_recipe_of_a_stage_starts_from_nothing_and_writes_every_value_out(name):
    values, collection = read(name), find_collection("stickers")
    assert (RECIPES / f"{name}.yaml").is_file() and not values["initial_weights"]
    settings = find_task(values["task"], collection.TASKS).Settings
    for model, written in (
        (Recipe, values),
        (collection.DATA[values["task"]], values["data"]),
        (settings, values["settings"]),
    ):
        assert list(model.model_fields.keys() - written.keys()) == []


def test_a_run_that_goes_on_starts_with_the_weights_of_the_model_folder(trained, tmp_path):
    longer, first = read("audio_diffuser_longer"), read("audio_diffuser")
    assert longer["initial_weights"] == longer["model_folder"] and longer["seed"] != first["seed"]
    unaligned = trained / "alignment_text_audio" / "before"
    shutil.copytree(unaligned, tmp_path / "model")
    still = {"learning_rate": 1e-12, "initial_weights": str(tmp_path / "model")}
    run_recipe(shrink("audio_diffuser_longer", tmp_path, **still), data=DATA, device="cpu")
    before, after = (weights(folder, "audio_denoiser") for folder in (unaligned, tmp_path / "model"))
    fitted = "prompt_map.linear_"  # learns before the first step, from where it was
    assert all(torch.equal(after[key], before[key]) for key in after if not key.startswith(fitted))


def test_a_wider_encoder_takes_the_place_of_the_first_and_leaves_the_text_projection_alone(trained, tmp_path):
    shutil.copytree(trained / "model", tmp_path / "model", ignore=shutil.ignore_patterns("training"))
    run_recipe(shrink("bridging_image_wide", tmp_path), data=DATA, device="cpu")
    for component, stays in (("text_prompt_encoder", True), ("image_prompt_encoder", False)):
        before, after = weights(trained / "model", component), weights(tmp_path / "model", component)
        assert all(torch.equal(after[key], before[key]) for key in after) == stays


def test_weights_of_another_size_can_begin_anew_and_others_must_fit(trained, tmp_path):
    unaligned = trained / "alignment_text_audio" / "before"
    shutil.copytree(unaligned, tmp_path / "model")
    start = {"learning_rate": 1e-12, "initial_weights": str(tmp_path / "model")}
    wider = shrink("audio_diffuser", tmp_path, **start)
    values = yaml.safe_load(wider.read_text())
    values["settings"]["network"]["prompt_map_dim"] = 24
    for fresh, message in (
        ([], "prompt_map.linear_1.weight differs"),
        (["prompt_map.linear", "crayon"], "no weight's name begins with 'crayon'"),
    ):
        wider.write_text(yaml.safe_dump(values | {"fresh_weights": fresh}))
        with pytest.raises(TrainingError, match=message):
            run_recipe(wider, data=DATA, device="cpu")
    wider.write_text(yaml.safe_dump(values | {"fresh_weights": ["prompt_map.linear"]}))
    run_recipe(wider, data=DATA, device="cpu")
    before, after = weights(unaligned, "audio_denoiser"), weights(tmp_path / "model", "audio_denoiser")
    assert len(after["prompt_map.linear_1.weight"]) == 24
    assert all(torch.equal(after[key], before[key]) for key in after if not key.startswith("prompt_map.linear_"))


def test_a_decoder_can_learn_alone_while_latents_stay(trained, tmp_path):
    shutil.copytree(trained / "model", tmp_path / "model", ignore=shutil.ignore_patterns("training"))
    start = {"learning_rate": 0.01, "initial_weights": str(tmp_path / "model")}
    run_recipe(shrink("image_autoencoder_decoder", tmp_path, **start), data=DATA, device="cpu")
    before, after = (weights(folder / "model", "image_autoencoder") for folder in (trained, tmp_path))
    moved = {key for key, value in after.items() if not torch.equal(value, before[key])}
    assert moved and all(key.startswith(("vae.decoder", "vae.post_quant_conv")) for key in moved)
    configs = [
        json.loads((folder / "model" / "image_autoencoder" / "config.json").read_text())
        for folder in (trained, tmp_path)
    ]
    assert configs[0]["latents_mean"] == configs[1]["latents_mean"] is not None


def test_latents_of_pictures_stay_near_what_they_were_as_far_as_the_recipe_weighs_that(trained, tmp_path):
    pictures = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    learned = ImageAutoencoder.from_pretrained(trained / "model" / "image_autoencoder")
    distances = []
    for weight in (0.001, 100.0):
        folder = tmp_path / str(weight)
        shutil.copytree(trained / "model", folder / "model", ignore=shutil.ignore_patterns("training"))
        start = {"learning_rate": 0.003, "steps": 40, "initial_weights": str(folder / "model")}
        recipe = shrink("image_autoencoder_detail", folder, **start)
        values = yaml.safe_load(recipe.read_text())
        values["settings"]["latents_weight"] = weight
        recipe.write_text(yaml.safe_dump(values))
        run_recipe(recipe, data=DATA, device="cpu")
        went_on = ImageAutoencoder.from_pretrained(folder / "model" / "image_autoencoder")
        assert went_on.config["latents_std"] == learned.config["latents_std"]
        distances.append((went_on.encode(pictures) - learned.encode(pictures)).square().mean().item())
    assert 0 < distances[1] < 0.5 * distances[0], distances


@pytest.mark.parametrize("name", ["bridging_audio", "bridging_video"])
def test_the_bridging_stages_of_sound_and_video_leave_the_text_projection_alone(trained, name):
    assert not changed(trained / name, "text_prompt_encoder")


def test_text_latents_have_the_shape_the_text_denoiser_expects(trained):
    denoiser = FlatUNet.from_pretrained(trained / "model" / "text_denoiser")
    autoencoder = json.loads((trained / "model" / "text_autoencoder" / "config.json").read_text())
    assert denoiser.config.in_channels == autoencoder["latent_dim"]
