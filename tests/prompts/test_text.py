import pytest
import torch

from opencodi.errors import ConfigurationError
from opencodi.prompts import TextPromptEncoder


def test_a_text_means_the_same_alone_and_beside_a_longer_one(make_text):
    encoder = make_text()
    alone = encoder.encode(["a rooster"]).tokens
    together = encoder.encode(["a rooster", "the sound of a red apple"]).tokens
    assert together.shape == (2, 1, 16)
    torch.testing.assert_close(together[:1], alone)
    torch.testing.assert_close(together.norm(dim=-1), torch.ones(2, 1))
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_only_the_projection_learns(make_text, tmp_path):
    make_text().save_pretrained(tmp_path)
    for encoder in (make_text(), TextPromptEncoder.from_pretrained(tmp_path)):
        learns = {name.split(".")[0] for name, value in encoder.named_parameters() if value.requires_grad}
        assert learns == {"projection"}


def test_a_saved_encoder_returns_with_its_tokenizer(make_text, tmp_path):
    encoder = make_text()
    encoder.save_pretrained(tmp_path / "model" / "text_prompt_encoder")
    again = TextPromptEncoder.from_pretrained(tmp_path / "model", subfolder="text_prompt_encoder")
    torch.testing.assert_close(again.encode(["a red apple"]).tokens, encoder.encode(["a red apple"]).tokens)


def test_half_precision_on_disk_is_read_as_asked(make_text, tmp_path):
    make_text().half().save_pretrained(tmp_path)
    for dtype in (torch.float32, torch.bfloat16):
        encoder = TextPromptEncoder.from_pretrained(tmp_path, torch_dtype=dtype)
        assert encoder.encode(["a rooster"]).tokens.dtype == dtype


def test_a_missing_or_damaged_tokenizer_is_named(make_text, tmp_path):
    make_text().save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ConfigurationError, match=r"tokenizer\.json"):
        TextPromptEncoder.from_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ConfigurationError, match=r"tokenizer\.json"):
        TextPromptEncoder.from_pretrained(tmp_path)


def test_long_text_is_cut_at_max_length(make_text):
    encoder = make_text()
    assert encoder.preprocess(["apple " * 50])["input_ids"].shape == (1, 8)


def test_cached_sentence_embeddings_project_to_the_same_condition(make_text):
    encoder = make_text()
    inputs = encoder.preprocess(["a rooster", "a red apple"])
    torch.testing.assert_close(encoder.project(encoder.embed_sentences(**inputs)).tokens, encoder(**inputs).tokens)


def test_a_sentence_transformers_folder_becomes_the_frozen_part(make_text, tmp_path):
    source = make_text()
    source.sentence_encoder.save_pretrained(tmp_path)
    source.tokenizer.save(str(tmp_path / "tokenizer.json"))
    made = TextPromptEncoder.from_sentence_transformer(tmp_path, projection_dim=24, max_length=8).eval()
    inputs = made.preprocess(["the sound of a rooster"])
    torch.testing.assert_close(made.embed_sentences(**inputs), source.embed_sentences(**inputs))
    assert made(**inputs).tokens.shape == (1, 1, 24)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=str(tmp_path)):
        TextPromptEncoder.from_sentence_transformer(tmp_path)


def test_words_follow_the_embedding_of_a_text_as_tokens_of_their_own(make_text):
    plain, worded = make_text(), make_text(word_tokens=4)
    condition = worded.encode(["a red apple", "a rooster"])
    assert condition.tokens.shape == (2, 4, 16) and condition.mask.tolist() == [[True] * 4, [True] * 3 + [False]]
    assert condition.tokens[1, 3].abs().max() == 0
    torch.testing.assert_close(condition.tokens[:, 0], plain.encode(["a red apple", "a rooster"]).tokens[:, 0])
    torch.testing.assert_close(condition.tokens[0].norm(dim=-1), torch.ones(4))
    # A word's token does not depend on how long the other texts of a batch are.
    torch.testing.assert_close(worded.encode(["a rooster"]).tokens, condition.tokens[1:, :3])
    assert make_text(word_tokens=2).encode(["a red apple"]).tokens.shape == (1, 3, 16)
