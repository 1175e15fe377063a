"""Bridging alignment on the sample of real stickers, photographs, sounds and words in tests/data."""

from pathlib import Path

import numpy as np
import pytest
import torch

from opencodi.collections.stickers.pair_data import group_of
from opencodi.data.augment import hide_bands
from opencodi.errors import ConfigurationError, TrainingError
from opencodi.prompts import ImagePromptEncoder, TextPromptEncoder, VideoPromptEncoder
from opencodi.training.task import save_component
from opencodi.training.tasks.bridging import BridgingTask

from .. import tiny
from . import making

TOWER = {"patch_size": 8, "block_out_channels": [8, 16], "layers_per_block": [1, 1], "projection_dim": tiny.WIDTH}
COMMON = {
    "name_share": 0.3,
    "temperature": 0.07,
    "least_temperature": 0.02,
    "same_concept_weight": 0.5,
    "pull_weight": 0.5,
    "structure_weight": 1.0,
    "sentence_encoder": "trained",
    "text_network": {},
}
PAIRS = {
    "image": {"shards": {"images": 0.8, "photos": 0.2}, "network": TOWER},
    "audio": {"shards": {"sounds": 0.5, "speech": 0.5}, "network": TOWER},
    "video": {"shards": {"videos": 1.0}, "network": {"temporal_width": 16, "temporal_layers": 1}},
}


@pytest.fixture
def model_folder(tmp_path) -> Path:
    save_component(tiny.text_prompt_encoder(), tmp_path / "model" / "text_prompt_encoder")
    save_component(tiny.randomise(ImagePromptEncoder(**TOWER)), tmp_path / "model" / "image_prompt_encoder")
    return tmp_path / "model"


def make_task(pair: str, model_folder: Path, **changes) -> BridgingTask:
    values = {"modality": pair, **COMMON, **PAIRS[pair], **changes}
    torch.manual_seed(0)
    return making.make_task("bridging", model_folder, **values)


def losses_of(task: BridgingTask, seed: int = 0) -> dict[str, torch.Tensor]:
    return task(task.sample_batch(np.random.default_rng(seed), 8), torch.Generator().manual_seed(seed))


# What moves is a residual that starts at zero, so clips improve more slowly.
@pytest.mark.parametrize(("modality", "margin"), [("image", 0.1), ("audio", 0.1), ("video", 0.01)])
def test_a_few_steps_bring_pairs_together_and_touch_nothing_frozen(modality, margin, model_folder):
    task = make_task(modality, model_folder)
    frozen = {name: value.clone() for name, value in task.named_parameters() if not value.requires_grad}
    assert any(name.startswith("text_encoder.projection") for name in frozen)
    optimizer = torch.optim.AdamW(task.trained_parameters().values(), lr=3e-3)
    task.eval()
    before = float(losses_of(task)["loss"].detach())
    for step in range(20):
        optimizer.zero_grad()
        losses_of(task, step % 4)["loss"].backward()
        optimizer.step()
    assert float(losses_of(task)["loss"].detach()) < before - margin
    state = dict(task.named_parameters())
    assert all(torch.equal(state[name], value) for name, value in frozen.items())


def test_only_the_temporal_network_learns_from_clips_and_it_alone_is_exported(model_folder):
    task = make_task("video", model_folder)
    assert {name.split(".")[1] for name in task.trained_parameters() if name.startswith("encoder")} == {"temporal"}
    before = (model_folder / "image_prompt_encoder" / "diffusion_pytorch_model.safetensors").read_bytes()
    task.export(model_folder)
    video = VideoPromptEncoder.from_pretrained(model_folder / "video_prompt_encoder")
    assert all(name.startswith("temporal.") for name in video.state_dict())
    assert (model_folder / "image_prompt_encoder" / "diffusion_pytorch_model.safetensors").read_bytes() == before


def test_a_new_text_encoder_learns_its_projection_only_and_is_exported(model_folder, tmp_path):
    source = tiny.text_prompt_encoder()
    source.sentence_encoder.save_pretrained(tmp_path / "bert")
    source.tokenizer.save(str(tmp_path / "bert" / "tokenizer.json"))
    text_network = {"projection_dim": tiny.WIDTH, "projection_hidden_size": 16}
    task = make_task("image", tmp_path / "new", sentence_encoder=str(tmp_path / "bert"), text_network=text_network)
    trained = {name for name in task.trained_parameters() if name.startswith("text_encoder")}
    assert trained and all(name.startswith("text_encoder.projection") for name in trained)
    losses = losses_of(task)
    assert losses["structure"] > 0
    losses["loss"].backward()
    task.export(tmp_path / "new")
    made = TextPromptEncoder.from_pretrained(tmp_path / "new" / "text_prompt_encoder")
    assert made.encode(["a rooster"]).tokens.shape == (1, 1, tiny.WIDTH)


def test_a_step_depends_on_nothing_but_its_number(model_folder):
    first, again = make_task("audio", model_folder), make_task("audio", model_folder)
    one, two, other = losses_of(first.eval(), 3), losses_of(again.eval(), 3), losses_of(first, 4)
    assert one["loss"] == two["loss"] and one["loss"] != other["loss"]


def test_photographs_get_their_share_of_the_batch(model_folder):
    task = make_task("image", model_folder, shards={"images": 0.25, "photos": 0.75})
    groups = task.sample_batch(np.random.default_rng(0), 400)["groups"]
    photos = set(task.groups[task.members[1]].tolist())
    share = np.mean([group in photos for group in groups.tolist()])
    assert 0.6 < share < 0.9


def test_tones_and_spoken_words_are_answers_of_their_own():
    dog = {"concept": "1f415", "shard": "sounds"}
    assert group_of(dog, 0) == group_of(dict(dog), 1)
    assert group_of(dog, 0) != group_of({**dog, "shard": "speech"}, 0)
    assert group_of(dog, 0) != group_of({**dog, "tone": "dark"}, 0)
    photo = {"concept": None, "shard": "photos"}
    assert group_of(photo, 0) != group_of(photo, 1)


def test_validation_measures_recall_and_gap_and_shows_what_is_found(model_folder, tmp_path, generator):
    task = make_task("image", model_folder).eval()
    measures = task.validate(generator)
    assert measures == task.validate(generator)
    assert 0 <= measures["text_to_item_R@1"] <= measures["text_to_item_R@5"] <= 1 and measures["modality_gap"] > 0
    task.sample(tmp_path / "found.png", generator)
    assert (tmp_path / "found.png").stat().st_size > 0


def test_hidden_bands_are_bands_of_bounded_size(generator):
    mel = torch.ones(64, 1, 32, 16)
    hidden = (hide_bands(mel, 8, 4, -5.0, generator) == -5).squeeze(1)
    assert (hidden.all(2).sum(1) <= 8).all() and (hidden.all(1).sum(1) <= 4).all()
    assert 0 < hidden.float().mean() < 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modality": "text"}, "modality"),
        ({"shards": {"picture": 1.0}}, "picture"),
        ({"shards": {"images": 0.0}}, "share"),
        ({"shards": {}}, "shards"),
        ({"least_temperature": 1.0}, "temperature"),
        ({"network": {"widht": 3}}, "widht"),
    ],
)
def test_impossible_settings_are_named(changes, message, model_folder):
    with pytest.raises(ConfigurationError, match=message):
        make_task("image", model_folder, **changes)


def test_sounds_need_a_trained_text_encoder_first(tmp_path):
    with pytest.raises(TrainingError, match="text_prompt_encoder"):
        make_task("audio", tmp_path)


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_mixed_items_are_learned_under_both_their_captions(modality, model_folder):
    task = make_task(modality, model_folder, mix_share=1.0)
    batch = task.sample_batch(np.random.default_rng(0), 8)
    inputs = {name.removeprefix("input."): value for name, value in batch.items() if name.startswith("input.")}
    mixed, own = task.pair.mixed(inputs, np.random.default_rng(1), 1.0)
    same, whole = task.pair.mixed(inputs, np.random.default_rng(1), 0.0)
    assert 0 < own < 1 and whole == 1
    for name, value in inputs.items():
        assert torch.equal(same[name], value)
        assert mixed[name].shape == value.shape and mixed[name].dtype == value.dtype
        assert not torch.equal(mixed[name], value)
    texts = torch.eye(8)
    labels = torch.arange(8), torch.arange(8)
    kept, swapped = task._losses(texts, texts, *labels, 0.75), task._losses(texts, texts.flip(0), *labels, 0.75)
    assert kept["pull"] == pytest.approx(0.25) and swapped["pull"] == pytest.approx(0.75)
    assert kept["contrastive"] < swapped["contrastive"]


def test_only_pictures_of_the_groups_named_are_seen_in_a_mirror(model_folder):
    plain, mirrored = (make_task("image", model_folder, flipped_groups=groups) for groups in ((), ("animals-nature",)))
    media, may_flip = mirrored.prepared
    assert may_flip.any() and not may_flip.all() and not plain.prepared[1].any()
    chosen = np.arange(len(media))
    kept, seen = (
        task.pair.batch(task.prepared, chosen, np.random.default_rng(0))["pixels"].numpy() for task in (plain, mirrored)
    )
    assert np.array_equal(kept, media)
    changed = np.array([not np.array_equal(a, b) for a, b in zip(seen, media)])
    assert changed.any() and may_flip[changed].all()
    assert np.array_equal(seen[changed], media[changed, :, ::-1])
