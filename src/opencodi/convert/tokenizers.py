"""The tokenizers that belong to the published model but not to its files: CLIP's, and BERT's and GPT-2's for Optimus."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import BertTokenizerFast, CLIPTokenizerFast, GPT2TokenizerFast, PreTrainedTokenizerFast

from ..errors import ConfigurationError
from ..latents.optimus_tokenizer import OptimusTokenizer

_REMEDY = (
    "give a folder that holds its files (tokenizer.json, or the vocabulary and merges), or its name while the Hugging "
    "Face hub can be reached"
)


def load_clip_tokenizer(source: str | Path, vocab_size: int) -> Tokenizer:
    """CLIP's tokenizer from a folder or a name on the Hugging Face hub.

    Raises:
        ConfigurationError: if it is not there, or has another number of tokens.
    """
    tokenizer = _load(CLIPTokenizerFast, source, "CLIP")
    _check_size(source, "CLIP", len(tokenizer), vocab_size)
    return tokenizer.backend_tokenizer


def load_optimus_tokenizer(bert: str | Path, gpt2: str | Path, config: Mapping[str, Any]) -> OptimusTokenizer:
    """BERT's and GPT-2's tokenizers as one.

    Args:
        bert, gpt2: folders or names on the Hugging Face hub.
        config: of the ``TextAutoencoder``.

    Raises:
        ConfigurationError: if one is not there, or has other tokens than the autoencoder.
    """
    reader = _load(BertTokenizerFast, bert, "BERT", do_lower_case=False)
    _check_size(bert, "BERT", len(reader), config["encoder_vocab_size"])
    tokenizer = OptimusTokenizer.from_parts(reader, _load(GPT2TokenizerFast, gpt2, "GPT-2"))
    _check_size(gpt2, "GPT-2", len(tokenizer), config["decoder_vocab_size"])
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        if getattr(tokenizer, name) != config[name]:
            raise ConfigurationError(f"{gpt2}: its {name} becomes {getattr(tokenizer, name)}, not {config[name]}")
    return tokenizer


def _load(kind: type[PreTrainedTokenizerFast], source: str | Path, whose: str, **options: Any) -> Any:
    try:
        return kind.from_pretrained(str(source), **options)
    except Exception as error:  # tokenizers raises plain Exception for a damaged file, the hub client errors of its own
        raise ConfigurationError(f"{source}: {whose}'s tokenizer cannot be loaded from there; {_REMEDY}") from error


def _check_size(source: str | Path, whose: str, size: int, expected: int) -> None:
    # The library makes a tokenizer of nothing out of a folder that holds nothing.
    if size != expected:
        raise ConfigurationError(
            f"{source}: {whose}'s tokenizer has {expected} tokens, the one there {size}; {_REMEDY}"
        )
