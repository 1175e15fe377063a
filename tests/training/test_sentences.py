import numpy as np
import pytest
import torch

from opencodi.errors import TrainingError
from opencodi.training.sentences import CaptionTable, embed_captions

from .. import tiny

CAPTIONS = ["a rooster", "the sound of a drum", "a red apple"]


def test_each_caption_gets_its_own_embedding():
    encoder = tiny.text_prompt_encoder()
    known, embeddings = embed_captions(encoder, [*CAPTIONS, CAPTIONS[0]])
    assert len(known) == len(embeddings) == 3
    for caption in CAPTIONS:
        expected = encoder.embed_sentences(**encoder.preprocess([caption]))[0]
        torch.testing.assert_close(embeddings[known[caption]], expected, atol=1e-3, rtol=0)


def test_a_cache_grows_and_answers_exactly_as_the_first_run_did(tmp_path):
    encoder, cache = tiny.text_prompt_encoder(), tmp_path / "training" / "sentences.safetensors"
    known, fresh = embed_captions(encoder, CAPTIONS, cache)
    known_again, read = embed_captions(encoder, CAPTIONS, cache)
    assert known == known_again and torch.equal(fresh, read)
    known_more, more = embed_captions(encoder, ["a rocket flies"], cache)
    assert set(known_more) == {*CAPTIONS, "a rocket flies"}
    assert torch.equal(more[[known_more[caption] for caption in CAPTIONS]], fresh[[known[c] for c in CAPTIONS]])


def test_a_cache_of_another_sentence_encoder_is_not_used(tmp_path):
    cache = tmp_path / "sentences.safetensors"
    first, second = tiny.text_prompt_encoder(), tiny.text_prompt_encoder()
    tiny.randomise(second, seed=9)
    _, one = embed_captions(first, CAPTIONS, cache)
    _, other = embed_captions(second, CAPTIONS, cache)
    assert not torch.allclose(one, other, atol=1e-2)


def test_captions_are_drawn_from_the_items_own_and_names_come_first():
    items = [["a rooster", "a bird"], ["a red apple"]]
    table = CaptionTable(tiny.text_prompt_encoder(), items)
    known, _ = embed_captions(tiny.text_prompt_encoder(), [text for item in items for text in item])
    rng = np.random.default_rng(0)
    drawn = {tuple(table.draw(np.array([0, 1]), rng)) for _ in range(50)}
    assert drawn == {(known["a rooster"], known["a red apple"]), (known["a bird"], known["a red apple"])}
    assert table.names(np.array([1, 0])).tolist() == [known["a red apple"], known["a rooster"]]
    always = CaptionTable(tiny.text_prompt_encoder(), items, name_share=1.0)
    assert {int(always.draw(np.array([0]), rng)[0]) for _ in range(20)} == {known["a rooster"]}


def test_an_item_without_a_caption_is_refused():
    with pytest.raises(TrainingError, match="caption"):
        CaptionTable(tiny.text_prompt_encoder(), [["a rooster"], []])
