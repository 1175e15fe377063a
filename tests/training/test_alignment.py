"""Environment encoders learn alone first."""

from dataclasses import replace

import numpy as np
import torch
import yaml

from opencodi.training.recipe import from_mapping
from opencodi.training.stages.alignment import AlignmentTask

from .tiny_recipes import DATA, shrink


def test_environment_encoders_learn_to_name_what_they_see_before_the_first_step(trained, tmp_path):
    values = yaml.safe_load(shrink("alignment_text_image", tmp_path).read_text())["settings"]
    settings = replace(from_mapping(AlignmentTask.Settings, values, "settings"), environment_steps=60)
    task = AlignmentTask(settings, DATA, trained / "model")
    batch = task.sample_batch(np.random.default_rng(0), 32)

    def bridge() -> float:
        with torch.no_grad():
            return float(task(batch, torch.Generator().manual_seed(0))["bridge"])

    before, fresh = {name: value.clone() for name, value in task.state_dict().items()}, bridge()
    task.begin(torch.Generator().manual_seed(1))
    assert bridge() < 0.9 * fresh
    changed = {name for name, value in task.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(".environment_encoder." in name for name in changed)
