"""Bridging with words, regions, a frozen vision network, and items that are made: on the sample data, with tiny networks."""

from pathlib import Path

import numpy as np
import pytest
import torch

from opencodi.collections import find_collection
from opencodi.collections.stickers.pair_data import without_voices
from opencodi.data.shards import Items
from opencodi.prompts import ImagePromptEncoder, TextPromptEncoder
from opencodi.training.contrastive import late_interaction
from opencodi.training.recipe import checked, load_recipe
from opencodi.training.tasks import find_task
from opencodi.training.tasks.bridging import BridgingTask

from .. import tiny
from . import making
from .tiny_recipes import RECIPES

VISION = {"layout": [[3, 2, 1, 8], [3, 2, 2, 16]], "stem_channels": 8, "head_channels": 32, "classes": 1000}
NETWORK = {
    **{"vision": VISION, "sample_size": 32, "patch_size": 1, "block_out_channels": [16], "layers_per_block": [1]},
    **{"num_attention_heads": 2, "norm_num_groups": 4, "dropout": 0.0, "projection_dim": tiny.WIDTH},
}
VALUES = {
    **{"modality": "image", "network": NETWORK, "name_share": 0.3, "temperature": 0.07, "least_temperature": 0.02},
    **{"same_concept_weight": 0.5, "pull_weight": 0.5, "structure_weight": 1.0, "mix_share": 0.5},
    **{"word_weight": 0.5, "class_weight": 1.0, "text_network": {"projection_dim": tiny.WIDTH, "word_tokens": 6}},
    **{"shards": {"images": 0.4, "photographic": 0.2, "photos": 0.2, "scenes": 0.2}, "photographic": 1},
    **{"photographs_again": 1, "held_photos": 0.4, "scenes": 6, "held_scenes": 3},
}


@pytest.fixture
def bert(tmp_path) -> Path:
    source = tiny.text_prompt_encoder()
    source.sentence_encoder.save_pretrained(tmp_path / "bert")
    source.tokenizer.save(str(tmp_path / "bert" / "tokenizer.json"))
    return tmp_path / "bert"


def make(folder: Path, bert: Path, **changes) -> BridgingTask:
    torch.manual_seed(0)
    return making.make_task("bridging", folder, **{**VALUES, "sentence_encoder": str(bert), **changes})


def test_words_regions_and_classes_are_learned_and_the_vision_network_is_not(bert, tmp_path, generator):
    task = make(tmp_path / "model", bert)
    frozen = {name: value.clone() for name, value in task.encoder.sight.network.state_dict().items()}
    optimizer = torch.optim.AdamW(task.trained_parameters().values(), lr=3e-3)
    history = []
    for step in range(12):
        losses = task(task.sample_batch(np.random.default_rng(step % 3), 12), torch.Generator().manual_seed(step % 3))
        history.append({name: value.item() for name, value in losses.items()})
        losses["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
    for name in ("loss", "classes"):
        assert history[-1][name] < history[0][name] - 0.05
    assert all(torch.equal(frozen[name], value) for name, value in task.encoder.sight.network.state_dict().items())
    task.export(tmp_path / "model")
    image = ImagePromptEncoder.from_pretrained(tmp_path / "model" / "image_prompt_encoder")
    text = TextPromptEncoder.from_pretrained(tmp_path / "model" / "text_prompt_encoder")
    assert image.sight is not None and text.encode(["a cat"]).tokens.shape[1] > 1
    measures = task.eval().validate(generator)
    assert {"named_images", "text_to_item_R@1"} <= measures.keys()


def test_what_was_seen_once_is_not_seen_again(bert, tmp_path):
    first = make(tmp_path / "model", bert)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    again = make(tmp_path / "model", bert)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == files
    batches = [task.sample_batch(np.random.default_rng(1), 8) for task in (first, again)]
    assert all(torch.equal(batches[0][name], batches[1][name]) for name in batches[0])


def test_late_interaction_prefers_the_text_whose_words_are_in_the_picture():
    words = torch.eye(4)[None, :2]  # one text of two words
    shown, other = torch.eye(4)[None, [0, 1, 3]], torch.eye(4)[None, [2, 3, 3]]
    mask = torch.ones(1, 2, dtype=torch.bool)
    of_words, of_regions = late_interaction(words, mask, torch.cat([shown, other]))
    assert of_words.tolist() == [[1, 0]] and of_regions[0, 0] > of_regions[0, 1]
    padded = torch.cat([words, torch.full((1, 1, 4), 9.0)], 1)
    longer, of_longer = late_interaction(padded, torch.tensor([[True, True, False]]), torch.cat([shown, other]))
    assert torch.equal(longer, of_words) and torch.equal(of_longer, of_regions)


@pytest.mark.parametrize("path", sorted((RECIPES.parent / "stickers-2").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_of_the_second_model_is_one_that_can_be_run_from_nothing(path):
    recipe, collection = load_recipe(path), find_collection("stickers")
    checked(find_task(recipe.task, collection.TASKS).Settings, recipe.settings, str(path))
    checked(collection.DATA[recipe.task], recipe.data, str(path))
    assert recipe.model_folder == "runs/stickers-2" and not recipe.initial_weights and recipe.writes


def test_withheld_voices_only_validate():
    voices = ["a", "b", "a", "b"]
    items = Items(np.arange(4)[:, None], [{"voice": voice} for voice in voices])
    training, held = without_voices((items, items), ("b",))
    assert {record["voice"] for record in training.records} == {"a"}
    assert {record["voice"] for record in held.records} == {"b"} and len(held) == 4
