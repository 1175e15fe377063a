"""What diffusers and alignment learn from: items with latents, and the prompts each is paired with (``prompt_sets``)."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...data.augment import audio_batch, over_white
from ...data.paired import PairedSet, Prompts, in_chunks, positions
from ...data.shards import Items, load_audio, load_concepts, load_images, load_videos
from ...errors import ConfigurationError
from ...latents import AudioAutoencoder, ImageAutoencoder, TextAutoencoder, TextCodec
from ...training.components import ModelFolder
from .captions import display_name, image_captions, kind_captions, styled_captions
from .manners import manners_of
from .prompt_sets import (
    audio_tokens,
    image_tokens,
    item_prompts,
    same_concept,
    same_thing,
    text_prompts,
    video_tokens,
)
from .splits import split


def image_set(
    data: Path,
    shards: Mapping[str, float],
    parts: ModelFolder,
    name_share: float,
    kinds: Collection[str],
    styles: Sequence[str] = (),
    every_concept: bool = False,
) -> tuple[PairedSet, PairedSet]:
    """(training, validation) pictures of these styles (all, if none is named), prompted by text or a picture.

    With ``every_concept`` the training set also has the concepts that these styles do not show, in other styles.
    Prompts that are pictures are of every style. Their targets are in these styles only.

    Here as in the other sets, ``kinds`` of prompts other than text are embedded only if they are named.
    """
    autoencoder = parts.load(ImageAutoencoder, "image_autoencoder")

    def build(items: Items, shown: Items) -> PairedSet:
        return PairedSet(
            latents=in_chunks(
                lambda chunk: autoencoder.encode(over_white(chunk).to(autoencoder.device)), items.media
            ).half(),
            prompts=item_prompts(
                kinds,
                items,
                data,
                parts,
                image=lambda: same_thing(image_tokens(items, parts), items, shown, parts),
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
    parts: ModelFolder,
    name_share: float,
    kinds: Collection[str],
    by_manner: bool = False,
) -> PairedSet:
    """Training pictures of every style, prompted only by captions that name the style.

    With ``by_manner`` their attributes name it, so plain names and pictures of the same thing may be prompts, too.
    """
    autoencoder = parts.load(ImageAutoencoder, "image_autoencoder")
    items, _ = split(load_images(data, tuple(shards)))
    captions = [[display_name(record)] * by_manner + styled_captions(record) for record in items.records]
    prompts = text_prompts((), captions, [], parts)
    none = Prompts(prompts["text"].tokens[:0], [np.array([], int)] * len(items))
    if by_manner and "image" in kinds:
        prompts["image"] = same_thing(image_tokens(items, parts), items, items, parts)
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
    data: Path, shards: Mapping[str, float], parts: ModelFolder, name_share: float, kinds: Collection[str]
) -> tuple[PairedSet, PairedSet]:
    """(training, validation) clips of the shards, each a ``clip_set``."""
    autoencoder = parts.load(ImageAutoencoder, "image_autoencoder")
    return _both(
        lambda items: clip_set(items, data, shards, parts, name_share, kinds, autoencoder),
        load_videos(data, tuple(shards)),
    )


def clip_set(
    items: Items,
    data: Path,
    shards: Mapping[str, float],
    parts: ModelFolder,
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
            parts,
            image=lambda: Prompts(image_tokens(first_frames, parts), [np.array([i]) for i in range(len(items))]),
            video=lambda: same_concept(video_tokens(items, parts), items, items),
        ),
        autoencoder=autoencoder,
        **_facts(items, shards, name_share),
    )


def audio_set(
    data: Path,
    shards: Mapping[str, float],
    parts: ModelFolder,
    name_share: float,
    kinds: Collection[str],
    voices: Sequence[str] = (),
) -> tuple[PairedSet, PairedSet]:
    """(training, validation) recordings of the shards, each a ``recording_set``; speech of these voices, all if none is named.

    Prompts that are recordings are of every voice.
    """
    autoencoder = parts.load(AudioAutoencoder, "audio_autoencoder")
    everything = load_audio(data, tuple(shards))
    training, validation = (
        recording_set(items, data, shards, parts, name_share, kinds, autoencoder, heard)
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
    parts: ModelFolder,
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
            parts,
            audio=lambda: same_concept(audio_tokens(heard, parts), items, heard),
        ),
        manners=manners_of(items.records) if any("motion" in record for record in items.records) else None,
        autoencoder=autoencoder,
        **_facts(items, shards, name_share),
    )


def text_set(
    data: Path, shards: Mapping[str, float], parts: ModelFolder, name_share: float, kinds: Collection[str]
) -> tuple[PairedSet, PairedSet]:
    """The concepts' names, prompted by their captions and by every picture, clip and recording of them.

    Training and validation hold the same names; their pictures, clips and recordings differ.
    """
    codec = text_codec(parts)
    concepts = load_concepts(data)
    codes = list(concepts)
    names = [concepts[code]["name"] for code in codes]
    latents = torch.cat([codec.encode(names[i : i + 256]) for i in range(0, len(names), 256)]).half().cpu()
    texts = [image_captions({**concepts[c], "style": "noto"}, concepts[c]) for c in codes]
    things = [kind_captions(concept) for concept in concepts.values()]
    written = text_prompts(kinds, texts, things, parts)
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
            prompts[kind] = Prompts(tokens(items, parts), [places.get(code, np.array([], int)) for code in codes])
    training, validation = (
        PairedSet(latents, names, codes, prompts, name_share, codec=codec, autoencoder=codec.autoencoder)
        for prompts in sides
    )
    return training, validation


def text_codec(parts: ModelFolder) -> TextCodec:
    """The trained text autoencoder with its tokenizer."""
    from transformers import PreTrainedTokenizerFast

    tokenizer: Any = parts.load(PreTrainedTokenizerFast, "text_tokenizer")
    return TextCodec(parts.load(TextAutoencoder, "text_autoencoder"), tokenizer)


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
