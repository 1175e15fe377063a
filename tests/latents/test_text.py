import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from transformers import PreTrainedTokenizerFast

from opencodi.convert.optimus import convert_optimus
from opencodi.errors import ConfigurationError
from opencodi.latents.text import TextAutoencoder, TextCodec, build_tokenizer, without_repeats
from tests.published import GOLDENS, OPTIMUS, cases, load, weights

CASES = cases("optimus_small")
SENTENCES = ["a rooster", "Santa Claus, moving", "the word rooster", "a red apple", "the sound of a drum, naïve 🎅"]


def tiny(tokenizer: PreTrainedTokenizerFast | None = None, **changes) -> TextAutoencoder:
    vocabulary = len(tokenizer) if tokenizer else 300
    sizes = {"vocab_size": vocabulary, "hidden_size": 32, "layers": 1, "heads": 2, "intermediate_size": 64}
    halves = {f"{half}_{name}": value for half in ("encoder", "decoder") for name, value in sizes.items()}
    torch.manual_seed(0)
    return TextAutoencoder(**{"latent_dim": 16, **halves, **changes}).eval()


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer(SENTENCES * 3, 300)


@pytest.fixture(scope="module")
def optimus() -> TextAutoencoder:
    model = TextAutoencoder(**OPTIMUS)
    return load(model, convert_optimus(weights("optimus_small"), model))


@torch.no_grad()
def test_encoder_equals_the_published_one(optimus: TextAutoencoder):
    mean, log_variance = optimus.moments(CASES["enc.input_ids"])
    torch.testing.assert_close(mean, CASES["enc.mu"], atol=1e-4, rtol=0)
    torch.testing.assert_close(log_variance, CASES["enc.logvar"], atol=1e-4, rtol=0)


@torch.no_grad()
def test_decoder_equals_the_published_one(optimus: TextAutoencoder):
    logits = optimus.decode_logits(CASES["dec.z"], CASES["dec.input_ids"])
    torch.testing.assert_close(logits, CASES["dec.logits"], atol=1e-4, rtol=0)


def test_generation_with_a_cache_equals_the_published_decoding(optimus: TextAutoencoder):
    assert torch.equal(optimus.generate(CASES["dec.z"], max_length=11), CASES["dec.greedy_ids"])


@torch.no_grad()
def test_the_decoder_finds_sentences_as_likely_as_the_published_one(optimus: TextAutoencoder):
    logits = optimus.decode_logits(CASES["dec.z"], CASES["dec.input_ids"])[:, :-1]
    targets = CASES["dec.labels"][:, 1:]
    losses = F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=497, reduction="none").sum(1)
    torch.testing.assert_close(losses, CASES["dec.loss_sum_per_sample"], atol=1e-3, rtol=0)


def test_repeated_words_and_phrases_are_dropped_as_by_the_published_code():
    for case in json.loads((GOLDENS / "optimus_small" / "dedupe.json.txt").read_text()):
        assert without_repeats(case["input"]) == case["final"]


def test_an_output_layer_of_its_own_is_no_optimus(optimus: TextAutoencoder):
    state = weights("optimus_small")
    tied = state["decoder.transformer.wte.weight"]
    convert_optimus({**state, "decoder.lm_head.weight": tied.clone()}, optimus)
    with pytest.raises(ConfigurationError, match=r"lm_head\.weight: differs from"):
        convert_optimus({**state, "decoder.lm_head.weight": tied + 1}, optimus)


def test_tokenizer_gives_back_any_string_and_keeps_case(tokenizer: PreTrainedTokenizerFast):
    for text in [*SENTENCES, "Größe 東京 <tag>"]:
        ids = tokenizer(text).input_ids
        assert ids[0] == tokenizer.bos_token_id == 1 and ids[-1] == tokenizer.eos_token_id == 2
        assert tokenizer.decode(ids, skip_special_tokens=True).strip() == text
    assert len(tokenizer) <= 300 and tokenizer.pad_token_id == 0


def test_tokenizer_is_the_same_from_the_same_sentences_and_survives_saving(tokenizer, tmp_path: Path):
    assert build_tokenizer(SENTENCES * 3, 300).get_vocab() == tokenizer.get_vocab()
    tokenizer.save_pretrained(tmp_path)
    loaded = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert loaded("Santa Claus").input_ids == tokenizer("Santa Claus").input_ids
    assert loaded.pad_token_id == 0


def test_padding_changes_neither_latents_nor_logits(tokenizer: PreTrainedTokenizerFast):
    codec = TextCodec(tiny(tokenizer), tokenizer)
    together, alone = codec.tokenize(SENTENCES), codec.tokenize(SENTENCES[:1])
    length = alone["input_ids"].shape[1]
    with torch.no_grad():
        latents = codec.encode(SENTENCES)
        torch.testing.assert_close(latents[:1], codec.encode(SENTENCES[:1]), atol=1e-5, rtol=0)
        logits = codec.autoencoder.decode_logits(latents, together["input_ids"])
        expected = codec.autoencoder.decode_logits(latents[:1], alone["input_ids"])
    torch.testing.assert_close(logits[:1, :length], expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_each_of_the_two_ways_the_latent_enters_changes_the_words():
    model = tiny()
    ids = torch.tensor([[1, 5, 6]])
    latents = torch.randn(1, 16, generator=torch.Generator().manual_seed(0)) * 10
    for closed in (model.latent_to_memory, model.latent_to_embedding):
        weight = closed.weight.clone()
        closed.weight.zero_()
        assert (model.decode_logits(latents, ids) - model.decode_logits(-latents, ids)).abs().max() > 1e-3
        closed.weight.copy_(weight)


def test_sentences_come_back_after_a_short_training(tokenizer: PreTrainedTokenizerFast):
    model = tiny(tokenizer).train()
    codec = TextCodec(model, tokenizer)
    tokens = codec.tokenize(SENTENCES)
    targets = tokens["input_ids"][:, 1:].masked_fill(tokens["attention_mask"][:, 1:] == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    for _ in range(50):
        mean, _ = model.moments(**tokens)
        logits = model.reconstruct_logits(mean, tokens["input_ids"][:, :-1])
        F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    assert codec.decode(codec.encode(SENTENCES)) == SENTENCES
    # Normalisation is undone before the decoder, so statistics change latents and not sentences.
    latents = codec.encode(SENTENCES)
    model.register_to_config(latents_mean=[0.5] * 16, latents_std=[2.0] * 16)
    torch.testing.assert_close(codec.encode(SENTENCES), (latents - 0.5) / 2)
    assert codec.decode(codec.encode(SENTENCES)) == SENTENCES


def test_ended_sentences_are_padded_and_length_is_bounded():
    model = tiny()
    latents = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    ids = model.generate(latents, do_sample=True, temperature=5.0, generator=torch.Generator().manual_seed(2))
    assert ids.shape[1] <= model.config.sample_length
    model.register_to_config(eos_token_id=int(ids[0, 3]))
    ended = model.generate(latents, do_sample=True, temperature=5.0, generator=torch.Generator().manual_seed(2))
    assert (ended[0, 4:] == model.config.pad_token_id).all() and torch.equal(ended[0, :4], ids[0, :4])
    assert model.generate(latents, max_length=5).shape == (3, 5)


def test_only_sampling_depends_on_the_generator(generator: torch.Generator):
    model = tiny()
    ids = torch.tensor([[1, 5, 6, 2]])
    seeds = [torch.Generator().manual_seed(seed) for seed in (1, 1, 2)]
    with torch.no_grad():
        drawn = [model.encode(ids, generator=seed, sample=True) for seed in seeds]
        assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
        assert torch.equal(model.encode(ids, generator=generator), model.encode(ids))


def test_saved_weights_are_the_loaded_weights(tmp_path: Path):
    model = tiny()
    model.save_pretrained(tmp_path)
    loaded = TextAutoencoder.from_pretrained(tmp_path, torch_dtype=torch.float32).eval()
    ids = torch.tensor([[1, 5, 6, 2]])
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids), model(ids), atol=1e-5, rtol=0)
