"""The command, end to end: tiny model, sample data, tiny judges."""

import json
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from opencodi import Modality
from opencodi.collections.stickers.evaluation import any_to_any, coherence, extras
from opencodi.collections.stickers.evaluation import budget as budgets
from opencodi.collections.stickers.evaluation.bench import Bench
from opencodi.collections.stickers.evaluation.budget import Budget
from opencodi.collections.stickers.evaluation.collection import Collection, Place
from opencodi.collections.stickers.evaluation.judging import known_concepts
from opencodi.collections.stickers.evaluation.run import MEASURES, rounded

from .... import tiny
from ....training.tiny_recipes import DATA
from . import tiny_judges

SMALLEST = replace(
    budgets.QUICK,
    table=dict.fromkeys(Modality, 1),
    composition=1,
    coherence={True: 1, False: 1},
    vague_prompts=1,
    ways=1,
    vague_samples=1,
    motions=1,
    synchrony=1,
    reconstructions=4,
    floor=4,
    seeds=2,
    searched=10,
    spoken=2,
    spoken_names=1,
)


def bench(budget: Budget = SMALLEST, **changes) -> Bench:
    pipeline = tiny.pipeline(num_inference_steps=1)
    return Bench(pipeline, tiny_judges.judges(), Collection.open(DATA), budget, **changes)


def test_a_model_is_evaluated_into_numbers_and_a_page_that_needs_nothing_else(run, tmp_path, monkeypatch):
    monkeypatch.setattr(budgets, "QUICK", SMALLEST)
    tiny.pipeline(num_inference_steps=1).save_pretrained(tmp_path / "model")
    judges = tiny_judges.save(tmp_path / "judges")
    place = ["--data", DATA, "--judges", judges, "--device", "cpu", "--output", tmp_path / "out"]
    code, out, err = run("evaluate", tmp_path / "model", "--quick", *place)
    assert (code, err) == (0, "")
    assert "Fréchet distance, image" in out and "floor" in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.html", "results.json"]

    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(results) == ["about", "ceilings", "any_to_any", *MEASURES]
    table = results["any_to_any"]["table"]
    assert len(table) == 16 and table["image+audio"]["image"]["top1"]["n"] == 1
    assert set(table["image"]["text"]) == {"top1", "exact", "is_a_name", "cosine", "ratio_top1", "held_out"}
    assert results["about"]["num_inference_steps"] == 1 and results["timing"]["load"] > 0
    assert results["coherence"]["sets"]["image+audio"]["kind"] == "never-trained pair"
    assert results["distances"]["frechet"]["audio"]["floor"] > 0
    assert results["timing"]["vocoder_per_second"] > 0
    copies = results["variety"]
    assert copies["near_copies_in_pixels"]["limit"] == copies["near_copies_of_real_in_pixels"]["limit"]
    assert results["distances"]["audio_frechet"].keys() == results["distances"]["audio"].keys() > {"griffin_lim"}
    assert results["bridging"]["image → sound"]["trained"] is False

    page = (tmp_path / "out" / "report.html").read_text()
    addresses = re.findall(r'(?:src|href)="([^"]{0,24})', page)
    kinds = {address.split(";")[0] for address in addresses if address.startswith("data:")}
    assert kinds == {"data:image/png", "data:image/webp", "data:video/mp4", "data:audio/ogg"}
    assert all(address.startswith(("data:", "#")) for address in addresses)


def test_the_same_seed_makes_the_same_samples_in_any_batch():
    subject = bench()
    prompts = {Modality.TEXT: ["a rooster"] * 9}  # one more than a batch
    nine = subject.make("here", prompts, [Modality.IMAGE])[Modality.IMAGE]
    one = subject.make("here", {Modality.TEXT: ["a rooster"]}, [Modality.IMAGE])[Modality.IMAGE]
    assert len(nine) == 9
    assert np.abs(np.asarray(nine[0], int) - np.asarray(one[0], int)).max() <= 1
    assert all((np.asarray(a) != np.asarray(b)).any() for a, b in pairwise(nine))
    elsewhere = subject.make("there", {Modality.TEXT: ["a rooster"]}, [Modality.IMAGE])[Modality.IMAGE]
    assert (np.asarray(elsewhere[0]) != np.asarray(one[0])).any()


@pytest.mark.parametrize(
    ("row", "least", "held_out"),
    [("image", 1, [True] * 4), ("image", 3, [True, True, False]), ("image+audio", 1, [True])],
)
def test_single_inputs_are_validation_items_alone_as_often_as_there_is_time_for(row, least, held_out):
    subject = bench(replace(SMALLEST, table=dict.fromkeys(Modality, least), single_inputs=4))
    concepts = list(subject.collection.concepts)[:5]
    available = {"image": {code: Place("image", place, place < 2) for place, code in enumerate(concepts)}}
    cases = any_to_any._cases(subject, available, row, ["image"], Modality.TEXT, np.random.default_rng(0))
    assert [case.held_out for case in cases] == held_out
    assert len({case.concept for case in cases}) == min(len(cases), 2 + held_out.count(False))


def test_coherence_tells_joint_from_chance():
    """All clips and pictures of these judges look alike to them, so every set of the two agrees, joint or not."""
    subject = bench(replace(SMALLEST, vague_prompts=2))
    for layer in (subject.judges.image.concept, subject.judges.audio.concept):
        torch.nn.init.zeros_(layer.weight)
    found = coherence.measure(subject)
    assert found["prompts"] == ["an animal", ""]
    of_pictures = found["sets"]["image+video"]["concept"]
    assert {key: of_pictures[key] for key in ("joint", "independent", "n")} == {
        "joint": 1.0,
        "independent": 1.0,
        "n": 2,
    }
    assert found["sets"]["text+image"]["concept"]["joint"] == 0.0  # an untrained model writes no name
    assert found["kinds"]["triple"]["subgroup"]["n"] == 8
    for entry in (*found["sets"].values(), *found["kinds"].values()):
        assert entry["concept"]["joint"] <= entry["heard"]["joint"] and entry["heard"]["n"] == entry["concept"]["n"]


def test_the_core_stands_beside_each_extra():
    rows = extras.variants(["prompt_map", "in_turn", "rereading", "summed_evidence"])
    assert rows["core alone"] == [] and rows["core, trained adapters"] == ["prompt_map"]
    assert rows["+ rereading"] == ["prompt_map", "in_turn", "rereading"], "an extra comes with what it builds on"
    assert rows["all, partners swapped"][-1] == "swapped_partners"
    subject = bench()
    subject.pipeline.register_to_config(extras={"in_turn": {"order": list(Modality)}})
    found = extras.measure(subject)
    assert list(found["rows"]) == ["core alone", "+ in_turn", "all of the model", "all, partners swapped"]
    assert all(set(row) == set(found["columns"]) for row in found["rows"].values())
    assert found["rows"]["core alone"]["text-image"]["n"] == 1
    assert list(subject.pipeline.config.extras) == ["in_turn"], "the model is as it was"


def test_names_with_the_same_recordings_count_as_one_where_a_sound_is_heard():
    subject = bench()
    shown = {"a": "xyz", "b": "xyq", "c": "xy", "d": "w", "e": "w", "f": "wvx", "g": "qrs"}  # recordings of concepts
    subject.collection.records["sound"] = [
        {"concept": code, "source": "someone", "detail": detail}
        for code, details in shown.items()
        for detail in details
    ]
    alike = subject.collection.heard_alike()
    assert len({alike[code] for code in "abc"}) == 1 and alike["d"] == alike["e"] != alike["a"]
    assert not set(alike) & set("fg"), "less than half in common"
    heard = coherence.levels_of(subject, (Modality.TEXT, Modality.AUDIO))["heard"]
    seen = coherence.levels_of(subject, (Modality.TEXT, Modality.IMAGE))["heard"]
    assert heard("a") == heard("c") != heard("f") and seen("a") != seen("c")


def test_the_ceiling_of_coherence_is_the_chance_that_all_judges_are_right():
    subject = bench()
    pictures, sounds = (known_concepts(subject.judges, each) for each in (Modality.IMAGE, Modality.AUDIO))
    both = [code for code in pictures if code in set(sounds) and code in subject.collection.concepts]
    one, other = both[0], next(code for code in pictures if code not in sounds)

    def opinion(labels, said, shown):
        logits = torch.stack([torch.tensor([float(label == each) for label in labels]) for each in said])
        return logits, shown

    opinions = {
        Modality.IMAGE: opinion(pictures, [one, both[1], one, both[1]], [one, one, other, both[1]]),
        Modality.AUDIO: opinion(sounds, [one, one], [one, both[1]]),
        Modality.VIDEO: opinion(pictures, [one], [one]),
    }

    def ceiling(*outputs):
        return coherence._ceiling(subject, outputs, opinions)["concept"]

    assert ceiling(Modality.TEXT, Modality.IMAGE) == pytest.approx(2 / 4)  # judged among all pictures
    assert ceiling(Modality.TEXT, Modality.AUDIO) == pytest.approx(1 / 2)
    assert ceiling(Modality.IMAGE, Modality.AUDIO) == pytest.approx(2 / 3 * 1 / 2)
    assert ceiling(Modality.VIDEO, Modality.AUDIO) == pytest.approx(1 / 2)
    opinions[Modality.AUDIO] = opinion(sounds, [one], [other])
    assert ceiling(Modality.TEXT, Modality.AUDIO) is None


def test_validation_items_are_those_of_training_and_only_what_is_asked_for_is_decoded():
    from opencodi.collections.stickers.splits import split
    from opencodi.data.shards import load_images

    collection = Collection.open(DATA)
    _, expected = split(load_images(DATA, ("images",)))
    numbers = collection.validation("image")
    items = collection.items("image", numbers)
    assert items.records == expected.records
    assert (items.media == expected.media).all()
    assert set(collection._media) == {("image", number) for number in numbers}
    assert not set(numbers) & set(collection.training("image"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "--data: nowhere is not a folder"),
        (["--data", DATA, "--judges", "nowhere"], "--judges: nowhere is not a folder"),
        ([], "no training data"),
    ],
)
def test_what_is_missing_is_said_in_one_line(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.delenv("OPENCODI_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    code, out, err = run("evaluate", "stickers", "--output", tmp_path / "out", *arguments)
    assert (code, out) == (2, "")
    assert message in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_shard_is_named(run, tmp_path):
    (tmp_path / "concepts.jsonl").write_text((DATA / "concepts.jsonl").read_text())
    code, _, err = run("evaluate", "stickers", "--output", tmp_path / "out", "--data", tmp_path)
    assert code == 2 and "images.tar.gz is missing" in err and err.count("\n") == 1


def test_numbers_are_rounded_and_keys_become_strings():
    assert rounded({Modality.TEXT: (0.123456789, None, {True: 3})}) == {"text": [0.12346, None, {"True": 3}]}
