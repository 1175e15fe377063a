"""The anchors of a trained model: embeddings of every name of a collection, and of the words for kinds of things.

Nothing is learned, so it takes seconds. Kinds ("an animal") are among them so that a prompt that leaves open which stays so,
with the names of each kind that have a sound, if the collection has any.

python -m opencodi.collections.stickers.anchors runs/stickers [--scale 120] [--share 0.5] [--caption_share 1]
    [--text_scale 60] [--text_share 0.6] [--heard_text_share 0.3]
"""

import argparse
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from ...data.shards import concepts_in, find_data, load_concepts
from ...errors import OpenCoDiError
from ...extras.prompt_anchors import PromptAnchors
from ...prompts import TextPromptEncoder
from ...training.components import load_component, save_component
from .captions import kind_captions

NAME, SOUNDS = "prompt_anchors", "sounds"
BATCH_SIZE, MOST_KEYWORDS = 256, 6
KIND_LENGTH = 0.8
"""Of the sentence embeddings of kinds: they are meant by nearly their own words only, not by "a big animal with a trunk"."""

LEAST_SOUNDS = 3
"""Recordings from which a name counts as having a sound: of fewer, a model learns none that one would recognise."""


@torch.no_grad()
def make_anchors(model_folder: Path, data: Path, least_sounds: int = LEAST_SOUNDS, **config: float) -> PromptAnchors:
    """Anchors at the names, and kinds, of the collection in ``data``, by the text prompt encoder of ``model_folder``.

    Args:
        model_folder: where the encoder is.
        data: folder of shards.
        least_sounds: recordings that a name must have to be one with a sound.
        **config: scale and shares, see ``PromptAnchors``.

    Raises:
        TrainingError: if there is no text prompt encoder, or no collection.
    """
    encoder = load_component(TextPromptEncoder, model_folder, "text_prompt_encoder")
    collection = load_concepts(data)
    concepts = collection.values()
    # What a name means is said best by itself and its keywords together, what a kind means by itself.
    meanings = {text: text for concept in concepts for text in kind_captions(concept)}
    meanings |= {c["name"]: f"{c['name']} ({', '.join(c.get('keywords', [])[:MOST_KEYWORDS])})" for c in concepts}
    texts, names = sorted(meanings), {concept["name"] for concept in concepts}
    alone, explained = _embed(encoder, texts), _embed(encoder, [meanings[text] for text in texts])
    projected = torch.cat([encoder.project(part).tokens[:, 0] for part in alone.split(BATCH_SIZE)])
    lengths = torch.tensor([1.0 if text in names else KIND_LENGTH for text in texts])
    sentences = lengths.to(alone.device)[:, None] * F.normalize(alone + explained, dim=-1)
    heard = concepts_in(data, SOUNDS, least_sounds) if (data / f"{SOUNDS}.tar.gz").is_file() else set()
    pairs = audible_pairs(texts, list(concepts), heard={collection[code]["name"] for code in heard & collection.keys()})
    return PromptAnchors.from_embeddings(projected, sentences, pairs, **config)


def audible_pairs(
    texts: Sequence[str], concepts: Sequence[Mapping[str, Any]], heard: Collection[str]
) -> torch.Tensor | None:
    """Which kinds have which names with a sound: int [P, 2], places in ``texts`` of a kind and a name; None if there are none.

    Args:
        texts: of the anchors, every name and kind.
        concepts: records of all. What is a kind and a name as well ("bird") is a name, and leaves nothing open.
        heard: names that have a sound.
    """
    places, names = {text: place for place, text in enumerate(texts)}, {concept["name"] for concept in concepts}
    pairs = [
        (places[kind], places[concept["name"]])
        for concept in concepts
        if concept["name"] in heard
        for kind in dict.fromkeys(kind_captions(concept))
        if kind not in names
    ]
    return torch.tensor(pairs) if pairs else None


def _embed(encoder: TextPromptEncoder, texts: list[str]) -> torch.Tensor:
    return torch.cat([encoder.embed_texts(texts[i : i + BATCH_SIZE]) for i in range(0, len(texts), BATCH_SIZE)])


def main() -> None:
    """Read the arguments, make the anchors and put them into the model folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model_folder", type=Path)
    parser.add_argument("--scale", type=float, default=120.0)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--text_share", type=float, default=0.6)
    parser.add_argument("--heard_text_share", type=float, default=0.3)
    parser.add_argument("--caption_share", type=float, default=1.0)
    parser.add_argument("--text_scale", type=float, default=60.0)
    parser.add_argument("--data", help="folder of shards; by default OPENCODI_DATA")
    given = parser.parse_args()
    names = ("scale", "share", "caption_share", "text_scale", "text_share", "heard_text_share")
    config = {name: getattr(given, name) for name in names}
    anchors = make_anchors(given.model_folder, find_data(given.data), **config)
    save_component(anchors, given.model_folder / NAME)
    print(f"{given.model_folder / NAME}: {anchors.config.num_anchors} anchors, {anchors.config.num_audible} audible")


if __name__ == "__main__":
    try:
        main()
    except OpenCoDiError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
