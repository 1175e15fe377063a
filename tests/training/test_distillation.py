"""Alignment by distillation: sub-layers learn from the prompted denoiser, on real pairs and on own trajectories."""

import numpy as np
import pytest
import torch

from opencodi.denoisers import AlignmentAdapter, CaptionBank, EvidenceEncoder, FlatUNet, UNet
from opencodi.errors import ConfigurationError
from opencodi.training.task import save_component

from .. import tiny
from . import making
from .test_evidence import NETWORKS
from .test_scene_diffuser import FLAT, SCHEDULER, UNET, folder  # noqa: F401

ADAPTER = {"environment_dim": tiny.WIDTH, "environment_channels": [], "width_mult": 0.5, "feed_forward_mult": 1.0}
VALUES = {
    **{"pair": ["text", "image"], "train": ["text", "image"], "scheduler": SCHEDULER, "ahead": {"text": 1.5}},
    **{"network": {"text_alignment": ADAPTER, "image_alignment": {**ADAPTER, "environment_tokens": 4}}},
    **{"own_steps": {"text": 2, "image": 4}, "own_ticks": 3, "own_guidance": 2.0},
    **{"shards": {"images": 1.0}, "scenes": 3, "held_scenes": 2, "scene_share": 0.4},
}


@pytest.fixture
def parts(folder):  # noqa: F811
    """The folder with denoisers and encoders of evidence that are sure of what they say."""
    networks = {
        "text_denoiser": FlatUNet(**{**FLAT, "feature_tokens": 2}),
        "image_denoiser": UNet(**UNET),
        "text_evidence": EvidenceEncoder(**NETWORKS["text"]),
        "image_evidence": EvidenceEncoder(**NETWORKS["image"]),
    }
    for place, (name, network) in enumerate(networks.items()):
        tiny.randomise(network, place)
        if isinstance(network, EvidenceEncoder):
            network.out.data = 4 * torch.randn(network.out.shape, generator=tiny.seeded(place))
        save_component(network, folder / name)
    save_component(CaptionBank.of(torch.randn(16, tiny.WIDTH, generator=tiny.seeded(3)), 4), folder / "caption_bank")
    return folder


@pytest.mark.slow
def test_the_student_comes_near_the_teacher_and_only_the_sublayers_learn(parts, generator):
    task = making.make_task("distillation", parts, **{**VALUES, "denoising_weight": 0.0, "mixture_share": 0.0})
    assert {name.split(".")[2] for name in task.trained_parameters()} == {"alignment"}
    optimizer = torch.optim.AdamW(task.trained_parameters().values(), lr=3e-3)
    history = []
    for _ in range(12):
        losses = task(task.sample_batch(np.random.default_rng(0), 12), torch.Generator().manual_seed(0))
        history.append({name: value.item() for name, value in losses.items()})
        losses["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert all(np.isfinite(list(each.values())).all() for each in history)
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    measures = task.eval().validate(generator)
    assert {f"image_{way}_at_850" for way in ("true", "wrong", "none", "told")} <= measures.keys()
    assert measures["image_true_at_850"] != measures["image_wrong_at_850"] != measures["image_none_at_850"]
    task.export(parts)
    loaded = AlignmentAdapter.from_pretrained(parts / "image_alignment")
    assert loaded.environment_encoder is None
    # The next stage goes on from it, and text stays.
    again = making.make_task("distillation", parts, **{**VALUES, "network": {}, "train": ["image"]})
    assert set(again.components()) == {"image_alignment"}


def test_texts_are_ahead_by_their_log_snr_and_own_states_are_where_they_say(parts):
    task = making.make_task("distillation", parts, **VALUES)
    times = task._mapped(torch.tensor([950, 850, 500, 0]))
    alphas = task.scheduler.alphas_cumprod
    ratio = (alphas / (1 - alphas)).log()
    ahead = ratio[times["text"]] - ratio[times["image"]]
    assert ahead[:3].tolist() == pytest.approx([1.5] * 3, abs=0.1) and times["text"][3] == 0
    batch = task.sample_batch(np.random.default_rng(0), 4)
    from opencodi.prompts import Condition

    states, reached = task._own(Condition(batch["condition"], batch["mask"]), torch.Generator().manual_seed(0))
    assert states["image"].shape == batch["image"].shape and states["text"].shape == batch["text"].shape
    scheduler = task.scheduler
    scheduler.set_timesteps(4)
    assert int(reached["image"][0]) in {*scheduler.timesteps.tolist()[1:], 0}
    assert 0 <= int(reached["text"][0]) < 999


def test_a_pair_without_steps_of_its_own_trajectories_is_refused(parts):
    with pytest.raises(ConfigurationError, match="own_steps"):
        making.make_task("distillation", parts, **{**VALUES, "own_steps": {"image": 4}})
