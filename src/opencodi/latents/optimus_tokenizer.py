"""The two tokenizers of the published text autoencoder: BERT's reads, GPT-2's writes (SPEC §4)."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import BatchEncoding, BertTokenizerFast, GPT2TokenizerFast, PreTrainedTokenizerFast

from ..errors import ConfigurationError

READER = "reader"
"""Sub-folder of a saved tokenizer that holds BERT's."""


class OptimusTokenizer(PreTrainedTokenizerFast):
    """GPT-2's tokenizer for what is written, with BERT's beside it for what is read.

    Calling it gives BERT's ids of the lower-cased text; decoding takes GPT-2's.
    """

    reader: PreTrainedTokenizerFast | None = None

    @classmethod
    def from_parts(cls, bert: BertTokenizerFast, gpt2: GPT2TokenizerFast) -> "OptimusTokenizer":
        """From bert-base-cased's and gpt2's tokenizers; ``<PAD>``, ``<BOS>`` and ``<EOS>`` follow gpt2's own tokens."""
        tokenizer = cls(tokenizer_object=gpt2.backend_tokenizer, clean_up_tokenization_spaces=False)
        for name in ("pad_token", "bos_token", "eos_token"):
            tokenizer.add_special_tokens({name: f"<{name.removesuffix('_token').upper()}>"})
        tokenizer.reader = bert
        return tokenizer

    def __call__(self, text: Sequence[str], **options: Any) -> BatchEncoding:
        """Texts → BERT's tokens; options as for every tokenizer.

        Raises:
            ConfigurationError: if this tokenizer was made without a reader.
        """
        if self.reader is None:
            raise ConfigurationError("OptimusTokenizer: has no reader; make it with from_parts or load a saved one")
        return self.reader([item.lower() for item in text], **options)

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any) -> Any:
        """Write both tokenizers: GPT-2's into the folder, BERT's into its sub-folder ``reader``."""
        if self.reader is not None:
            self.reader.save_pretrained(Path(save_directory) / READER)
        return super().save_pretrained(save_directory, *args, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, *args: Any, **kwargs: Any) -> Any:
        """Read a folder written by ``save_pretrained``.

        Raises:
            ConfigurationError: if the sub-folder ``reader`` is missing or damaged.
        """
        tokenizer = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        folder = Path(pretrained_model_name_or_path) / (kwargs.get("subfolder") or "") / READER
        try:
            tokenizer.reader = PreTrainedTokenizerFast.from_pretrained(folder)
        except Exception as error:  # tokenizers raises plain Exception for a damaged file
            raise ConfigurationError(f"{folder}: cannot be read as a tokenizer: {error}") from error
        return tokenizer
