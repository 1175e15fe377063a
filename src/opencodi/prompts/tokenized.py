"""What prompt encoders of text have in common: a tokenizer that lies beside the weights."""

import os
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from ..errors import ConfigurationError
from .encoder import PromptEncoder

TOKENIZER_FILE = "tokenizer.json"


class TokenizedPromptEncoder(PromptEncoder):
    """A prompt encoder with a ``tokenizer`` (``tokenizers.Tokenizer``), saved as ``tokenizer.json`` beside its weights."""

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """Write ``tokenizer.json``, then config and weights as every diffusers model does."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{TOKENIZER_FILE}.tmp"
        self.tokenizer.save(str(temporary), pretty=False)
        temporary.replace(folder / TOKENIZER_FILE)
        super().save_pretrained(save_directory, *args, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any) -> Any:
        """Read a folder written by ``save_pretrained``; arguments as for every diffusers model.

        Raises:
            ConfigurationError: if ``tokenizer.json`` is missing or damaged.
        """
        loaded = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        encoder = loaded[0] if isinstance(loaded, tuple) else loaded
        folder = Path(pretrained_model_name_or_path) / (kwargs.get("subfolder") or "")
        encoder.tokenizer = read_tokenizer(folder / TOKENIZER_FILE)
        return loaded


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a ``tokenizer.json``.

    Raises:
        ConfigurationError: if the file is missing or damaged.
    """
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # tokenizers raises plain Exception for a damaged file
        raise ConfigurationError(f"{path}: cannot be read as a tokenizer: {error}") from error
