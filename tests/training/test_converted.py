"""The converted published networks, at reduced sizes, go on learning: every stage that touches them runs and is used."""

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from opencodi.convert.codi import convert_codi
from opencodi.training.components import ModelFolder
from opencodi.training.run import run_recipe

from ..convert.checkpoints import CONFIGS, write_checkpoints, write_tokenizers
from .tiny_recipes import DATA

RECIPES = Path(__file__).parents[2] / "recipes" / "codi"
STAGES = sorted(path.stem for path in RECIPES.glob("*.yaml"))


@pytest.fixture(scope="module")
def codi(tmp_path_factory) -> Path:
    """The reduced published model, converted."""
    home = tmp_path_factory.mktemp("published")
    tokenizers, files = write_tokenizers(home / "tokenizers"), write_checkpoints(home / "files")
    convert_codi(files, home / "codi", dtype="float32", tokenizers=tokenizers, configs=CONFIGS)
    return home / "codi"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_goes_on_from_the_converted_weights_and_leaves_them_alone(stage, codi, tmp_path):
    values = yaml.safe_load((RECIPES / f"{stage}.yaml").read_text())
    values |= {"base_model": str(codi), "steps": 1, "batch_size": 2, "gradient_accumulation_steps": 1}
    values |= {"warmup_steps": 1, "learning_rate": 1e-3, "learning_rate_schedule": "constant", "report_every": 1}
    recipe = tmp_path / f"{stage}.yaml"
    recipe.write_text(yaml.safe_dump(values))
    run_recipe(recipe, output=tmp_path / "own", data=DATA, device="cpu")
    learned = [name for name in values["writes"] if name != "scheduler"]
    assert sorted(path.name for path in (tmp_path / "own").iterdir()) == sorted([*values["writes"], "training"])
    for name in learned:
        before, after = weights(codi / name), weights(tmp_path / "own" / name)
        assert before.keys() == after.keys()
        moved = [float((before[key].float() - after[key].float()).abs().max()) for key in before]
        assert 0 < max(moved) < 0.02, "one step away from the published weights"
    # What the run read of the base is read again beside what it wrote.
    parts = ModelFolder(tmp_path / "own", None, codi)
    assert parts.holder(learned[0]) == tmp_path / "own" and parts.holder("text_prompt_encoder") == codi
