import math

import pytest
import torch
import torch.nn.functional as F

from opencodi.evaluation.retrieval import retrieval
from opencodi.training.contrastive import Temperature, info_nce


def unit(*shape, seed=0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_matched_pairs_score_better_than_shuffled_ones():
    texts = unit(8, 16)
    assert info_nce(texts, texts, 10.0) < info_nce(texts, texts.roll(1, 0), 10.0)


def test_the_loss_of_nothing_in_common_is_the_logarithm_of_the_batch():
    texts = torch.eye(8)
    assert info_nce(texts, texts.flip(0) * 0, 10.0) == pytest.approx(math.log(8))


def test_an_identity_affinity_is_the_plain_loss():
    texts, items = unit(6, 8), unit(6, 8, seed=1)
    torch.testing.assert_close(info_nce(texts, items, 5.0, torch.eye(6)), info_nce(texts, items, 5.0))


def test_two_items_of_one_concept_are_not_pushed_apart():
    texts = torch.eye(2)
    items = F.normalize(torch.ones(2, 2), dim=-1).requires_grad_()
    for affinity, pushed in ((torch.ones(2, 2), False), (None, True)):
        (gradient,) = torch.autograd.grad(info_nce(texts, items, 10.0, affinity), items)
        assert bool(gradient.abs().max() > 1e-3) == pushed


def test_an_item_that_is_half_another_is_pulled_to_both_texts():
    texts = torch.eye(4)
    halves = 0.5 * torch.eye(4) + 0.5 * torch.eye(4).flip(1)  # item i is also item 3 - i
    both = F.normalize(halves, dim=-1)
    assert info_nce(texts, both, 10.0, halves) < info_nce(texts, texts, 10.0, halves)


def test_an_affinity_has_a_direction_and_each_side_is_scored_by_its_own():
    lopsided = torch.eye(4)
    lopsided[0, 1] = 1.0  # item 1 answers text 0 as well, but item 0 does not answer text 1
    texts = torch.eye(4)
    items = texts[[0, 0, 2, 3]]  # item 1 says what text 0 says
    assert info_nce(texts, items, 10.0, lopsided) < info_nce(texts, items, 10.0, lopsided.T)
    torch.testing.assert_close(info_nce(items, texts, 10.0, lopsided.T), info_nce(texts, items, 10.0, lopsided))


def test_the_temperature_stops_at_its_minimum():
    temperature = Temperature(0.07, 0.02)
    assert temperature().item() == pytest.approx(1 / 0.07, rel=1e-5)
    temperature.log_scale.data.fill_(100.0)
    assert temperature().item() == pytest.approx(50, rel=1e-5)


def test_recall_counts_any_item_of_the_concept():
    texts, groups = torch.eye(4), torch.tensor([5, 5, 6, 7])
    assert retrieval(texts, texts, groups)["text_to_item_R@1"] == 1
    swapped = texts[[1, 0, 2, 3]]
    assert retrieval(texts, swapped, groups)["text_to_item_R@1"] == 1
    wrong = texts[[0, 1, 3, 2]]
    measures = retrieval(texts, wrong, groups, top=(1, 4))
    assert measures["text_to_item_R@1"] == pytest.approx(1 / 3)
    assert measures["item_to_text_R@4"] == 1


def test_the_gap_is_the_distance_between_the_modalities_means():
    texts = F.normalize(torch.tensor([[1.0, 0.1], [1.0, -0.1]]), dim=-1)
    assert retrieval(texts, texts, torch.arange(2))["modality_gap"] == pytest.approx(0, abs=1e-6)
    assert retrieval(texts, -texts, torch.arange(2))["modality_gap"] == pytest.approx(1.99, abs=0.01)
