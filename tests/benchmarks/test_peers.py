"""The comparison with a peer, without the peer: what it is given, what it is asked, and how its answers are scored."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from opencodi.collections.stickers.evaluation.bench import Bench
from opencodi.collections.stickers.evaluation.budget import QUICK
from opencodi.collections.stickers.evaluation.collection import Collection
from opencodi.latents.audio import AudioAutoencoder

from .. import tiny
from ..collections.stickers.evaluation import tiny_judges
from ..training.tiny_recipes import DATA
from .conftest import FOLDER

PEERS = FOLDER / "peers"


@pytest.fixture(autouse=True)
def _importable_peers(monkeypatch):
    monkeypatch.syspath_prepend(str(PEERS))
    yield
    for path in PEERS.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture(scope="module")
def collection() -> Collection:
    """The sample data, of which one picture and one sound of a dog face validate."""
    opened = Collection.open(DATA)
    first = {
        kind: next(n for n, record in enumerate(opened.records[kind]) if record["name"] == "dog face")
        for kind in ("image", "sound")
    }
    return replace(opened, held_out={kind: frozenset({number}) for kind, number in first.items()})


def prepared(collection: Collection, versions: int = 2):
    from items import prepare

    return prepare(collection, AudioAutoencoder(block_out_channels=(32, 32), latent_channels=4), versions, seed=0)


def comparison(collection: Collection):
    from compare import Comparison
    from items import concepts_of

    pipeline = tiny.pipeline(num_inference_steps=1)
    bench = Bench(pipeline, tiny_judges.judges(), collection, QUICK)
    numbers = {"image": collection.training("image")[:6], "audio": collection.training("sound")[:4]}
    return Comparison(bench, concepts_of(collection), numbers)


def test_the_peer_learns_from_training_items_of_what_can_be_seen_and_heard(collection):
    tensors, notes = prepared(collection)
    sounds, images = collection.records["sound"], collection.records["image"]
    for part, held_out in (("train", False), ("prompt", True)):
        for kind in ("image", "sound"):
            numbers = tensors[f"{part}.{kind}_numbers"].tolist()
            assert all((number in collection.held_out[kind]) == held_out for number in numbers)
            codes = [notes["concepts"][place] for place in tensors[f"{part}.{kind}_concepts"]]
            assert codes == [collection.records[kind][number]["concept"] for number in numbers]
    assert set(notes["concepts"]) <= {r["concept"] for r in sounds} & {r["concept"] for r in images}
    assert "dog face" in notes["names"] and "rooster" not in notes["names"]  # a rooster has no sound
    assert tensors["train.images"].dtype == torch.uint8 and tensors["train.images"].shape[1:] == (3, 64, 64)
    assert tensors["train.sounds"].shape[1:] == (2, 128, 64) and tensors["prompt.sounds"].shape[1] == 1
    assert not torch.equal(tensors["train.sounds"][:, 0], tensors["train.sounds"][:, 1])
    styles = [images[number]["style"] for number in tensors["train.image_numbers"].tolist()]
    assert tensors["train.in_family"].tolist() == [style.startswith("fluent") for style in styles]


def test_a_drawn_sound_comes_with_its_name_and_a_picture_of_its_concept(collection):
    from multivae_peer import PeerItems

    tensors, notes = prepared(collection, versions=1)
    # Every picture and sound is painted with the number of its concept, so that a triple can be checked.
    for kind in ("image", "sound"):
        for place, concept in enumerate(tensors[f"train.{kind}_concepts"].tolist()):
            tensors[f"train.{kind}s"][place] = concept
    items = PeerItems(tensors, notes)
    drawn = items.draw(64, np.random.default_rng(0), other_styles=0.5)
    concepts = drawn["text"].argmax(1)
    assert drawn["text"].sum() == 64 and len(set(concepts.tolist())) > 3
    assert torch.equal((drawn["image"][:, 0, 0, 0] * 255).round().long(), concepts)
    assert torch.equal(drawn["audio"][:, 0, 0, 0].long(), concepts)
    again = items.draw(64, np.random.default_rng(0), other_styles=0.5)
    assert all(torch.equal(again[name], drawn[name]) for name in drawn)
    assert {name: drawn[name].shape[1:] for name in drawn} == items.shapes


def test_pictures_are_of_the_family_unless_there_is_none_or_others_are_asked_for(collection):
    from multivae_peer import PeerItems

    tensors, notes = prepared(collection, versions=1)
    tensors["train.images"][:] = tensors["train.in_family"][:, None, None, None]
    without = set(range(len(notes["concepts"]))) - set(
        tensors["train.image_concepts"][tensors["train.in_family"]].tolist()
    )
    for share, every in ((0.0, True), (1.0, False)):
        drawn = PeerItems(tensors, notes).draw(200, np.random.default_rng(0), share)
        alike = drawn["image"][:, 0, 0, 0] > 0
        has_family = torch.tensor([concept not in without for concept in drawn["text"].argmax(1).tolist()])
        assert bool(alike[has_family].all()) is every and not alike[~has_family].any()


def test_scores_of_crossing_count_every_concept_the_same():
    from compare import cross_scores

    among = ["a", "b", "c", "d", "e", "f", "g"]
    scores = torch.zeros(4, 7)
    scores[torch.arange(4), torch.tensor([0, 0, 0, 0])] = 2.0
    scores[3, 1] = 1.0
    found = cross_scores(scores, among, ["a", "a", "a", "b"])
    assert found == {"n": 4, "concepts": 2, "top1": 0.5, "top5": 1.0}  # three of four, but one of two concepts


def test_joint_scores_tell_agreement_from_saying_always_the_same():
    from compare import joint_scores

    varied, constant = torch.eye(4), torch.eye(4)[[0, 0, 0, 0]]
    assert joint_scores([[varied, varied]]) == {"agree": 1.0, "chance": 0.25, "n": 4, "distinct": 4}
    assert joint_scores([[constant, constant]]) == {"agree": 1.0, "chance": 1.0, "n": 4, "distinct": 1}
    assert joint_scores([[varied, constant], [varied, varied.flip(0)]])["agree"] == 1 / 8
    assert joint_scores([[varied, varied, constant]])["agree"] == 1 / 4


def test_every_output_is_judged_among_the_same_concepts(collection):
    subject = comparison(collection)
    known = [set(subject.bench.judges.image.config.concepts), set(subject.bench.judges.audio.config.concepts)]
    assert subject.among and all(set(subject.among) <= each for each in (*known, set(subject.codes)))
    names = [collection.name(code) for code in subject.among]
    assert subject.opinion("text", names).argmax(1).tolist() == list(range(len(names)))
    places, wanted = subject.asked("audio")
    assert wanted == [collection.records["sound"][subject.numbers["audio"][place]]["concept"] for place in places]
    assert set(wanted) <= set(subject.among)
    sounds = collection.media("sound", subject.numbers["audio"])
    labels = subject.bench.judges.audio.config.concepts
    with torch.no_grad():
        every = subject.opinion("audio", sounds)
    assert every.shape == (4, len(subject.among)) and len(labels) >= len(subject.among)


def test_a_file_of_samples_that_are_right_scores_full_marks_and_both_stand_in_one_table(collection, monkeypatch):
    import compare

    subject = comparison(collection)
    monkeypatch.setattr(compare, "VAGUE", ("an animal", None))
    names = torch.eye(len(subject.codes))
    bins = subject.bench.pipeline.audio_autoencoder.config.num_mel_bins
    counts = {"image": 6, "audio": 4, "text": len(subject.codes)}
    blank = {
        "image": lambda n: torch.zeros(n, 3, 64, 64, dtype=torch.uint8),
        "audio": lambda n: torch.full((n, 128, bins), -5.0),
    }
    made = {f"{s}_to_{t}": blank[t](counts[s]) for s, t in compare.PAIRS if t != "text"}
    for source, kind in compare.KINDS.items():
        records = collection.records[kind]
        right = [subject.codes.index(records[n]["concept"]) for n in subject.numbers[source]]
        made[f"{source}_to_text"] = names[right]
    for way in ("prior", "mixture"):
        made |= {f"{way}_image": blank["image"](3), f"{way}_audio": blank["audio"](3), f"{way}_text": names[:3]}
    results = {
        "among": len(subject.among),
        "real": compare.real_scores(subject),
        "peer": {"name": "multivae, MVTCAE", **compare.peer_scores(subject, made)},
        "ours": compare.our_scores(subject, samples=2, texts=2),
    }
    peer, ours = results["peer"], results["ours"]
    assert peer["cross"]["image_to_text"]["top1"] == peer["cross"]["audio_to_text"]["top1"] == 1.0
    # all pictures alike: right for one of the concepts asked for, at most
    assert peer["cross"]["text_to_image"]["top1"] <= 1 / len(subject.among) + 1e-9
    assert peer["joint"]["prior"]["image+audio"]["agree"] in (0.0, 1.0)
    assert set(ours["cross"]) == set(peer["cross"]) and set(ours["joint"]) == {"no prompt", "vague prompts"}
    assert ours["cross"]["text_to_image"]["n"] == 2 and ours["joint"]["no prompt"]["image+audio+text"]["n"] == 2
    assert "exact" in ours["cross"]["image_to_text"] and json.dumps(results)

    lines = compare.table(results).splitlines()
    widths = [line.count("|") for line in lines]
    assert set(widths[: widths.index(0)]) == {8} and set(widths[widths.index(0) + 1 :]) == {6}
    assert any(line.startswith("| multivae, MVTCAE, mixture (n = 3)") for line in lines)


def test_the_commands_of_the_readme_are_there():
    text = (PEERS / "README.md").read_text(encoding="utf-8")
    for script in ("items.py", "multivae_peer.py train", "multivae_peer.py sample", "compare.py"):
        assert f"benchmarks/peers/{script} --output" in text
