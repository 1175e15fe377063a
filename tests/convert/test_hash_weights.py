"""Weights from names: the same numbers however many are computed at once."""

import pytest
import torch

from opencodi.convert import hash_weights


@pytest.mark.parametrize(
    ("key", "shape"), [("out.2.weight", (5, 3, 3)), ("out.2.bias", (20,)), ("a.g", (9,)), ("x.pos_embeds", (1, 4, 6))]
)
def test_a_weight_does_not_depend_on_how_it_is_cut_up(key, shape, monkeypatch):
    whole = hash_weights.hash_weight(key, shape)
    monkeypatch.setattr(hash_weights, "_CHUNK", 7)
    assert torch.equal(hash_weights.hash_weight(key, shape), whole)
    assert whole.shape == shape and whole.dtype == torch.float32
    assert whole.unique().numel() == whole.numel()
