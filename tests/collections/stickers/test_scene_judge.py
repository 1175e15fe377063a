"""The judge of scenes is asked what a scene shows, and trains from composed pictures."""

import math

import numpy as np
import pytest
import torch
import yaml

from opencodi.collections.stickers.judges.scene_network import SceneJudge
from opencodi.collections.stickers.judges.scene_task import (
    RELATIONS,
    UNKNOWN,
    SceneDrawings,
    SceneJudgeTask,
    every_thing_shown,
)
from opencodi.collections.stickers.scenes import Part, Scene
from opencodi.collections.stickers.things import Drawings
from opencodi.training.components import ModelFolder
from opencodi.training.recipe import checked

from ...training.tiny_recipes import RECIPES
from .drawn import drawn_items


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> SceneJudgeTask:
    torch.manual_seed(0)
    values = yaml.safe_load((RECIPES.parent / "judges" / "scenes.yaml").read_text())["settings"]
    small = {
        "block_out_channels": [16, 32],
        "layers_per_block": [1, 1],
        "transformer_layers": 1,
        "num_attention_heads": 2,
    }
    values |= {"held": 8, "network": values["network"] | small}
    settings = checked(SceneJudgeTask.Settings, values, "settings")
    return SceneJudgeTask(
        settings, SceneDrawings(Drawings(drawn_items())), ModelFolder(tmp_path_factory.mktemp("none"))
    )


def test_labels_say_what_is_shown_and_how_it_stands(task):
    scene = Scene("noto", (Part("teddy bear"), Part("skateboard")), "riding", ground="night")
    labels = task.labels(scene)
    assert labels["shown"].sum() == 2 and labels["shown"][labels["first"]] == labels["shown"][labels["second"]] == 1
    assert RELATIONS[int(labels["relation"])] == "on"
    assert task.grounds[int(labels["ground"])] == "night" and task.moods[int(labels["mood"])] == ""
    alone = task.labels(Scene("noto", (Part("cat", 3),), ground="red"))
    assert alone["shown"].sum() == 1 and alone["relation"] == UNKNOWN and task.grounds[int(alone["ground"])] == ""


def test_all_things_count_as_shown_only_if_each_is_among_the_likeliest():
    shown = torch.tensor([[1.0, 1.0, 0.0, 0.0, 0.0]])
    assert every_thing_shown(torch.tensor([[5.0, 3.0, 4.0, 0.0, 1.0]]), shown).item()
    assert not every_thing_shown(torch.tensor([[5.0, 2.0, 4.0, 3.0, 1.0]]), shown).item()


def test_the_judge_learns_its_questions_on_one_batch(task):
    batch = task.sample_batch(np.random.default_rng(0), 12)
    assert batch["pixels"].shape == (12, 128, 128, 4) and batch["shown"].shape == (12, len(task.numbers))
    optimizer = torch.optim.AdamW(task.judge.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        found = task(batch, torch.Generator().manual_seed(0))
        optimizer.zero_grad()
        found["loss"].backward()
        optimizer.step()
        losses.append({name: float(value.detach()) for name, value in found.items()})
    assert all(losses[-1][name] < losses[0][name] for name in ("things", "relations", "styles"))
    with torch.no_grad():
        measures = task.validate(torch.Generator())
    assert {"all_shown_withheld", "relation_withheld", "shown_and_related_known"} <= measures.keys()
    assert all(0 <= value <= 1 or math.isnan(value) for value in measures.values())


def test_who_is_first_in_the_question_matters(task):
    judge: SceneJudge = task.judge
    with torch.no_grad():
        tokens = judge(torch.randn(1, 3, 128, 128)).tokens
        one, other = torch.tensor([3]), torch.tensor([7])
        assert not torch.allclose(judge.relate(tokens, one, other), judge.relate(tokens, other, one))
