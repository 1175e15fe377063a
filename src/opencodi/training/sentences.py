"""Captions as sentence embeddings. The sentence encoder is frozen: each caption goes through it once, for all stages."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from ..errors import TrainingError
from ..prompts.text import TextPromptEncoder

BATCH_SIZE = 256
SAVE_EVERY = 8192
"""Captions between two writes of the cache: on a slow machine an interrupted run keeps what it has."""

CACHE_FILE = "sentences.safetensors"


def embed_captions(
    encoder: TextPromptEncoder, captions: Iterable[str], cache: Path | None = None
) -> tuple[dict[str, int], torch.Tensor]:
    """Sentence embeddings of all distinct captions.

    Args:
        encoder: its frozen part is used, on whatever device it is.
        captions: any number, with repeats.
        cache: a file to look them up in and to add new ones to. One made with other weights is replaced.

    Returns:
        ({caption: row}, float32 [rows, E] on the CPU).
    """
    of_encoder = fingerprint(encoder)
    known, embeddings = _read(cache, of_encoder)
    # Long and short captions in one batch would pad the short ones; sorting keeps batches even.
    new = sorted(set(captions) - known.keys(), key=lambda caption: (len(caption), caption))
    for start in range(0, len(new), SAVE_EVERY):
        chunk = new[start : start + SAVE_EVERY]
        parts = [_embed(encoder, chunk[i : i + BATCH_SIZE]) for i in range(0, len(chunk), BATCH_SIZE)]
        embeddings = torch.cat([embeddings, *parts] if known else parts)
        known.update({caption: len(known) + row for row, caption in enumerate(chunk)})
        _write(cache, of_encoder, known, embeddings)
    return known, embeddings


@torch.no_grad()
def _embed(encoder: TextPromptEncoder, captions: Sequence[str]) -> torch.Tensor:
    inputs = {name: value.to(encoder.device) for name, value in encoder.preprocess(captions).items()}
    # Rounded as the cache rounds, so that a run with a cache equals the run that made it.
    return encoder.embed_sentences(**inputs).half().float().cpu()


class CaptionTable:
    """The captions of every item of a data set, drawn as rows of one table of sentence embeddings.

    Args:
        encoder: see ``embed_captions``.
        captions: for each item, all it may be called; the first is its name.
        cache: see ``embed_captions``.
        name_share: chance that ``draw`` takes the name without looking at the others.
        known: {caption: row} of a table that has all of them already (``words.WordTable``); None: make one.

    Attributes:
        embeddings: float32 [rows, E]; empty if ``known`` was given.

    Raises:
        TrainingError: if an item has no caption.
    """

    def __init__(
        self,
        encoder: TextPromptEncoder,
        captions: Sequence[Sequence[str]],
        cache: Path | None = None,
        name_share: float = 0.0,
        known: Mapping[str, int] | None = None,
    ):
        if any(len(choices) == 0 for choices in captions):
            raise TrainingError("an item of the training data has no caption; give it one in its json")
        self.embeddings = torch.zeros(0)
        if known is None:
            known, self.embeddings = embed_captions(encoder, (text for choices in captions for text in choices), cache)
        self._rows = np.array([known[text] for choices in captions for text in choices], dtype=np.int64)
        self._counts = np.array([len(choices) for choices in captions], dtype=np.int64)
        self._starts = np.cumsum(self._counts) - self._counts
        self._name_share = name_share

    def draw(self, items: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One caption of each item, at random: rows of ``embeddings``, int64 like ``items``."""
        choice = rng.integers(0, self._counts[items])
        return self._rows[self._starts[items] + np.where(rng.random(len(items)) < self._name_share, 0, choice)]

    def names(self, items: np.ndarray) -> np.ndarray:
        """The first caption of each item: rows of ``embeddings``, int64 like ``items``."""
        return self._rows[self._starts[items]]


def fingerprint(encoder: TextPromptEncoder) -> str:
    """Tells sentence encoders apart, whatever precision they were stored in."""
    digest = hashlib.sha256()
    for name, value in sorted(encoder.sentence_encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().half().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read(cache: Path | None, of_encoder: str) -> tuple[dict[str, int], torch.Tensor]:
    if cache is None or not cache.is_file():
        return {}, torch.zeros(0)
    stored = load_file(cache)
    if bytes(stored["fingerprint"].tolist()).decode() != of_encoder:
        return {}, torch.zeros(0)
    texts = stored["captions"].numpy().tobytes().decode("utf-8").split("\0")
    return {text: row for row, text in enumerate(texts)}, stored["embeddings"].float()


def _write(cache: Path | None, of_encoder: str, known: dict[str, int], embeddings: torch.Tensor) -> None:
    if cache is None:
        return
    cache.parent.mkdir(parents=True, exist_ok=True)
    temporary = cache.with_name(f"{cache.name}.{os.getpid()}.partial")  # several processes may write it at once
    texts = "\0".join(sorted(known, key=known.__getitem__)).encode("utf-8")
    save_file(
        {
            "fingerprint": torch.tensor(list(of_encoder.encode()), dtype=torch.uint8),
            "captions": torch.frombuffer(bytearray(texts), dtype=torch.uint8),
            "embeddings": embeddings.half(),
        },
        temporary,
    )
    temporary.replace(cache)
