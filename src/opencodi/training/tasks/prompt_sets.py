"""What items are prompted by: embeddings of captions, pictures, clips and recordings, all computed once."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...collections.stickers.captions import PROCEDURAL, captions_of, kind_captions
from ...data.augment import audio_batch, over_white
from ...data.shards import Items, load_concepts
from ...prompts import AudioPromptEncoder, ImagePromptEncoder, TextPromptEncoder, VideoPromptEncoder
from ..components import load_component
from ..sentences import CACHE_FILE, embed_captions

CHUNK = 64

THING = "thing"
OPEN = (None, THING)
"""Kinds of prompts that leave open which thing is meant: none, and what kind of thing it is."""


@dataclass
class Prompts:
    """Prompts of one kind: embeddings [K, D] in the shared space and, for each item, the rows that describe it."""

    tokens: torch.Tensor
    rows: Sequence[np.ndarray]


def draw_kinds(rng: np.random.Generator, count: int, shares: Mapping[str, float]) -> list[str | None]:
    """``count`` kinds of prompts, drawn by their shares; None for the rest, up to 1."""
    kinds, edges = [*shares, None], np.cumsum(list(shares.values()))
    return [kinds[place] for place in np.searchsorted(edges, rng.random(count), side="right")]


def image_tokens(items: Items, model_folder: Path) -> torch.Tensor:
    """Embeddings [N, D] of pictures as prompts."""
    encoder = load_component(ImagePromptEncoder, model_folder, "image_prompt_encoder")
    return in_chunks(lambda chunk: encoder(over_white(chunk).to(encoder.device)).tokens[:, 0], items.media)


def video_tokens(items: Items, model_folder: Path) -> torch.Tensor:
    """Embeddings [N, D] of clips as prompts."""
    encoder = load_component(VideoPromptEncoder, model_folder, "video_prompt_encoder")

    def tokens(chunk: np.ndarray) -> torch.Tensor:
        return encoder(over_white(chunk).transpose(1, 2).to(encoder.device)).tokens[:, 0]

    return in_chunks(tokens, items.media, size=8)


def audio_tokens(items: Items, model_folder: Path) -> torch.Tensor:
    """Embeddings [N, D] of recordings as prompts."""
    encoder = load_component(AudioPromptEncoder, model_folder, "audio_prompt_encoder")
    return in_chunks(lambda chunk: encoder(waveform=audio_batch(chunk).to(encoder.device)).tokens[:, 0], items.media)


def item_prompts(
    kinds: Collection[str], items: Items, data: Path, model_folder: Path, **makers: Callable[[], Prompts]
) -> dict[str, Prompts]:
    """{kind: prompts} of items: their captions, their kinds of thing, and what ``makers`` make of the other ``kinds`` named."""
    concepts = load_concepts(data)
    captions = [captions_of(record, concepts) for record in items.records]
    things = [kind_captions(concepts.get(record["concept"], {})) for record in items.records]
    return text_prompts(kinds, captions, things, model_folder) | {
        kind: make() for kind, make in makers.items() if kind in kinds
    }


def text_prompts(
    kinds: Collection[str], captions: Sequence[Sequence[str]], things: Sequence[Sequence[str]], model_folder: Path
) -> dict[str, Prompts]:
    """Prompts of the kinds ``text`` (always) and ``thing`` (if it is named)."""
    found = {"text": _embed_captions(captions, model_folder)}
    return found | ({THING: _embed_captions(things, model_folder)} if THING in kinds else {})


@torch.no_grad()
def _embed_captions(captions: Sequence[Sequence[str]], model_folder: Path) -> Prompts:
    encoder = load_component(TextPromptEncoder, model_folder, "text_prompt_encoder")
    every = [caption for choices in captions for caption in choices]
    known, embeddings = embed_captions(encoder, every, model_folder / "training" / CACHE_FILE)
    used = sorted({known[caption] for caption in every})
    place = {row: position for position, row in enumerate(used)}
    tokens = encoder.project(embeddings[used].to(encoder.device)).tokens[:, 0].cpu()
    return Prompts(tokens, [np.array([place[known[caption]] for caption in choices]) for choices in captions])


def same_concept(tokens: torch.Tensor, items: Items, shown: Items) -> Prompts:
    """Every item may be prompted by any of ``shown`` of its concept (speech by speech, motion by the same motion).

    tokens: [K, D], of ``shown``.
    """

    def key(record: Mapping[str, Any]) -> str:
        speech = record["shard"] if "voice" in record else ""
        return f"{record['concept']}/{speech}/{record['motion'] if record['shard'] in PROCEDURAL else ''}"

    groups = positions(key(record) for record in shown.records)
    none = np.array([], dtype=int)
    return Prompts(tokens, [groups.get(key(record), none) for record in items.records])


def same_thing(tokens: torch.Tensor, items: Items, shown: Items, model_folder: Path) -> Prompts:
    """Every picture may be prompted by itself or by any of ``shown`` of its concept and skin tone."""

    def key(record: Mapping[str, Any]) -> str:
        return f"{record['concept']}/{record.get('tone')}"

    groups = positions(key(record) for record in shown.records)
    rows = [np.concatenate([[i], len(items) + groups[key(record)]]) for i, record in enumerate(items.records)]
    return Prompts(torch.cat([tokens, image_tokens(shown, model_folder)]), rows)


def positions(keys: Iterable[str]) -> dict[str, np.ndarray]:
    """{key: where it stands among ``keys``, in order}."""
    found: dict[str, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        found[key].append(position)
    return {key: np.array(positions) for key, positions in found.items()}


@torch.no_grad()
def in_chunks(function: Callable[[np.ndarray], torch.Tensor], media: np.ndarray, size: int = CHUNK) -> torch.Tensor:
    """``function`` over chunks of ``media``, concatenated, on the CPU."""
    return torch.cat([function(media[start : start + size]).cpu() for start in range(0, len(media), size)])
