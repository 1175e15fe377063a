"""Captions word by word: what a frozen sentence encoder makes of every caption, computed once and kept on disk."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from ..data.chunks import Chunks
from ..device import quickly
from ..prompts.text import TextPromptEncoder
from .sentences import BATCH_SIZE, fingerprint


class WordTable:
    """Sentence embeddings and states of words of all distinct captions.

    Args:
        encoder: its frozen part is used, on whatever device it is.
        captions: any number, with repeats.
        folder: where tables are kept; each has a folder of its own.

    Attributes:
        known: {caption: row}.
    """

    def __init__(self, encoder: TextPromptEncoder, captions: Iterable[str], folder: Path):
        # Captions of one length lie side by side, so that batches need little padding.
        listed = sorted(set(captions), key=lambda caption: (len(caption), caption))
        self.known = {caption: row for row, caption in enumerate(listed)}
        self._listed, self._encoder = listed, encoder
        digest = hashlib.sha256("\0".join([fingerprint(encoder), *listed]).encode()).hexdigest()[:16]
        self._chunks = Chunks(folder / f"words-{digest}", len(listed), self._make)

    def embeddings(self, rows: np.ndarray) -> torch.Tensor:
        """Sentence embeddings float32 [B, E]."""
        return self._chunks.rows("sentences", rows).float()

    def words(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """States of words, float32 [B, W, E], W as many as the longest of these captions has, and their mask, bool [B, W]."""
        counts = self._chunks.rows("counts", rows)
        longest = int(counts.max())
        return self._chunks.rows("words", rows)[:, :longest].float(), torch.arange(longest) < counts[:, None]

    @torch.no_grad()
    def _make(self, first: int, last: int) -> dict[str, torch.Tensor]:
        most = self._encoder.config.word_tokens
        parts = [self._embed(self._listed[i : min(i + BATCH_SIZE, last)]) for i in range(first, last, BATCH_SIZE)]
        padded = [torch.nn.functional.pad(words, (0, 0, 0, most - words.shape[1])) for _, words, _ in parts]
        return {
            "sentences": torch.cat([sentences for sentences, _, _ in parts]).half(),
            "words": torch.cat(padded).half(),
            "counts": torch.cat([mask.sum(1) for _, _, mask in parts]).to(torch.uint8),
        }

    def _embed(self, captions: list[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        inputs = {name: value.to(self._encoder.device) for name, value in self._encoder.preprocess(captions).items()}
        with quickly(self._encoder.device):
            return self._encoder.embed_words(**inputs)
