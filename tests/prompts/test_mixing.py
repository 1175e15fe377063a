import pytest
import torch

from opencodi.errors import ArgumentError
from opencodi.prompts import Condition, mix


def condition(tokens) -> Condition:
    tokens = torch.tensor(tokens, dtype=torch.float32)
    return Condition(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool))


A, B = condition([[[1.0, 0.0]]]), condition([[[0.0, 1.0]]])


def test_only_the_proportions_of_weights_matter():
    for scale in (1e-3, 1.0, 1e300):
        torch.testing.assert_close(mix([A, B], [3 * scale, scale]).tokens, torch.tensor([[[0.75, 0.25]]]))


def test_a_mix_of_disagreeing_prompts_is_shorter_than_either():
    assert mix([A, B], [1, 1]).tokens.norm() == pytest.approx(0.5**0.5)


def test_one_prompt_alone_is_unchanged_by_its_weight():
    assert torch.equal(mix([A], [0.3]).tokens, A.tokens)


def test_a_shorter_condition_is_padded_and_masked_tokens_add_nothing():
    long = Condition(torch.ones(1, 3, 2), torch.tensor([[True, True, False]]))
    mixed = mix([A, long], [1, 1])
    torch.testing.assert_close(mixed.tokens, torch.tensor([[[1.0, 0.5], [0.5, 0.5], [0.0, 0.0]]]))
    assert mixed.mask.tolist() == [[True, True, False]]
    assert mix([A, long], [1, 0]).mask.tolist() == [[True, False, False]]


@pytest.mark.parametrize("weights", [[-1, 2], [0, 0], [float("nan"), 1], [float("inf"), 1], [1]])
def test_impossible_weights_are_refused(weights):
    with pytest.raises(ArgumentError, match="weights"):
        mix([A, B], weights)


def test_conditions_of_other_widths_or_batch_sizes_are_refused():
    with pytest.raises(ArgumentError, match="widths"):
        mix([A, condition([[[1.0, 0.0, 0.0]]])], [1, 1])
    with pytest.raises(ArgumentError, match="batch"):
        mix([A, condition([[[1.0, 0.0]], [[1.0, 0.0]]])], [1, 1])


def test_a_condition_needs_three_axes_and_a_boolean_mask():
    with pytest.raises(ArgumentError, match="tokens"):
        Condition(torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(ArgumentError, match="mask"):
        Condition(torch.zeros(2, 1, 3), torch.ones(2, 1))


def test_words_and_regions_are_listed_and_only_embeddings_are_interpolated():
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(2, 1, 8, generator=generator)
    words, regions = torch.randn(1, 2, 8, generator=generator), torch.randn(1, 3, 8, generator=generator)
    text = Condition.from_embedding(embeddings[0]).followed_by(words, torch.tensor([[True, False]]))
    picture = Condition.from_embedding(embeddings[1]).followed_by(regions)
    sound = Condition.from_embedding(embeddings[0])
    mixed = mix([text, picture, sound], [2, 1, 1])
    assert mixed.tokens.shape == (1, 1 + 2 + 3, 8) and mixed.has_details
    assert mixed.mask.tolist() == [[True, True, False, True, True, True]]
    expected = 0.5 * text.tokens[:, 0] + 0.25 * picture.tokens[:, 0] + 0.25 * sound.tokens[:, 0]
    torch.testing.assert_close(mixed.tokens[:, 0], expected)
    torch.testing.assert_close(mixed.tokens[:, 1:3], text.tokens[:, 1:])
    torch.testing.assert_close(mixed.tokens[:, 3:], 0.5 * picture.tokens[:, 1:])
    # A prompt without weight says nothing, and one alone stays as it is.
    assert mix([text, picture], [1, 0]).tokens.shape == text.tokens.shape
    torch.testing.assert_close(mix([text], [3]).tokens, text.tokens)
