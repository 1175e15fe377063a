"""Stickers, scenes and sounds as latents on disk with their captions: what the denoisers of the second model learn from.

They are made chunk by chunk, and once for one set of encoders: a larger number of scenes adds chunks to those there are.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...data.augment import audio_batch, over_white
from ...data.chunks import Chunks, Joined, packed_texts
from ...data.prompted import PromptedLatents
from ...data.shards import Items, load_audio, load_concepts, load_images
from ...device import quickly
from ...latents import AudioAutoencoder, ImageAutoencoder
from ...latents.transparent import is_transparent, to_channels
from ...modality import Modality
from ...prompts import AudioPromptEncoder, ImagePromptEncoder, TextPromptEncoder
from ...training.components import ModelFolder
from .captions import captions_of
from .made import drawable_scene, moving_scene_clip, moving_scene_of, scene_picture, scene_wordings
from .moving_scenes import Sounds
from .paired_sets import text_codec
from .splits import split
from .things import Drawings

CAPTION_BYTES = 512
IN_A_FILE, AT_ONCE = 1024, 64
MORE_WORDINGS = 4

Batch = tuple[np.ndarray, list[list[str]]]
"""Media of some items, and the captions of each, the plainest first."""
Draw = Callable[[int, int], Batch]
Sides = tuple[PromptedLatents, PromptedLatents]

IMAGES, SOUNDS, SPEECH = "images", "sounds", "speech"
OWN = "own"
"""Kind of prompt in which a text is prompted by the picture or the sound that it names."""


def image_latents(values: Any, folder: Path, parts: ModelFolder, settings: Any) -> Sides:
    """(training, validation) pictures: stickers and scenes. Withheld scenes alone validate."""
    autoencoder = parts.load(ImageAutoencoder, "image_autoencoder")
    eye = _eye(parts) if Modality.IMAGE in settings.prompt_shares else None
    alpha, device = is_transparent(autoencoder), autoencoder.device

    def encode(pictures: np.ndarray, captions: list[list[str]]) -> dict[str, torch.Tensor]:
        pixel_values = (to_channels if alpha else over_white)(pictures).to(device)
        return {"latents": autoencoder.encode(pixel_values)} | ({} if eye is None else {"seen": _see(eye, pictures)})

    cache = _Cache(parts, "image", (autoencoder, eye), encode)
    source = _Source(folder)
    training = [
        cache.chunks(IMAGES, source.count, source.stickers),
        cache.chunks("scenes", values.scenes, source.scenes(withheld=False)),
    ]
    held = [cache.chunks("withheld-scenes", values.held_scenes, source.scenes(withheld=True))]
    shares = [1 - values.scene_share, values.scene_share]
    return cache.sides(training, shares, held, settings, Modality.IMAGE.value, autoencoder=autoencoder)


def text_latents(values: Any, folder: Path, parts: ModelFolder, settings: Any) -> Sides:
    """(training, validation) plain captions of stickers, scenes and sounds, prompted by their other captions or by these."""
    codec = text_codec(parts)
    eye, ear = _eye(parts), parts.load(AudioPromptEncoder, "audio_prompt_encoder")

    def encode(media: np.ndarray, captions: list[list[str]]) -> dict[str, torch.Tensor]:
        heard = media.ndim == 2
        return {
            "latents": codec.encode([each[0] for each in captions]),
            "seen": _hear(ear, media, _tokens(eye)) if heard else _see(eye, media),
        }

    cache = _Cache(parts, "text", (codec.autoencoder, eye, ear), encode)
    source = _Source(folder)
    counts = {IMAGES: source.count, **{shard: len(source.recordings(shard)) for shard in (SOUNDS, SPEECH)}}
    draws: dict[str, Draw] = {IMAGES: source.stickers, SOUNDS: source.heard(SOUNDS), SPEECH: source.heard(SPEECH)}
    training = [cache.chunks(shard, counts[shard], draws[shard]) for shard in values.shards]
    training.append(cache.chunks("scenes", values.scenes, source.scenes(withheld=False)))
    held = [cache.chunks("withheld-scenes", values.held_scenes, source.scenes(withheld=True))]
    rest = (1 - values.scene_share) / sum(values.shards.values())
    shares = [*(rest * share for share in values.shards.values()), values.scene_share]
    return cache.sides(training, shares, held, settings, OWN, autoencoder=codec.autoencoder, codec=codec)


def audio_latents(values: Any, folder: Path, parts: ModelFolder, settings: Any) -> Sides:
    """(training, validation) sounds, speech and what moving scenes sound like, on any beat."""
    autoencoder = parts.load(AudioAutoencoder, "audio_autoencoder")
    ear = parts.load(AudioPromptEncoder, "audio_prompt_encoder")

    def encode(recordings: np.ndarray, captions: list[list[str]]) -> dict[str, torch.Tensor]:
        waveforms = audio_batch(recordings).to(autoencoder.device)
        return {"latents": autoencoder.encode(autoencoder.mel(waveforms)), "seen": _hear(ear, recordings, 1)}

    cache = _Cache(parts, "audio", (autoencoder, ear), encode)
    source = _Source(folder)
    training = [cache.chunks(shard, len(source.recordings(shard)), source.heard(shard)) for shard in values.shards]
    training.append(cache.chunks("moving-scenes", values.scenes, source.soundtracks(withheld=False)))
    held = [cache.chunks("withheld-moving-scenes", values.held_scenes, source.soundtracks(withheld=True))]
    rest = (1 - values.scene_share) / sum(values.shards.values())
    shares = [*(rest * share for share in values.shards.values()), values.scene_share]
    return cache.sides(training, shares, held, settings, Modality.AUDIO.value, autoencoder=autoencoder)


class _Source:
    """Media and captions by their numbers; what they are made from is read when the first is asked for."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._recordings: dict[str, Items] = {}

    @cached_property
    def _items(self) -> Items:
        return split(load_images(self._folder, (IMAGES,)))[0]

    @cached_property
    def _drawings(self) -> Drawings:
        return Drawings(self._items)

    @cached_property
    def _concepts(self) -> dict[str, Any]:
        return load_concepts(self._folder)

    @property
    def count(self) -> int:
        """How many stickers there are."""
        return len(self._items)

    def recordings(self, shard: str) -> Items:
        """The recordings of a shard that a run may learn from."""
        if shard not in self._recordings:
            self._recordings[shard] = split(load_audio(self._folder, (shard,)))[0]
        return self._recordings[shard]

    def stickers(self, first: int, last: int) -> Batch:
        """Stickers as they are."""
        records = self._items.records[first:last]
        return self._items.media[first:last], [captions_of(record, self._concepts) for record in records]

    def heard(self, shard: str) -> Draw:
        """Recordings of a shard as they are."""

        def draw(first: int, last: int) -> Batch:
            items = self.recordings(shard)
            records = items.records[first:last]
            # What is said is the name itself; "the word …" are words for the listener.
            captions = [[str(record["name"]), *captions_of(record, self._concepts)] for record in records]
            return items.media[first:last], captions

        return draw

    def scenes(self, withheld: bool) -> Draw:
        """Scenes by their numbers, each always the same."""

        def draw(first: int, last: int) -> Batch:
            pictures, captions = [], []
            for number in range(first, last):
                scene, rng = drawable_scene(self._drawings, (number, withheld), withheld)
                captions.append(scene_wordings(scene, rng, count=MORE_WORDINGS))
                pictures.append(scene_picture(scene, self._drawings, (number, withheld)))
            return np.stack(pictures), captions

        return draw

    def soundtracks(self, withheld: bool) -> Draw:
        """What moving scenes sound like, by their numbers."""

        def draw(first: int, last: int) -> Batch:
            sounds = Sounds(self.recordings(SOUNDS))
            tracks, captions = [], []
            for number in range(first, last):
                moving, wordings = moving_scene_of(self._drawings, sounds, (number, withheld), withheld, audible=1.0)
                captions.append(wordings)
                tracks.append(moving_scene_clip(moving, self._drawings, sounds, (number, withheld)).sound)
            return np.stack(tracks), captions

        return draw


class _Cache:
    """Latents of one modality as some networks make them.

    Args:
        parts: where they are kept.
        name: of the modality.
        networks: whose weights tell one set of latents from another.
        encode: (media, captions) → tensors.
    """

    def __init__(
        self,
        parts: ModelFolder,
        name: str,
        networks: Sequence[nn.Module | None],
        encode: Callable[[np.ndarray, list[list[str]]], dict[str, torch.Tensor]],
    ):
        digest = hashlib.sha256()
        for network in networks:
            for key, value in network.state_dict().items() if network is not None else ():
                digest.update(key.encode() + value.cpu().half().numpy().tobytes())
        self._folder, self._encode = parts.cache(f"{name}-latents-{digest.hexdigest()[:12]}"), encode
        self._device = next(networks[0].parameters()).device
        self._text_encoder = parts.load(TextPromptEncoder, "text_prompt_encoder").to("cpu")

    def chunks(self, name: str, count: int, draw: Draw) -> Chunks:
        """``count`` items, made where they are not there yet."""
        return Chunks(self._folder / name, count, lambda first, last: self._make(*draw(first, last)), IN_A_FILE)

    @torch.no_grad()
    def _make(self, media: np.ndarray, captions: list[list[str]]) -> dict[str, torch.Tensor]:
        parts = []
        with quickly(self._device):
            for start in range(0, len(media), AT_ONCE):
                part = slice(start, start + AT_ONCE)
                parts.append(
                    {key: value.half().cpu() for key, value in self._encode(media[part], captions[part]).items()}
                )
        found = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
        return found | {"captions": packed_texts(captions, CAPTION_BYTES)}

    def sides(
        self,
        training: Sequence[Chunks],
        shares: Sequence[float],
        held: Sequence[Chunks],
        settings: Any,
        kind: str,
        **shown: Any,
    ) -> Sides:
        """The two sets."""
        common = {"name_share": settings.name_share, "detail_share": settings.detail_share, "kind": kind, **shown}
        return (
            PromptedLatents(Joined(training), self._text_encoder, shares, **common),
            PromptedLatents(Joined(held), self._text_encoder, [1.0] * len(held), **common),
        )


def _eye(parts: ModelFolder) -> ImagePromptEncoder:
    return parts.load(ImagePromptEncoder, "image_prompt_encoder")


def _tokens(eye: ImagePromptEncoder) -> int:
    """How many tokens a picture has as a prompt."""
    return 1 if eye.sight is None else 1 + len(eye.tower.position)


def _see(eye: ImagePromptEncoder, pictures: np.ndarray) -> torch.Tensor:
    return eye.see(over_white(pictures).to(eye.device)).tokens


def _hear(ear: AudioPromptEncoder, recordings: np.ndarray, tokens: int) -> torch.Tensor:
    """The embedding, and zeros up to so many tokens: beside pictures all prompts are of one shape."""
    heard = ear(waveform=audio_batch(recordings).to(ear.device)).tokens
    return torch.nn.functional.pad(heard, (0, 0, 0, tokens - heard.shape[1]))
