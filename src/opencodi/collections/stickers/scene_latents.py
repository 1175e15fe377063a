"""Stickers and scenes as latents on disk with their captions: what the image denoiser of the second model learns from.

They are made chunk by chunk and only once for one autoencoder: a larger number of scenes adds chunks to those that are there.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...data.augment import over_white
from ...data.chunks import Chunks, Joined, packed_texts
from ...data.prompted import PromptedLatents
from ...data.shards import Items, load_concepts, load_images
from ...device import quickly
from ...latents import ImageAutoencoder
from ...latents.transparent import to_channels
from ...modality import Modality
from ...prompts import ImagePromptEncoder, TextPromptEncoder
from ...training.components import ModelFolder
from .captions import captions_of
from .made import drawable_scene, scene_picture, scene_wordings
from .splits import split
from .things import Drawings

CAPTION_BYTES = 512
SCENES_IN_A_FILE = 1024
AT_ONCE = 64

Batch = tuple[np.ndarray, list[list[str]]]
"""Pictures, straight uint8 RGBA [N, H, W, 4], and the captions of each."""


def scene_latents(
    values: Any, folder: Path, parts: ModelFolder, settings: Any
) -> tuple[PromptedLatents, PromptedLatents]:
    """(training, validation) of stickers and scenes; ``values`` is a ``PictureSetData``. Withheld scenes alone validate."""
    encoder = _Encoder(parts, with_seen=Modality.IMAGE in settings.prompt_shares)
    source = _Source(folder, tuple(values.shards))
    text_encoder = parts.load(TextPromptEncoder, "text_prompt_encoder").to("cpu")

    def chunks(name: str, count: int, draw: Callable[[int, int], Batch]) -> Chunks:
        place = parts.cache(f"latents-{encoder.key}") / name
        return Chunks(place, count, lambda first, last: encoder(draw, first, last), SCENES_IN_A_FILE)

    def prompted(of: Sequence[Chunks], shares: Sequence[float]) -> PromptedLatents:
        joined = Joined(of)
        rest = settings.name_share, settings.detail_share, encoder.autoencoder
        return PromptedLatents(joined, text_encoder, shares, Modality.IMAGE.value, *rest)

    stickers = chunks("-".join(values.shards), source.count, source.stickers)
    training = chunks("scenes", values.scenes, lambda first, last: source.scenes(first, last, withheld=False))
    held = chunks("withheld-scenes", values.held_scenes, lambda first, last: source.scenes(first, last, withheld=True))
    shares = [1 - values.scene_share, values.scene_share]
    return prompted([stickers, training], shares), prompted([held], [1.0])


class _Source:
    """Pictures and captions; what they are made from is read when the first is asked for."""

    def __init__(self, folder: Path, shards: Sequence[str]):
        self._folder, self._shards = folder, shards

    @cached_property
    def _items(self) -> Items:
        return split(load_images(self._folder, self._shards))[0]

    @cached_property
    def _drawings(self) -> Drawings:
        return Drawings(self._items)

    @property
    def count(self) -> int:
        """How many stickers there are."""
        return len(self._items)

    def stickers(self, first: int, last: int) -> Batch:
        """Stickers as they are."""
        concepts = load_concepts(self._folder)
        records = self._items.records[first:last]
        return self._items.media[first:last], [captions_of(record, concepts) for record in records]

    def scenes(self, first: int, last: int, withheld: bool) -> Batch:
        """Scenes by their numbers, each always the same."""
        pictures, captions = [], []
        for number in range(first, last):
            scene, rng = drawable_scene(self._drawings, (number, withheld), withheld)
            captions.append(scene_wordings(scene, rng, count=4))
            pictures.append(scene_picture(scene, self._drawings, (number, withheld)))
        return np.stack(pictures), captions


class _Encoder:
    """Pictures → latents and, if they may be prompts, what the image prompt encoder sees in them."""

    def __init__(self, parts: ModelFolder, with_seen: bool):
        self.autoencoder = parts.load(ImageAutoencoder, "image_autoencoder")
        self._prompts = parts.load(ImagePromptEncoder, "image_prompt_encoder") if with_seen else None
        digest = hashlib.sha256()
        for network in (self.autoencoder, self._prompts):
            for name, value in network.state_dict().items() if network is not None else ():
                digest.update(name.encode() + value.cpu().half().numpy().tobytes())
        self.key = digest.hexdigest()[:12]

    @torch.no_grad()
    def __call__(self, draw: Callable[[int, int], Batch], first: int, last: int) -> dict[str, torch.Tensor]:
        pictures, captions = draw(first, last)
        device, latents, seen = self.autoencoder.device, [], []
        channels = self.autoencoder.config.image_channels
        for start in range(0, len(pictures), AT_ONCE):
            part = pictures[start : start + AT_ONCE]
            pixel_values = to_channels(part) if channels == 4 else over_white(part)
            with quickly(device):
                latents.append(self.autoencoder.encode(pixel_values.to(device)).half().cpu())
                if self._prompts is not None:
                    seen.append(self._prompts.see(over_white(part).to(device)).tokens.half().cpu())
        found = {"latents": torch.cat(latents), "captions": packed_texts(captions, CAPTION_BYTES)}
        return found | ({"seen": torch.cat(seen)} if seen else {})
