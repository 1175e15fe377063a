"""The bundled model goes on by the recipes that made it: a run changes what it writes, and the rest still fits."""

import shutil
from pathlib import Path

import pytest
import torch
import yaml

import opencodi
from opencodi import AnyToAnyPipeline, Modality
from opencodi.training.run import run_recipe

from .tiny_recipes import DATA, DATA_VALUES, base, read

pytestmark = pytest.mark.slow


def run(name, model, settings, **changes):
    """One step of a shipped recipe at full size, on the model folder, with the sample data."""
    values = read(name) | {"steps": 1, "batch_size": 2, "warmup_steps": 1, "model_folder": str(model), **changes}
    values["settings"] |= settings
    values["data"] |= DATA_VALUES[base(name)]
    recipe = model.parent / f"{name}.yaml"
    recipe.write_text(yaml.safe_dump(values))
    before = {path: path.read_bytes() for path in model.glob("*/*.safetensors")}
    run_recipe(recipe, data=DATA, device="cpu")
    changed = {path.parent.name for path, content in before.items() if path.read_bytes() != content}
    return changed - {"training"}  # embeddings that other runs may use


def test_a_finetuned_image_denoiser_keeps_time_and_alignment_and_alignment_alone_keeps_the_denoiser(tmp_path):
    model = tmp_path / "model"
    shutil.copytree(Path(opencodi.__file__).parent / "models" / "stickers", model)
    start = {"initial_weights": str(model), "learning_rate": 0.001}
    tuned = run("image_diffuser_further", model, {"prompt_map_steps": 0}, **start)
    assert {"image_denoiser"} <= tuned <= {"image_denoiser", "image_prompt_map", "image_manner_embedding"}
    learning = {"train": ["image"], "environment_steps": 1}
    written = ["image_alignment", "image_environment_map"]
    aligned = run("alignment_text_image_third", model, learning, writes=written, learning_rate=0.01)
    assert {"image_alignment"} <= aligned <= set(written)

    pipe = AnyToAnyPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)
    call = {"text": "a dog", "num_inference_steps": 2, "output_type": "latent", "extras": ()}
    together, alone = (
        pipe(outputs=outputs, **call, generator=torch.Generator().manual_seed(0)) for outputs in ("all", "image")
    )
    assert together["video"].shape[2] == 16 and all(together[name].isfinite().all() for name in Modality)
    assert (together["image"] - alone["image"]).abs().max() > 1e-3
