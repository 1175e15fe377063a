"""A sentence encoder in a smaller file: only the tokens that English needs, and 8-bit integers."""

import json

import torch
from tokenizers import Tokenizer
from tokenizers.processors import BertProcessing

from ..quantized import quantized_as
from .text import TextPromptEncoder

TOKENS, POSITIONS = (f"sentence_encoder.embeddings.{of}_embeddings." for of in ("word", "position"))

TYPOGRAPHIC = "“”‘’–—…"
"""Signs that English is printed with."""


def english_only(encoder: TextPromptEncoder) -> TextPromptEncoder:
    """A copy without the tokens of other scripts, the unused ones, and the positions beyond ``max_length``.

    all-MiniLM-L6-v2 learned from English, but an eighth of its vocabulary is placeholders, letters and signs of other scripts
    and numbers of three digits and more. Texts without such get exactly the embeddings they had; a word with such a
    letter or sign becomes unknown, as emoji always were, and a number is read in pieces of two digits.
    An encoder whose tokenizer is not BERT's comes back as it is.
    """
    tokenizer = json.loads(encoder.tokenizer.to_str())
    if tokenizer["model"]["type"] != "WordPiece":
        return encoder
    before = tokenizer["model"]["vocab"]
    kept = [token for token in sorted(before, key=before.__getitem__) if _is_english(token)]
    after = {token: row for row, token in enumerate(kept)}
    tokenizer["model"]["vocab"] = after
    for special in tokenizer["added_tokens"]:
        special["id"] = after[special["content"]]
    tokenizer["post_processor"] = None  # it holds numbers of tokens, too

    config = {name: value for name, value in encoder.config.items() if not name.startswith("_")}
    positions = min(config["max_position_embeddings"], config["max_length"])
    smaller = TextPromptEncoder(**{**config, "vocab_size": len(kept), "max_position_embeddings": positions})
    smaller = torch.nn.Module.to(smaller, encoder.device, encoder.dtype)
    weights = encoder.state_dict()
    rows = {TOKENS: [before[token] for token in kept], POSITIONS: list(range(positions))}
    for name in weights:
        for start, chosen in rows.items():
            if name.startswith(start):
                weights[name] = weights[name][chosen]
    smaller.load_state_dict(weights)
    smaller.tokenizer = Tokenizer.from_str(json.dumps(tokenizer))
    smaller.tokenizer.post_processor = BertProcessing(("[SEP]", after["[SEP]"]), ("[CLS]", after["[CLS]"]))
    return smaller.train(encoder.training)


def quantized(encoder: TextPromptEncoder) -> TextPromptEncoder:
    """A copy whose sentence encoder is of 8-bit integers (``quantized.py``): nearly the same embeddings from half the size.

    An encoder that is so already comes back as it is.
    """
    if encoder.config.quantized:
        return encoder
    config = {name: value for name, value in encoder.config.items() if not name.startswith("_")}
    smaller = quantized_as(encoder, TextPromptEncoder(**{**config, "quantized": True}))
    smaller.tokenizer = encoder.tokenizer
    return smaller


def _is_english(token: str) -> bool:
    placeholder = token.startswith("[unused")
    number = token != "100" and sum(letter.isdigit() for letter in token) > 2
    return not placeholder and not number and all(letter.isascii() for letter in token if letter not in TYPOGRAPHIC)
