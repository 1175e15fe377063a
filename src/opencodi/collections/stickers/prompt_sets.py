"""What items are prompted by: embeddings of captions, pictures, clips and recordings, all computed once."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ...data.augment import audio_batch, over_white
from ...data.paired import THING, Prompts, in_chunks, positions
from ...data.shards import SAMPLE_RATE, Items, load_concepts
from ...latents.image import to_uint8
from ...media import Audio, Video
from ...prompts import AudioPromptEncoder, ImagePromptEncoder, TextPromptEncoder, VideoPromptEncoder
from ...training.components import ModelFolder
from ...training.sentences import CACHE_FILE, embed_captions
from .captions import PROCEDURAL, captions_of, kind_captions


def image_tokens(items: Items, parts: ModelFolder) -> torch.Tensor:
    """Embeddings [N, D] of pictures as prompts."""
    encoder = parts.load(ImagePromptEncoder, "image_prompt_encoder")
    if not isinstance(encoder, ImagePromptEncoder):  # of a converted model, which prepares pictures in its own way
        return in_chunks(lambda chunk: encoder.encode(_pictures(chunk)).tokens[:, 0], items.media)
    return in_chunks(lambda chunk: encoder(over_white(chunk).to(encoder.device)).tokens[:, 0], items.media)


def video_tokens(items: Items, parts: ModelFolder) -> torch.Tensor:
    """Embeddings [N, D] of clips as prompts."""
    image = parts.load(ImagePromptEncoder, "image_prompt_encoder")
    encoder = parts.load(VideoPromptEncoder, "video_prompt_encoder")

    if not isinstance(encoder, VideoPromptEncoder):

        def clips(chunk: np.ndarray) -> torch.Tensor:
            made = [Video(np.stack([np.asarray(frame) for frame in _pictures(clip)]), 8.0) for clip in chunk]
            return encoder.read(made, image=image)[0].tokens[:, 0]

        return in_chunks(clips, items.media, size=8)

    def tokens(chunk: np.ndarray) -> torch.Tensor:
        return encoder(**encoder.frames(over_white(chunk).transpose(1, 2).to(image.device), image)).tokens[:, 0]

    return in_chunks(tokens, items.media, size=8)


def audio_tokens(items: Items, parts: ModelFolder) -> torch.Tensor:
    """Embeddings [N, D] of recordings as prompts."""
    encoder = parts.load(AudioPromptEncoder, "audio_prompt_encoder")
    if not isinstance(encoder, AudioPromptEncoder):
        sounds = [Audio(samples.astype(np.float32) / 32768, SAMPLE_RATE) for samples in items.media]
        return in_chunks(lambda chunk: encoder.encode(list(chunk)).tokens[:, 0], np.array(sounds, object))
    return in_chunks(lambda chunk: encoder(waveform=audio_batch(chunk).to(encoder.device)).tokens[:, 0], items.media)


def _pictures(rgba: np.ndarray) -> list[Image.Image]:
    """uint8 RGBA [N, H, W, 4] → pictures over white."""
    return [Image.fromarray(pixels) for pixels in to_uint8(over_white(rgba))]


def item_prompts(
    kinds: Collection[str], items: Items, data: Path, parts: ModelFolder, **makers: Callable[[], Prompts]
) -> dict[str, Prompts]:
    """{kind: prompts} of items: their captions, their kinds of thing, and what ``makers`` make of the other ``kinds`` named."""
    concepts = load_concepts(data)
    captions = [captions_of(record, concepts) for record in items.records]
    things = [kind_captions(concepts.get(record["concept"], {})) for record in items.records]
    return text_prompts(kinds, captions, things, parts) | {
        kind: make() for kind, make in makers.items() if kind in kinds
    }


def text_prompts(
    kinds: Collection[str], captions: Sequence[Sequence[str]], things: Sequence[Sequence[str]], parts: ModelFolder
) -> dict[str, Prompts]:
    """Prompts of the kinds ``text`` (always) and ``thing`` (if it is named)."""
    found = {"text": _embed_captions(captions, parts)}
    return found | ({THING: _embed_captions(things, parts)} if THING in kinds else {})


@torch.no_grad()
def _embed_captions(captions: Sequence[Sequence[str]], parts: ModelFolder) -> Prompts:
    encoder = parts.load(TextPromptEncoder, "text_prompt_encoder")
    every = [caption for choices in captions for caption in choices]
    if not isinstance(encoder, TextPromptEncoder):
        distinct = sorted(set(every))
        places = {caption: place for place, caption in enumerate(distinct)}
        tokens = in_chunks(lambda chunk: encoder.encode(list(chunk)).tokens[:, 0], np.array(distinct, object))
        return Prompts(tokens, [np.array([places[caption] for caption in choices], int) for choices in captions])
    known, embeddings = embed_captions(encoder, every, parts.cache(CACHE_FILE))
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


def same_thing(tokens: torch.Tensor, items: Items, shown: Items, parts: ModelFolder) -> Prompts:
    """Every picture may be prompted by itself or by any of ``shown`` of its concept and skin tone."""

    def key(record: Mapping[str, Any]) -> str:
        return f"{record['concept']}/{record.get('tone')}"

    groups = positions(key(record) for record in shown.records)
    rows = [np.concatenate([[i], len(items) + groups[key(record)]]) for i, record in enumerate(items.records)]
    return Prompts(torch.cat([tokens, image_tokens(shown, parts)]), rows)
