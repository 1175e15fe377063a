"""What diffusers and alignment learn from: items with latents, and the prompts each is paired with (``prompt_sets``)."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...collections.stickers.captions import display_name, image_captions, kind_captions, styled_captions
from ...collections.stickers.manners import manners_of
from ...collections.stickers.splits import split
from ...data.augment import audio_batch, over_white
from ...data.shards import Items, load_audio, load_concepts, load_images, load_videos
from ...errors import ConfigurationError
from ...latents import AudioAutoencoder, ImageAutoencoder, TextAutoencoder, TextCodec
from ..components import load_component
from .prompt_sets import (
    OPEN,
    Prompts,
    audio_tokens,
    draw_kinds,
    image_tokens,
    in_chunks,
    item_prompts,
    positions,
    same_concept,
    same_thing,
    text_prompts,
    video_tokens,
)


@dataclass
class PairedSet:
    """Items of one modality.

    Attributes:
        latents: half precision [N, ...], normalised.
        names: the N plain names.
        concepts: the N concept codes, by which items of two sets are paired.
        prompts: {kind: prompts}. The first row of kind ``text`` is the plain caption; ``thing`` says what kind of thing it
            is ("an animal"), which leaves open which.
        weights: chance of each item to be drawn (they sum to 1), or None for equal ones.
        manners: [N, M], the styles and motions that items are in (``stickers.manners``); None: nothing is told of them.
        open_weights: the same where the prompt leaves open which (no prompt, or the kind of thing); None: as ``weights``.
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
    open_weights: np.ndarray | None = None
    manners: torch.Tensor | None = None
    autoencoder: Any = None
    codec: Any = None
    by_concept: dict[str, np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        self.by_concept = positions(self.concepts)

    def __len__(self) -> int:
        return len(self.latents)

    def draw(self, rng: np.random.Generator, count: int, openly: bool = False) -> np.ndarray:
        """``count`` item positions; ``openly`` draws those for prompts that leave open which."""
        weights = self.open_weights if openly and self.open_weights is not None else self.weights
        return rng.choice(len(self), count, p=weights)

    def favour(self, concepts: Collection[str], factor: float) -> None:
        """Where the prompt leaves open which, draw items of these concepts ``factor`` times as often as they were."""
        likelier = np.where([code in concepts for code in self.concepts], factor, 1.0)
        before = self.weights if self.open_weights is None else self.open_weights
        weights = likelier * (1.0 if before is None else before)
        self.open_weights = weights / weights.sum()

    def draw_batch(
        self, rng: np.random.Generator, count: int, shares: Mapping[str, float]
    ) -> tuple[np.ndarray, dict[str, torch.Tensor]]:
        """(item positions [B], {condition [B, D], manner [B, M] if this set tells it}): each item with one prompt.

        The prompt's kind is drawn by ``shares``; the rest, up to 1, has no prompt and no manner: zeros.
        """
        items, condition = self.draw_prompted(rng, count, shares)
        prompts = {"condition": condition}
        if self.manners is not None:
            prompts["manner"] = self.manners[items] * (condition.norm(dim=1, keepdim=True) > 0)
        return items, prompts

    def draw_prompted(
        self, rng: np.random.Generator, count: int, shares: Mapping[str, float]
    ) -> tuple[np.ndarray, torch.Tensor]:
        """(item positions [B], condition embeddings [B, D]): each item with one prompt of a kind drawn by ``shares``.

        The rest, up to 1, has no prompt: zeros.
        """
        kinds = draw_kinds(rng, count, shares)
        openly = np.array([kind in OPEN for kind in kinds])
        items = np.where(openly, self.draw(rng, count, openly=True), self.draw(rng, count))
        return items, self.conditions(items, kinds, rng)

    def conditions(self, items: np.ndarray, kinds: Sequence[str | None], rng: np.random.Generator) -> torch.Tensor:
        """Condition embeddings [B, D]: a prompt of its kind for each item; zeros where the kind is None.

        An item without prompts of its kind is prompted by text.
        """
        tokens = torch.zeros(len(items), self.prompts["text"].tokens.shape[1])
        for position, (item, kind) in enumerate(zip(items, kinds, strict=True)):
            if kind is not None:
                tokens[position] = self._draw_one(kind, item, rng)
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
            latents=in_chunks(
                lambda chunk: autoencoder.encode(over_white(chunk).to(autoencoder.device)), items.media
            ).half(),
            prompts=item_prompts(
                kinds,
                items,
                data,
                model_folder,
                image=lambda: same_thing(image_tokens(items, model_folder), items, shown, model_folder),
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


def styled_set(
    data: Path,
    shards: Mapping[str, float],
    model_folder: Path,
    name_share: float,
    kinds: Collection[str],
    by_manner: bool = False,
) -> PairedSet:
    """Training pictures of every style, prompted only by captions that say which style it is.

    ``by_manner``: their manner says it, too, so the plain name may prompt them as well, and a picture of the same thing.
    """
    autoencoder = load_component(ImageAutoencoder, model_folder, "image_autoencoder")
    items, _ = split(load_images(data, tuple(shards)))
    captions = [[display_name(record)] * by_manner + styled_captions(record) for record in items.records]
    prompts = text_prompts((), captions, [], model_folder)
    none = Prompts(prompts["text"].tokens[:0], [np.array([], int)] * len(items))
    if by_manner and "image" in kinds:
        prompts["image"] = same_thing(image_tokens(items, model_folder), items, items, model_folder)
    return PairedSet(
        latents=in_chunks(
            lambda chunk: autoencoder.encode(over_white(chunk).to(autoencoder.device)), items.media
        ).half(),
        prompts=dict.fromkeys(kinds, none) | prompts,
        autoencoder=autoencoder,
        manners=manners_of(items.records) if by_manner else None,
        **_facts(items, shards, name_share),
    )


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
        frames = autoencoder.encode(over_white(chunk).flatten(0, 1).to(autoencoder.device))
        return frames.unflatten(0, chunk.shape[:2]).transpose(1, 2)

    first_frames = Items(items.media[:, 0], items.records)
    return PairedSet(
        latents=in_chunks(latents, items.media, size=8).half(),
        prompts=item_prompts(
            kinds,
            items,
            data,
            model_folder,
            image=lambda: Prompts(image_tokens(first_frames, model_folder), [np.array([i]) for i in range(len(items))]),
            video=lambda: same_concept(video_tokens(items, model_folder), items, items),
        ),
        autoencoder=autoencoder,
        **_facts(items, shards, name_share),
    )


def audio_set(
    data: Path,
    shards: Mapping[str, float],
    model_folder: Path,
    name_share: float,
    kinds: Collection[str],
    voices: Sequence[str] = (),
) -> tuple[PairedSet, PairedSet]:
    """(training, validation) recordings of the shards, each a ``recording_set``; speech of these voices, all if none is named.

    Prompts that are recordings are of every voice.
    """
    autoencoder = load_component(AudioAutoencoder, model_folder, "audio_autoencoder")
    everything = load_audio(data, tuple(shards))
    training, validation = (
        recording_set(items, data, shards, model_folder, name_share, kinds, autoencoder, heard)
        for items, heard in zip(split(of_voices(everything, voices)), split(everything))
    )
    return training, validation


def of_voices(items: Items, voices: Sequence[str]) -> Items:
    """All sounds, and the speech of these voices, of all if none is named.

    Raises:
        ConfigurationError: if nothing is said in one of them.
    """
    known = sorted({str(record["voice"]) for record in items.records if "voice" in record})
    for voice in voices:
        if voice not in known:
            raise ConfigurationError(f"voices: nothing is said by {voice!r}; there are {', '.join(known)}")
    return items.subset(
        [i for i, each in enumerate(items.records) if not voices or each.get("voice", voices[0]) in voices]
    )


def recording_set(
    items: Items,
    data: Path,
    shards: Mapping[str, float],
    model_folder: Path,
    name_share: float,
    kinds: Collection[str],
    autoencoder: AudioAutoencoder,
    heard: Items | None = None,
) -> PairedSet:
    """Recordings, prompted by text or by a recording of the same thing: one of ``heard``, or of themselves."""
    heard = items if heard is None else heard

    def latents(chunk: np.ndarray) -> torch.Tensor:
        return autoencoder.encode(autoencoder.mel(audio_batch(chunk).to(autoencoder.device)))

    return PairedSet(
        latents=in_chunks(latents, items.media).half(),
        prompts=item_prompts(
            kinds,
            items,
            data,
            model_folder,
            audio=lambda: same_concept(audio_tokens(heard, model_folder), items, heard),
        ),
        manners=manners_of(items.records) if any("motion" in record for record in items.records) else None,
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
    latents = torch.cat([codec.encode(names[i : i + 256]) for i in range(0, len(names), 256)]).half().cpu()
    texts = [image_captions({**concepts[c], "style": "noto"}, concepts[c]) for c in codes]
    things = [kind_captions(concept) for concept in concepts.values()]
    written = text_prompts(kinds, texts, things, model_folder)
    sources = {
        "image": (load_images, image_tokens, ("images", "images-skin-tones")),
        "video": (load_videos, video_tokens, ("videos", "videos-skin-tones")),
        "audio": (load_audio, audio_tokens, ("sounds", "speech")),
    }
    sides: tuple[dict[str, Prompts], dict[str, Prompts]] = ({**written}, {**written})
    for kind, (load, tokens, known) in sources.items():
        chosen = [shard for shard in shards if shard in known and kind in kinds]
        for prompts, items in zip(sides, split(load(data, chosen))) if chosen else ():
            places = positions(record["concept"] for record in items.records)
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
