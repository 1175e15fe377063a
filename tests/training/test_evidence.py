"""Encoders of evidence: they learn to name what noisy latents show, are calibrated, and say when something happens."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from opencodi.denoisers import CaptionBank, EvidenceEncoder
from opencodi.errors import ConfigurationError
from opencodi.training.objective import draw_within, make_scheduler
from opencodi.training.task import save_component
from opencodi.training.tasks.evidence import beat_loss, caption_loss, thing_loss

from .. import tiny
from . import making
from .test_scene_diffuser import SCHEDULER, folder  # noqa: F401

SIZES = {"embedding_dim": tiny.WIDTH, "channels": [8, 16], "num_heads": 2, "norm_num_groups": 2}
SIZES |= {"time_channels": 8, "time_embedding_dim": 16, "num_tokens": 3, "in_channels": 4}
COMMON = {"scheduler": SCHEDULER, "scenes": 3, "held_scenes": 2, "scene_share": 0.5}
COMMON |= {"bank_captions": 20, "bank_moving": 2}
NETWORKS = {
    "text": {**SIZES, "latents": "vector", "in_channels": 8, "tokens_per_feature": 2, "template_size": 8},
    "image": {**SIZES, "template_size": 1024},
    "audio": {**SIZES, "beats": 16, "beats_per_position": 2},
}
SHARDS = {
    "text": {"images": 0.4, "sounds": 0.3, "speech": 0.3},
    "image": {"images": 1.0},
    "audio": {"sounds": 0.5, "speech": 0.5},
}


def make(folder, modality, **changes):  # noqa: F811
    values = {**COMMON, "modality": modality, "network": NETWORKS[modality], "shards": SHARDS[modality]}
    return making.make_task("evidence", folder, **{**values, **changes})


def learned(task, steps: int) -> list[dict[str, float]]:
    optimizer = torch.optim.AdamW(task.trained_parameters().values(), lr=1e-2)
    history = []
    for step in range(steps):
        losses = task(task.sample_batch(np.random.default_rng(step % 3), 16), torch.Generator().manual_seed(step))
        history.append({name: value.item() for name, value in losses.items()})
        losses["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
    return history


@pytest.mark.slow
def test_a_picture_is_named_and_the_bank_is_shared(folder, generator, tmp_path):  # noqa: F811
    text = make(folder, "text")
    assert set(text.components()) == {"text_evidence", "caption_bank"}
    text.export(folder)
    task = make(folder, "image")
    assert set(task.components()) == {"image_evidence"}
    assert torch.allclose(task.bank.embeddings, text.bank.embeddings, atol=1e-3)
    batch = task.sample_batch(np.random.default_rng(0), 16)
    assert (batch["things"] >= 0).any(1).all() and (batch["beats"] == -1).all()
    names = task.data.training.names
    first = task.data.training.first(np.array([0]))
    assert names[first.things[0, 0]] in first.captions[0]
    history = learned(task, 24)
    for name in ("caption", "things"):
        assert np.mean([each[name] for each in history[-4:]]) < history[0][name] - 0.2
    before = task.eval().validate(generator)
    task.finish()
    assert len(task.encoder.config.calibration) == 7
    after = task.validate(torch.Generator().manual_seed(0))
    assert after["nll_at_500"] <= before["nll_at_500"] + 0.1 and 0 <= after["sure_at_900"] <= 1
    task.sample(tmp_path / "samples.png", generator)
    assert "\t" in (tmp_path / "samples.txt").read_text()
    task.export(folder)
    loaded = EvidenceEncoder.from_pretrained(folder / "image_evidence")
    assert [list(row) for row in loaded.config.calibration] == task.encoder.config.calibration


def test_a_sound_says_when_something_happens(folder, generator):  # noqa: F811
    task = make(folder, "audio", scene_share=1.0)
    batch = task.sample_batch(np.random.default_rng(0), 8)
    assert ((batch["beats"] == 1).sum(1) >= 1).all() and (batch["beats"] >= 0).all()
    history = learned(task, 12)
    assert history[-1]["beats"] < history[0]["beats"]
    assert "beat_at_990" in task.eval().validate(generator)


def test_a_network_without_tokens_for_things_is_refused(folder):  # noqa: F811
    with pytest.raises(ConfigurationError, match="num_tokens"):
        make(folder, "image", network={**NETWORKS["image"], "num_tokens": 1})


def test_the_loss_asks_for_the_log_likelihood():
    """Two texts, one measurement: the optimum of the loss is Bayes, so evidence of two measurements adds up."""
    generator = torch.Generator().manual_seed(0)
    texts = F.normalize(torch.tensor([[1.0, 0.2], [-0.3, 1.0]]), dim=-1)
    which = torch.randint(0, 2, (4096,), generator=generator)
    seen = (which * 2 - 1) + torch.randn(4096, generator=generator)  # log-odds of the second text: 2 x
    reading = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.Adam([reading], lr=0.1)
    for _ in range(200):
        loss = caption_loss(seen[:, None] * reading, texts, texts[:0], texts[which])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert float((texts[1] - texts[0]) @ reading) == pytest.approx(2.0, abs=0.15)


def test_things_may_come_in_any_order_and_fewer_are_nothing():
    names = torch.eye(4)
    things = torch.tensor([[2, 0, -1]])
    said = 30 * torch.stack([torch.zeros(4), names[0], names[2]])[None] - torch.tensor([[[9.0], [0], [0]]])
    assert float(thing_loss(said, things, names)) < 0.05
    assert float(thing_loss(said, torch.tensor([[2, 0, 1]]), names)) > 2


def test_unknown_beats_count_for_nothing():
    logits = torch.tensor([[5.0, -5.0], [9.0, 9.0]])
    beats = torch.tensor([[1.0, 0.0], [-1.0, -1.0]])
    assert float(beat_loss(logits, beats)) < 0.01


def test_timesteps_lie_in_the_window_in_their_share(generator):
    scheduler = make_scheduler(SCHEDULER, {})
    times = draw_within(scheduler, 4000, generator, torch.device("cpu"), (940, 999), 0.5)
    inside = ((times >= 940) & (times <= 999)).float().mean()
    assert inside == pytest.approx(0.5 + 0.5 * 0.06, abs=0.03) and times.max() <= 999


def test_the_bank_is_a_component(tmp_path):
    save_component(CaptionBank.of(torch.randn(5, 8), 2, spread=0.3), tmp_path / "caption_bank")
    loaded = CaptionBank.from_pretrained(tmp_path / "caption_bank")
    assert loaded.config.num_names == 2 and loaded.config.spread == 0.3
    assert torch.allclose(loaded.embeddings.norm(dim=1), torch.ones(5), atol=1e-2)
