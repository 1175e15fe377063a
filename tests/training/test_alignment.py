"""Environment encoders learn alone first; a pair may have one that is finished and only seen."""

import numpy as np
import pytest
import torch
import yaml

from opencodi import Modality
from opencodi.errors import ConfigurationError
from opencodi.training.tasks.alignment import AlignmentTask

from .making import make_task
from .tiny_recipes import shrink


def task_for(name: str, folder, trained, **changes) -> AlignmentTask:
    values = yaml.safe_load(shrink(name, folder).read_text())
    return make_task("alignment", trained / "model", **{**values["data"], **values["settings"], **changes})


def test_environment_encoders_learn_to_name_what_they_see_before_the_first_step(trained, tmp_path):
    task = task_for("alignment_text_image", tmp_path, trained, environment_steps=120)
    batch = task.sample_batch(np.random.default_rng(0), 32)

    def bridge() -> float:
        with torch.no_grad():
            return float(task(batch, torch.Generator().manual_seed(0))["bridge"])

    before, fresh = {name: value.clone() for name, value in task.state_dict().items()}, bridge()
    task.begin(torch.Generator().manual_seed(1))
    assert bridge() < 0.9 * fresh
    changed = {name for name, value in task.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(".environment_encoder." in name for name in changed)


def test_finished_ones_come_in_their_shares_and_never_both(trained, tmp_path):
    shares = {"text": 0.3, "image": 0.5}
    task = task_for("alignment_text_image", tmp_path, trained, finished_shares=shares)
    batch = task.sample_batch(np.random.default_rng(0), 400)
    _, _, times = task._noised(batch, torch.Generator().manual_seed(0))
    finished = {modality: (times[modality] == 0).float() for modality in times}
    assert {m.value: f.mean().item() for m, f in finished.items()} == pytest.approx(shares, abs=0.07)
    assert not (finished[Modality.TEXT] * finished[Modality.IMAGE]).any()
    with pytest.raises(ConfigurationError, match="finished_shares"):
        task_for("alignment_text_image", tmp_path, trained, finished_shares={"text": 0.7, "image": 0.5})


def test_one_that_is_always_finished_is_seen_without_running(trained, tmp_path):
    task = task_for("alignment_text_image", tmp_path, trained, finished_shares={"text": 1.0})
    batch = task.sample_batch(np.random.default_rng(0), 8)
    ran = []
    task.denoisers[Modality.TEXT].register_forward_hook(lambda *_: ran.append("text"))
    losses = task(batch, torch.Generator().manual_seed(0))
    assert "text" not in losses and losses["image"] > 0 and not ran
    others = {**batch, "text": batch["text"].roll(1, 0)}
    with torch.no_grad():
        for _, value in task.denoisers[Modality.IMAGE].alignment_parameters():
            value.add_(0.1)  # so that what is seen matters
    own, another = (task(each, torch.Generator().manual_seed(0))["image"] for each in (batch, others))
    assert own != another
