"""A smaller vocabulary changes nothing for English, and integers next to nothing."""

import torch

from opencodi.models import resolve
from opencodi.prompts import TextPromptEncoder
from opencodi.prompts.vocabulary import english_only, quantized

from .conftest import NOT_ENGLISH

TEXTS = ["a rooster", "the sound of a drum", "An owl’s café, naïvely – 5 o'clock!", "", "a " * 200]


def test_english_texts_keep_their_embeddings_and_other_scripts_become_unknown(make_text, tmp_path):
    encoder = make_text()
    before = encoder.encode(TEXTS).tokens
    smaller = english_only(encoder)
    torch.testing.assert_close(smaller.encode(TEXTS).tokens, before, atol=1e-6, rtol=0)
    assert set(encoder.tokenizer.get_vocab()) - set(smaller.tokenizer.get_vocab()) == set(NOT_ENGLISH)
    assert len(smaller.sentence_encoder.embeddings.word_embeddings.weight) == smaller.tokenizer.get_vocab_size()
    foreign, unknown = smaller.encode(["a red 犬", "a red emu"]).tokens
    assert torch.equal(foreign, unknown) and not torch.equal(foreign, encoder.encode(["a red 犬"]).tokens[0])
    smaller.save_pretrained(tmp_path)
    again = TextPromptEncoder.from_pretrained(tmp_path)
    torch.testing.assert_close(again.encode(TEXTS).tokens, before, atol=1e-6, rtol=0)


def test_a_quantized_encoder_reads_texts_nearly_as_before_from_half_the_file(make_text, tmp_path):
    encoder = make_text()
    before = encoder.encode(TEXTS).tokens
    smaller = quantized(encoder)
    after = smaller.encode(TEXTS).tokens
    assert 0.99 < torch.nn.functional.cosine_similarity(after, before, dim=-1).min() < 1 - 1e-9
    sizes = []
    for each in (encoder, smaller):
        each.half().save_pretrained(tmp_path)
        matrices = [value for name, value in each.sentence_encoder.state_dict().items() if value.ndim == 2]
        sizes.append(sum(matrix.nbytes for matrix in matrices))
    assert sizes[1] < 0.6 * sizes[0]
    again = TextPromptEncoder.from_pretrained(tmp_path).float()
    torch.testing.assert_close(again.encode(TEXTS).tokens, after, atol=1e-2, rtol=0)
    assert quantized(again) is again
    torch.testing.assert_close(english_only(again).encode(TEXTS).tokens, again.encode(TEXTS).tokens)


def test_the_shipped_vocabulary_is_english_and_needs_no_unknown_for_it():
    encoder = TextPromptEncoder.from_pretrained(resolve("stickers") / "text_prompt_encoder")
    vocabulary = encoder.tokenizer.get_vocab()
    assert not any(token.startswith("[unused") for token in vocabulary)
    assert len(vocabulary) == encoder.config.vocab_size > 26_000
    for text, known in (("a red fire engine — “it’s loud”", True), ("ひらがな", False)):
        assert ("[UNK]" not in encoder.tokenizer.encode(text).tokens) == known
