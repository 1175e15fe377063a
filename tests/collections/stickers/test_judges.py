"""The judges: what they are trained on, that they learn, and that they come back from a folder as they were."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from opencodi.collections.stickers.judges.networks import AudioJudge, ImageJudge, load_judges
from opencodi.collections.stickers.judges.tasks import AudioJudgeTask, ImageJudgeTask
from opencodi.data.augment import audio_batch, over_white
from opencodi.data.shards import load_audio, load_images, load_videos
from opencodi.errors import ArgumentError, ConfigurationError, TrainingError
from opencodi.evaluation.accuracy import accuracy
from opencodi.training.components import save_component
from opencodi.training.recipe import load_recipe
from opencodi.training.run import run_recipe

from ...training.making import make_task
from ...training.tiny_recipes import DATA

RECIPES = Path(__file__).parents[3] / "recipes" / "judges"
TINY = {
    "block_out_channels": [16, 16],
    "layers_per_block": [0, 1],
    "feature_dim": 24,
    "norm_num_groups": 4,
    "dropout": 0.0,
}
PLAIN = {"scale": 0.0, "shift": 0.0, "degrees": 0.0, "soften_share": 0.0, "cut_share": 0.0, "flipped_groups": []}


def tiny_image_judge() -> ImageJudge:
    torch.manual_seed(0)
    judge = ImageJudge(["1f436", "2764"], ["dog face", "red heart"], ["noto", "twemoji", "fluent-3d"], **TINY)
    torch.nn.init.normal_(judge.trunk.blocks[0].conv2.weight, std=0.1)
    return judge.eval()


def tiny_audio_judge() -> AudioJudge:
    torch.manual_seed(0)
    return AudioJudge(["1f436", "1f941"], ["dog face", "drum"], **TINY).eval()


def task_of(name: str, **changes: Any) -> Any:
    recipe = load_recipe(RECIPES / f"{name}.yaml")
    network = {**recipe.settings["network"], **TINY, **changes.pop("network", {})}
    torch.manual_seed(0)
    values = {**recipe.data, **recipe.settings, **changes, "network": network}
    return make_task(f"{name}_judge", Path("unused"), **values)


def image_task(**changes: Any) -> ImageJudgeTask:
    return task_of("image", **changes)


def audio_task(**changes: Any) -> AudioJudgeTask:
    return task_of("audio", **{"least_sounds": 2, **changes})


def test_a_picture_gets_features_a_concept_and_a_style():
    output = tiny_image_judge()(over_white(load_images(DATA).media[:3]))
    assert output.features.shape == (3, 24)
    assert output.concept_logits.shape == (3, 2) and output.style_logits.shape == (3, 3)
    assert not torch.allclose(output.concept_logits[0], output.concept_logits[1])


def test_a_sound_gets_features_and_a_concept_and_loudness_does_not_matter():
    judge, waveform = tiny_audio_judge(), audio_batch(load_audio(DATA, ["sounds"]).media[:3])
    output = judge(waveform)
    assert output.features.shape == (3, 24) and output.concept_logits.shape == (3, 2) and output.style_logits is None
    torch.testing.assert_close(judge(0.1 * waveform).concept_logits, output.concept_logits, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(judge(mel=judge.mel(waveform)).features, output.features)
    with pytest.raises(ArgumentError, match="either waveform or mel"):
        judge()


def test_features_are_what_the_logits_are_made_of():
    judge = tiny_image_judge()
    output = judge(over_white(load_images(DATA).media[:2]))
    torch.testing.assert_close(judge.concept(output.features), output.concept_logits)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers_per_block": [1]}, "layers_per_block"),
        ({"layers_per_block": [1, 0]}, "layers_per_block"),
        ({"sample_size": 20}, "multiples"),
    ],
)
def test_widths_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        ImageJudge(["a"], ["one"], ["b"], **{**TINY, **changes})


def test_judges_come_back_from_their_folder_as_they_were(tmp_path):
    image, audio = tiny_image_judge(), tiny_audio_judge()
    save_component(image, tmp_path / "image_judge")
    save_component(audio, tmp_path / "audio_judge")
    judges = load_judges(tmp_path)
    pixel_values = over_white(load_images(DATA).media[:4])
    assert judges.image.dtype == torch.float32 and not judges.image.training
    assert list(judges.image.config.concepts) == ["1f436", "2764"] and list(judges.audio.config.names)[1] == "drum"
    torch.testing.assert_close(
        judges.image(pixel_values).concept_logits, image(pixel_values).concept_logits, atol=0.02, rtol=0.02
    )
    if judges.words is not None:
        assert judges.words.names == ["dog face", "red heart"]


def test_a_folder_without_judges_says_how_to_make_them(tmp_path):
    with pytest.raises(ConfigurationError, match=r"image_judge is missing: .*recipes/judges"):
        load_judges(tmp_path)


def test_every_label_is_that_of_its_picture():
    task = image_task(**PLAIN)
    batch = task.sample_batch(np.random.default_rng(0), 24)
    concepts, styles = list(task.judge.config.concepts), list(task.judge.config.styles)
    pictures, videos = load_images(DATA), load_videos(DATA, ["videos"])
    media = np.concatenate([pictures.media, videos.media.reshape(-1, *videos.media.shape[2:])])
    records = pictures.records + [record for record in videos.records for _ in range(16)]
    known = over_white(media).flatten(1)
    shards = set()
    for pixel_values, concept, style in zip(batch["pixel_values"], batch["concept"][:, 0], batch["style"][:, 0]):
        distance = (known - pixel_values.flatten()).abs().amax(1)
        same = [records[i] for i in torch.nonzero(distance < 1e-3).flatten()]
        assert same and concepts[concept] in {record["concept"] for record in same}
        assert styles[style] in {record["style"].removesuffix("-anim") for record in same}
        shards |= {record["shard"] for record in same}
    assert shards == {"images", "images-skin-tones", "videos"}


def test_skin_tones_are_no_concepts_and_moving_drawings_no_style_of_their_own():
    task = image_task()
    assert len(task.concepts) == 10
    assert "fluent-3d" in task.styles and "fluent-3d-anim" not in task.styles
    assert image_task(merged_styles={}).styles.keys() == {*task.styles, "fluent-3d-anim"}


def test_only_concepts_that_are_the_same_in_a_mirror_are_flipped():
    settings = load_recipe(RECIPES / "image.yaml").settings
    assert not {"people", "symbols", "travel", "flags", "objects"} & set(settings["flipped_groups"])
    flipped = image_task(**{**PLAIN, "flipped_groups": ["animals-nature"]})
    plain = image_task(**PLAIN)
    one, other = (task.sample_batch(np.random.default_rng(0), 64) for task in (flipped, plain))
    changed = (one["pixel_values"] - other["pixel_values"]).abs().amax((1, 2, 3)) > 1e-3
    names = {plain.judge.config.names[concept] for concept in one["concept"][changed, 0]}
    assert names and names <= {"dog face", "cat face", "rooster", "droplet"}


def test_labels_of_a_mixed_picture_count_by_their_share_of_its_area():
    plain, cut = image_task(**PLAIN), image_task(**{**PLAIN, "cut_share": 1.0})
    one, other = (task.sample_batch(np.random.default_rng(3), 64) for task in (plain, cut))
    assert (one["shares"] == torch.tensor([1.0, 0.0])).all() and torch.equal(one["concept"], other["concept"])
    replaced = (one["pixel_values"] != other["pixel_values"]).any(1).float().mean((1, 2))
    share = other["shares"][0, 1]
    assert 0 < share < 1 and replaced.max() <= share + 1e-6  # less where both are white
    assert replaced.max() > 0.5 * share
    losses = [
        float(cut._cross_entropy(torch.eye(10)[labels] * 8, other["concept"], other["shares"]))
        for labels in other["concept"].T
    ]
    assert (losses[0] < losses[1]) == (share < 0.5)


def test_concepts_with_too_few_sounds_are_left_out():
    assert len(audio_task(least_sounds=2).concepts) > 1  # the sample has two sounds of each
    with pytest.raises(TrainingError, match="least_sounds"):
        audio_task(least_sounds=3)


def test_sounds_are_measured_by_the_concepts_that_are_learned(generator):
    task = audio_task().eval()
    assert "top1" not in task.validate(generator)  # the sample's validation sounds are of no learned concept
    task.held = task.items
    measures = task.validate(generator)
    assert 0 <= measures["top1"] <= measures["top5"] <= 1 and measures["items"] == len(task.items)


def test_evenness_draws_rare_concepts_as_often_as_common_ones():
    task = audio_task(evenness=1.0)
    labels = task._labels(task.items)
    chance = torch.zeros(len(task.concepts)).index_add_(0, labels, torch.from_numpy(task.chances).float())
    torch.testing.assert_close(chance, torch.full_like(chance, 1 / len(task.concepts)))


@pytest.mark.parametrize("make", [image_task, audio_task])
def test_a_value_the_network_does_not_know_is_named(make):
    with pytest.raises(ConfigurationError, match="widht"):
        make(network={"widht": 3})


def test_accuracy_counts_the_label_among_the_best():
    logits, labels = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]), torch.tensor([0, 1])
    assert accuracy(logits, labels) == 0.5 and accuracy(logits, labels, 2) == accuracy(logits, labels, 5) == 1


@pytest.mark.parametrize(("name", "settings"), [("image", {}), ("audio", {"least_sounds": 2})])
def test_a_judge_learns_and_lands_in_its_folder(name, settings, tmp_path):
    values = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
    assert values["seed"] != 0, "the judges' seed is their own"
    values["settings"] |= {**settings, "network": {**values["settings"]["network"], **TINY}}
    values |= {"steps": 24, "batch_size": 16, "warmup_steps": 1, "report_every": 1, "learning_rate": 0.01}
    values |= {"model_folder": str(tmp_path / "judges")}
    recipe = tmp_path / f"{name}.yaml"
    recipe.write_text(yaml.safe_dump(values))
    measures = run_recipe(recipe, data=DATA, device="cpu")
    assert measures["concepts"] > 1
    log = (tmp_path / "judges" / "training" / name / "log.jsonl").read_text()
    losses = [line["loss"] for line in map(json.loads, log.splitlines()) if "loss" in line]
    assert sum(losses[-4:]) < 0.9 * sum(losses[:4])
    kind = {"image": ImageJudge, "audio": AudioJudge}[name]
    judge = kind.from_pretrained(tmp_path / "judges" / f"{name}_judge")
    assert len(judge.config.concepts) == len(judge.config.names) == judge.concept.out_features
