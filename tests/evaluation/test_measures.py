"""The plain functions of the measures, on numbers one can work out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from opencodi import Audio, Modality, Video
from opencodi.collections.stickers.evaluation.any_to_any import choose_cases, input_sets, limit_of, motion_energy
from opencodi.collections.stickers.evaluation.coherence import kind_of_set, output_sets
from opencodi.collections.stickers.evaluation.collection import Collection, Place
from opencodi.collections.stickers.evaluation.composition import style_pairs
from opencodi.collections.stickers.evaluation.wording import WORDINGS, unseen_wordings
from opencodi.evaluation.accuracy import in_top
from opencodi.evaluation.agreement import agreement, expected_agreement
from opencodi.evaluation.distances import frechet_distance, mean_pairwise_distance, near_copies, pixel_distances
from opencodi.evaluation.retrieval import recall
from opencodi.evaluation.share import mean, ratio, share, share_by_group
from opencodi.evaluation.synchrony import (
    compare,
    correlation,
    impacts_over_time,
    onsets_over_time,
    synchrony,
)

from ..training.tiny_recipes import DATA


def test_a_share_never_stands_without_its_count():
    assert share([True, False, True, True]) == {"share": 0.75, "n": 4}
    assert share([]) == {"share": None, "n": 0}
    assert mean([1, 2]) == {"mean": 1.5, "n": 2}
    assert (ratio(0.3, 0.6), ratio(0.3, 0.0), ratio(None, 0.5)) == (0.5, None, None)


def test_the_frechet_distance_of_equal_sets_is_zero_and_of_a_shift_its_square(generator):
    features = torch.randn(200, 6, generator=generator)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(features, features + torch.tensor([3.0, 4, 0, 0, 0, 0])) == pytest.approx(25, rel=1e-5)


def test_the_frechet_distance_of_gaussians_of_other_widths_is_the_known_one(generator):
    features = torch.randn(500, 1, generator=generator)
    deviation = float(features.std())
    # (s1 - s2)^2 in one dimension; the mean moves by 2 * mean
    expected = (2 * deviation) ** 2 + (2 * float(features.mean())) ** 2
    assert frechet_distance(features, 3 * features) == pytest.approx(expected, rel=1e-4)
    # with fewer items than features nothing becomes complex or negative
    few = torch.randn(4, 32, generator=generator)
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-5)
    assert frechet_distance(few[:1], few) is None


def clicks(times, seconds=2.0, rate=16_000) -> Audio:
    samples = np.zeros(round(seconds * rate), np.float32)
    for time in times:
        start = round(time * rate)
        samples[start : start + 800] = np.sin(np.arange(800) * 0.4)[: len(samples) - start]
    return Audio(samples, rate)


def jumps(frames, count=16) -> Video:
    """Flips from white to black at these frames."""
    level = np.cumsum(np.isin(np.arange(count), frames)) % 2 * 255
    return Video(np.broadcast_to(level[:, None, None, None], (count, 4, 4, 3)).astype(np.uint8), 8.0)


def test_sound_at_every_jump_is_in_sync_and_sound_between_jumps_is_not():
    video = jumps([4, 8, 12])
    assert synchrony(video, clicks([0.5, 1.0, 1.5])) > 0.5
    assert synchrony(video, clicks([0.25, 0.75, 1.25, 1.75])) < 0
    onsets, impacts = onsets_over_time(clicks([0.5]), 16, 8.0), impacts_over_time(jumps([4]))
    assert onsets.shape == impacts.shape == (14,)
    assert onsets.argmax() == 3  # frame 4 is shown from 0.5 s on
    assert impacts.nonzero()[0].tolist() == [2, 3]  # at rest before frame 3 and after frame 4


def test_what_slides_to_and_fro_has_its_impacts_where_it_turns_round():
    place = np.array([0, 1, 2, 3, 4, 3, 2, 1, 0, 1, 2, 3]) + 8
    blob = 255 * np.exp(-((np.arange(20) - place[:, None]) ** 2) / 18)
    video = Video(np.broadcast_to(blob[:, None, :, None], (12, 4, 20, 3)).astype(np.uint8), 8.0)
    assert sorted(impacts_over_time(video).argsort()[-2:] + 1) == [4, 8]
    assert synchrony(video, clicks([0.5, 1.0], seconds=1.5)) > 0.9
    assert synchrony(video, clicks([0.25, 0.75], seconds=1.5)) < 0


def test_stillness_and_silence_are_in_sync_with_nothing():
    course = np.array([0, 0, 1, 0, 0, 0, 1, 0, 0, 0.0])
    assert correlation(course, course) == pytest.approx(1)
    assert correlation(course, np.roll(course, 1)) < 0
    assert correlation(np.zeros(10), course) == 0.0
    assert synchrony(jumps([]), clicks([0.5])) == 0.0


def test_own_pairs_are_told_from_mismatched_ones():
    pairs = [(jumps([3, 11]), clicks([0.375, 1.375])), (jumps([7, 15]), clicks([0.875, 1.875]))]
    found = compare(pairs)
    assert found["matched"]["mean"] > found["mismatched"]["mean"] + 0.5
    assert (found["matched"]["n"], found["mismatched"]["n"]) == (2, 2)


def test_outputs_agree_only_if_all_of_them_show_the_same():
    text, image, audio = ["cat", "dog", None, "cat"], ["cat", "cat", None, "cat"], ["cat", "dog", None, "owl"]
    assert agreement([text, image]) == (2, 4)  # None agrees with nothing, not even with None
    assert agreement([text, image, audio]) == (1, 4)


def test_chance_agreement_counts_every_combination():
    assert expected_agreement([["cat", "dog"], ["cat", "dog"]]) == pytest.approx(0.5)
    assert expected_agreement([["cat", "cat"], ["cat"]]) == pytest.approx(1)
    assert expected_agreement([["cat", "dog"], ["cat", "cat", "owl", None]]) == pytest.approx(0.25)
    assert expected_agreement([["a", "b"]] * 3) == pytest.approx(0.25)
    assert expected_agreement([[], ["cat"]]) == 0


def test_there_are_six_pairs_and_four_triples_of_which_three_pairs_are_trained():
    kinds = [kind_of_set(outputs) for outputs in output_sets()]
    assert [kinds.count(kind) for kind in ("trained pair", "never-trained pair", "triple")] == [3, 3, 4]
    assert kind_of_set((Modality.IMAGE, Modality.AUDIO)) == "never-trained pair"
    assert len(input_sets()) == 15


def test_recall_counts_queries_whose_concept_is_there():
    gallery = torch.eye(3)
    queries = torch.nn.functional.normalize(torch.tensor([[1.0, 0.1, 0], [0.9, 1, 0], [0, 0.1, 1], [1, 0, 0]]), dim=1)
    found = recall(queries, gallery, ["a", "a", "c", "elsewhere"], ["a", "b", "c"], top=(1, 2))
    assert found["n"] == 3 and found["gallery"] == 3
    assert found["R@1"] == pytest.approx(2 / 3) and found["R@2"] == 1.0
    assert found["chance@1"] == pytest.approx(1 / 3)
    assert recall(queries[3:], gallery, ["elsewhere"], ["a", "b", "c"])["R@1"] is None


def test_top_one_and_top_two_of_a_judge():
    logits = torch.tensor([[3.0, 2, 1], [1, 2, 3]])
    assert in_top(logits, ["a", "b", "c"], ["b", "c"], 1).tolist() == [False, True]
    assert in_top(logits, ["a", "b", "c"], ["b", "b"], 2).tolist() == [True, True]
    assert in_top(logits, ["a", "b", "c"], ["c", "nowhere"], 9).tolist() == [True, False]


def test_each_concept_counts_the_same_however_many_items_it_has():
    assert share_by_group([True, True, True, False], ["a", "a", "a", "b"]) == {"share": 0.5, "n": 4, "groups": 2}
    assert share_by_group([], []) == {"share": None, "n": 0, "groups": 0}


def test_validation_items_are_asked_first_and_every_input_must_exist():
    def place(kind, number, held_out):
        return Place(kind, number, held_out)

    available = {
        "image": {"a": place("image", 0, False), "b": place("image", 1, True), "c": place("image", 2, True)},
        "sound": {"a": place("sound", 0, True), "b": place("sound", 1, True), "d": place("sound", 2, True)},
    }
    rng = np.random.default_rng(0)
    cases = choose_cases(available, ["image", "sound"], ["a", "b", "c", "d"], 5, rng)
    assert [case.concept for case in cases] == ["b", "a"]
    assert [case.held_out for case in cases] == [True, False]
    assert [case.concept for case in choose_cases(available, ["sound"], ["d"], 5, rng)] == ["d"]


def test_motion_energy_is_the_mean_change_from_frame_to_frame():
    assert motion_energy(jumps([])) == 0
    assert motion_energy(jumps([1])) == pytest.approx(1 / 15)
    assert motion_energy(Video(np.zeros((1, 4, 4, 3), np.uint8), 8.0)) == 0


def test_copies_are_told_from_new_pictures():
    limit = torch.linspace(0, 1, 101)
    found = near_copies(torch.tensor([0.2, 0.9, 1.5, 2.0]), limit)
    assert (found["share"], found["n"]) == (0.5, 4)
    assert found["limit"] == pytest.approx(0.95)
    white, black = torch.ones(1, 3, 4, 4), -torch.ones(1, 3, 4, 4)
    assert pixel_distances(torch.cat([white, black]), white).flatten().tolist() == pytest.approx([0, 2])
    assert mean_pairwise_distance(torch.tensor([[0.0, 0], [3, 4]])) == pytest.approx(5)
    assert mean_pairwise_distance(torch.zeros(1, 2)) is None


def test_a_pair_seen_in_one_fluent_style_is_seen_in_all(tmp_path):
    from opencodi.collections.stickers.evaluation.collection import Collection

    records = [("a", "noto"), ("a", "fluent-3d"), ("b", "fluent-emoji-flat"), ("b", "noto")]
    records = [{"concept": concept, "style": style} for concept, style in records]
    (tmp_path / "splits.json").write_text('{"image_style": [["a", "openmoji"], ["gone", "noto"]]}')
    collection = Collection(tmp_path, {"a": {}, "b": {}}, {"image": records}, {"image": frozenset({3})})
    pairs = style_pairs(collection, ["noto", "fluent-emoji", "openmoji"])
    assert pairs["seen"] == [("a", "fluent-emoji"), ("a", "noto"), ("b", "fluent-emoji")]
    assert pairs["unseen"] == [("a", "openmoji"), ("b", "noto")]


def test_a_text_from_other_inputs_is_limited_by_who_reads_them_best():
    ceilings = {name: {"top1": {"share": value}} for name, value in {"text": 1.0, "image": 0.4, "audio": 0.7}.items()}
    ceilings |= {"speech": {"top1": {"share": 0.9}}, "video": {"top1": {"share": None}}}

    def limit(with_text, kinds, output):
        return limit_of(ceilings, with_text, kinds, Modality(output), 1)

    assert limit(False, ["image"], "text") == 0.4
    assert limit(False, ["image", "sound"], "text") == 0.7
    assert limit(False, ["speech"], "text") == 0.9
    assert limit(False, ["video"], "text") is None
    assert limit(True, ["image"], "text") == 1.0
    assert limit(True, [], "image") == limit(False, ["sound"], "image") == 0.4


def test_free_wordings_are_no_captions_and_their_answers_are_there():
    bench = SimpleNamespace(collection=Collection.open(DATA))
    names = {concept["name"] for concept in bench.collection.concepts.values()}
    found = unseen_wordings(bench)
    assert found and set(found) <= set(WORDINGS)
    for wording, codes in found.items():
        assert [bench.collection.name(code) for code in codes] == [name for name in WORDINGS[wording] if name in names]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(WORDINGS, "kitten", ("cat face",))  # one of its keywords
        patch.setitem(WORDINGS, "an animal", ("cat face",))
        assert unseen_wordings(bench) == found
