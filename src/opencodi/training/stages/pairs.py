"""What diffusers and alignment learn from: items with latents, and the prompts each is paired with, all computed once."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...data.augment import audio_batch, over_white
from ...data.captions import PROCEDURAL, captions_of, image_captions
from ...data.shards import Items, load_audio, load_concepts, load_images, load_videos
from ...data.splits import split
from ...errors import ConfigurationError
from ...latents import AudioAutoencoder, ImageAutoencoder, TextAutoencoder, TextCodec
from ...prompts import AudioPromptEncoder, ImagePromptEncoder, TextPromptEncoder, VideoPromptEncoder
from ..components import load_component
from ..sentences import CACHE_FILE, embed_captions

CHUNK = 64


@dataclass
class Prompts:
    """Prompts of one kind: embeddings [K, D] in the shared space and, for each item, the rows that describe it."""

    tokens: torch.Tensor
    rows: Sequence[np.ndarray]


@dataclass
class PairedSet:
    """Items of one modality.

    Attributes:
        latents: half precision [N, ...], normalised.
        names: the N plain names.
        concepts: the N concept codes, by which items of two sets are paired.
        prompts: {kind: prompts}. The first row of kind ``text`` is the plain caption.
        weights: chance of each item to be drawn (they sum to 1), or None for equal ones.
        name_share: chance that a text prompt is the first caption.
        autoencoder: frozen; shows latents.
        codec: for text, turns latents into sentences.
    """

    latents: torch.Tensor
    names: list[str]
    concepts: list[str]
    prompts: dict[str, Prompts]
    name_share: float
    weights: np.ndarray | None = None
    autoencoder: Any = None
    codec: Any = None
    by_concept: dict[str, np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        self.by_concept = _positions(self.concepts)

    def __len__(self) -> int:
        return len(self.latents)

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """``count`` item positions."""
        return rng.choice(len(self), count, p=self.weights)

    def draw_conditions(self, items: np.ndarray, shares: Mapping[str, float], rng: np.random.Generator) -> torch.Tensor:
        """Condition embeddings [B, D]: for each item one prompt of a kind drawn by ``shares``; zeros for the rest.

        An item without prompts of the drawn kind is prompted by text.
        """
        kinds, edges = list(shares), np.cumsum(list(shares.values()))
        tokens = torch.zeros(len(items), self.prompts["text"].tokens.shape[1])
        for position, item in enumerate(items):
            drawn = int(np.searchsorted(edges, rng.random(), side="right"))
            if drawn < len(kinds):
                tokens[position] = self._draw_one(kinds[drawn], item, rng)
        return tokens

    def _draw_one(self, kind: str, item: int, rng: np.random.Generator) -> torch.Tensor:
        rows = self.prompts[kind].rows[item]
        if not len(rows):
            kind, rows = "text", self.prompts["text"].rows[item]
        first = kind == "text" and rng.random() < self.name_share
        return self.prompts[kind].tokens[rows[0] if first else rows[rng.integers(0, len(rows))]]

    def having(self, kind: str) -> np.ndarray:
        """Positions of the items with a prompt of this kind."""
        return np.array([i for i, rows in enumerate(self.prompts[kind].rows) if len(rows)], dtype=int)

    def first_condition(self, items: np.ndarray, kind: str = "text") -> torch.Tensor:
        """Condition embeddings [B, D]: each item's first prompt of this kind."""
        prompts = self.prompts[kind]
        return prompts.tokens[[prompts.rows[i][0] for i in items]]


def image_tokens(items: Items, model_folder: Path) -> torch.Tensor:
    """Embeddings [N, D] of pictures as prompts."""
    encoder = load_component(ImagePromptEncoder, model_folder, "image_prompt_encoder")
    return _each(lambda chunk: encoder(over_white(chunk)).tokens[:, 0], items.media)


def video_tokens(items: Items, model_folder: Path) -> torch.Tensor:
    """Embeddings [N, D] of clips as prompts."""
    encoder = load_component(VideoPromptEncoder, model_folder, "video_prompt_encoder")
    return _each(lambda chunk: encoder(over_white(chunk).transpose(1, 2)).tokens[:, 0], items.media, size=8)


def audio_tokens(items: Items, model_folder: Path) -> torch.Tensor:
    """Embeddings [N, D] of recordings as prompts."""
    encoder = load_component(AudioPromptEncoder, model_folder, "audio_prompt_encoder")
    return _each(lambda chunk: encoder(waveform=audio_batch(chunk)).tokens[:, 0], items.media)


def image_set(
    data: Path,
    shards: Mapping[str, float],
    model_folder: Path,
    name_share: float,
    kinds: Collection[str],
    styles: Sequence[str] = (),
    every_concept: bool = False,
) -> tuple[PairedSet, PairedSet]:
    """(training, validation) pictures of these styles (all, if none is named), prompted by text or a picture.

    With ``every_concept`` the training set also has the concepts that these styles do not show, in the styles that do.
    Prompts that are pictures are of every style: whatever style a thing is shown in, it is drawn in these.

    Here as in the other sets, ``kinds`` of prompts other than text are embedded only if they are named.
    """
    autoencoder = load_component(ImageAutoencoder, model_folder, "image_autoencoder")

    def build(items: Items, shown: Items) -> PairedSet:
        return PairedSet(
            latents=_each(lambda chunk: autoencoder.encode(over_white(chunk)), items.media).half(),
            prompts=_prompts(
                kinds,
                text=lambda: _captions(items, data, model_folder),
                image=lambda: _same_thing(image_tokens(items, model_folder), items, shown, model_folder),
            ),
            autoencoder=autoencoder,
            **_facts(items, shards, name_share),
        )

    everything = load_images(data, tuple(shards))
    shown, held = split(everything)
    training, validation = split(of_styles(everything, styles))
    if every_concept:
        training = of_styles(shown, styles, every_concept)
    return build(training, shown), build(validation, held)


def video_set(
    data: Path, shards: Mapping[str, float], model_folder: Path, name_share: float, kinds: Collection[str]
) -> tuple[PairedSet, PairedSet]:
    """(training, validation) clips of the shards, each a ``clip_set``."""
    autoencoder = load_component(ImageAutoencoder, model_folder, "image_autoencoder")
    return _both(
        lambda items: clip_set(items, data, shards, model_folder, name_share, kinds, autoencoder),
        load_videos(data, tuple(shards)),
    )


def clip_set(
    items: Items,
    data: Path,
    shards: Mapping[str, float],
    model_folder: Path,
    name_share: float,
    kinds: Collection[str],
    autoencoder: ImageAutoencoder,
) -> PairedSet:
    """Clips, prompted by text, by one of their frames or by a clip of the same concept."""

    def latents(chunk: np.ndarray) -> torch.Tensor:
        frames = autoencoder.encode(over_white(chunk).flatten(0, 1))
        return frames.unflatten(0, chunk.shape[:2]).transpose(1, 2)

    first_frames = Items(items.media[:, 0], items.records)
    return PairedSet(
        latents=_each(latents, items.media, size=8).half(),
        prompts=_prompts(
            kinds,
            text=lambda: _captions(items, data, model_folder),
            image=lambda: Prompts(image_tokens(first_frames, model_folder), [np.array([i]) for i in range(len(items))]),
            video=lambda: _same_concept(video_tokens(items, model_folder), items),
        ),
        autoencoder=autoencoder,
        **_facts(items, shards, name_share),
    )


def audio_set(
    data: Path, shards: Mapping[str, float], model_folder: Path, name_share: float, kinds: Collection[str]
) -> tuple[PairedSet, PairedSet]:
    """(training, validation) recordings of the shards, each a ``recording_set``."""
    autoencoder = load_component(AudioAutoencoder, model_folder, "audio_autoencoder")
    return _both(
        lambda items: recording_set(items, data, shards, model_folder, name_share, kinds, autoencoder),
        load_audio(data, tuple(shards)),
    )


def recording_set(
    items: Items,
    data: Path,
    shards: Mapping[str, float],
    model_folder: Path,
    name_share: float,
    kinds: Collection[str],
    autoencoder: AudioAutoencoder,
) -> PairedSet:
    """Recordings, prompted by text or by a recording of the same thing."""
    return PairedSet(
        latents=_each(lambda c: autoencoder.encode(autoencoder.mel(audio_batch(c))), items.media).half(),
        prompts=_prompts(
            kinds,
            text=lambda: _captions(items, data, model_folder),
            audio=lambda: _same_concept(audio_tokens(items, model_folder), items),
        ),
        autoencoder=autoencoder,
        **_facts(items, shards, name_share),
    )


def text_set(
    data: Path, shards: Mapping[str, float], model_folder: Path, name_share: float, kinds: Collection[str]
) -> tuple[PairedSet, PairedSet]:
    """The concepts' names, prompted by their captions and by every picture, clip and recording of them.

    Training and validation hold the same names; their pictures, clips and recordings differ.
    """
    codec = text_codec(model_folder)
    concepts = load_concepts(data)
    codes = list(concepts)
    names = [concepts[code]["name"] for code in codes]
    latents = torch.cat([codec.encode(names[i : i + 256]) for i in range(0, len(names), 256)]).half()
    texts = [image_captions({**concepts[c], "style": "noto"}, concepts[c]) for c in codes]
    spoken = _embed_captions(texts, model_folder)
    sources = {
        "image": (load_images, image_tokens, ("images", "images-skin-tones")),
        "video": (load_videos, video_tokens, ("videos", "videos-skin-tones")),
        "audio": (load_audio, audio_tokens, ("sounds", "speech")),
    }
    sides: tuple[dict[str, Prompts], dict[str, Prompts]] = ({"text": spoken}, {"text": spoken})
    for kind, (load, tokens, known) in sources.items():
        chosen = [shard for shard in shards if shard in known and kind in kinds]
        for prompts, items in zip(sides, split(load(data, chosen))) if chosen else ():
            places = _positions(record["concept"] for record in items.records)
            prompts[kind] = Prompts(
                tokens(items, model_folder), [places.get(code, np.array([], int)) for code in codes]
            )
    training, validation = (
        PairedSet(latents, names, codes, prompts, name_share, codec=codec, autoencoder=codec.autoencoder)
        for prompts in sides
    )
    return training, validation


def text_codec(model_folder: Path) -> TextCodec:
    """The trained text autoencoder with its tokenizer."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = load_component(PreTrainedTokenizerFast, model_folder, "text_tokenizer")
    return TextCodec(load_component(TextAutoencoder, model_folder, "text_autoencoder"), tokenizer)


def _prompts(kinds: Collection[str], **makers: Callable[[], Prompts]) -> dict[str, Prompts]:
    return {kind: make() for kind, make in makers.items() if kind == "text" or kind in kinds}


def of_styles(items: Items, styles: Sequence[str], every_concept: bool = False) -> Items:
    """The pictures of these styles, all if none is named; with ``every_concept`` those of concepts they do not show, too.

    Raises:
        ConfigurationError: if no picture is in one of them.
    """
    known = sorted({str(record.get("style")) for record in items.records})
    for style in styles:
        if style not in known:
            raise ConfigurationError(f"styles: no picture is in style {style!r}; there are {', '.join(known)}")
    shown = {record["concept"] for record in items.records if record.get("style") in styles}
    kept = [
        i
        for i, record in enumerate(items.records)
        if not styles or record.get("style") in styles or (every_concept and record["concept"] not in shown)
    ]
    return items.subset(kept)


def _both(build: Callable[[Items], PairedSet], items: Items) -> tuple[PairedSet, PairedSet]:
    training, validation = split(items)
    return build(training), build(validation)


@torch.no_grad()
def _each(function: Callable[[np.ndarray], torch.Tensor], media: np.ndarray, size: int = CHUNK) -> torch.Tensor:
    """``function`` over chunks of ``media``, concatenated."""
    return torch.cat([function(media[start : start + size]) for start in range(0, len(media), size)])


def _facts(items: Items, shards: Mapping[str, float], name_share: float) -> dict[str, Any]:
    shard = [record["shard"] for record in items.records]
    each = {name: share / max(1, shard.count(name)) for name, share in shards.items()}
    weights = np.array([each[name] for name in shard])
    return {
        "weights": weights / weights.sum(),
        "names": [str(record["name"]) for record in items.records],
        "concepts": [str(record["concept"]) for record in items.records],
        "name_share": name_share,
    }


def _captions(items: Items, data: Path, model_folder: Path) -> Prompts:
    concepts = load_concepts(data)
    return _embed_captions([captions_of(record, concepts) for record in items.records], model_folder)


@torch.no_grad()
def _embed_captions(captions: Sequence[Sequence[str]], model_folder: Path) -> Prompts:
    encoder = load_component(TextPromptEncoder, model_folder, "text_prompt_encoder")
    every = [caption for choices in captions for caption in choices]
    known, embeddings = embed_captions(encoder, every, model_folder / "training" / CACHE_FILE)
    used = sorted({known[caption] for caption in every})
    place = {row: position for position, row in enumerate(used)}
    tokens = encoder.project(embeddings[used]).tokens[:, 0]
    return Prompts(tokens, [np.array([place[known[caption]] for caption in choices]) for choices in captions])


def _same_concept(tokens: torch.Tensor, items: Items) -> Prompts:
    """Every item may be prompted by itself or by any other of its concept (speech by speech, motion by the same motion)."""
    keys = [
        f"{record['concept']}/{record['shard'] if 'voice' in record else ''}"
        f"/{record['motion'] if record['shard'] in PROCEDURAL else ''}"
        for record in items.records
    ]
    groups = _positions(keys)
    return Prompts(tokens, [np.concatenate([[i], groups[key]]) for i, key in enumerate(keys)])


def _same_thing(tokens: torch.Tensor, items: Items, shown: Items, model_folder: Path) -> Prompts:
    """Every picture may be prompted by itself or by any of ``shown`` of its concept and skin tone."""

    def key(record: Mapping[str, Any]) -> str:
        return f"{record['concept']}/{record.get('tone')}"

    groups = _positions(key(record) for record in shown.records)
    rows = [np.concatenate([[i], len(items) + groups[key(record)]]) for i, record in enumerate(items.records)]
    return Prompts(torch.cat([tokens, image_tokens(shown, model_folder)]), rows)


def _positions(keys: Iterable[str]) -> dict[str, np.ndarray]:
    found: dict[str, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        found[key].append(position)
    return {key: np.array(positions) for key, positions in found.items()}
