"""A smaller vocabulary changes nothing for English."""

import torch

from opencodi.models import resolve
from opencodi.prompts import TextPromptEncoder
from opencodi.prompts.vocabulary import english_only

TEXTS = ["a rooster", "the sound of a drum", "An owl’s café, naïvely – 5 o'clock!", "", "a " * 200]


def test_english_texts_keep_their_embeddings_and_other_scripts_become_unknown(make_text, tmp_path):
    encoder = make_text()
    before = encoder.encode(TEXTS).tokens
    smaller = english_only(encoder)
    torch.testing.assert_close(smaller.encode(TEXTS).tokens, before, atol=1e-6, rtol=0)
    assert len(smaller.sentence_encoder.embeddings.word_embeddings.weight) == smaller.tokenizer.get_vocab_size()
    smaller.save_pretrained(tmp_path)
    again = TextPromptEncoder.from_pretrained(tmp_path)
    torch.testing.assert_close(again.encode(TEXTS).tokens, before, atol=1e-6, rtol=0)


def test_the_shipped_vocabulary_is_english_and_needs_no_unknown_for_it():
    encoder = TextPromptEncoder.from_pretrained(resolve("stickers") / "text_prompt_encoder")
    vocabulary = encoder.tokenizer.get_vocab()
    assert not any(token.startswith("[unused") for token in vocabulary)
    assert len(vocabulary) == encoder.config.vocab_size > 26_000
    for text, known in (("a red fire engine — “it’s loud”", True), ("ひらがな", False)):
        assert ("[UNK]" not in encoder.tokenizer.encode(text).tokens) == known
