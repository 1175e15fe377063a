"""Stickers, scenes, clips and sounds as latents on disk with their captions: what the second model learns from.

They are made chunk by chunk, and once for one set of encoders: a larger number of scenes adds chunks to those there are.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ...data.augment import audio_batch, over_white
from ...data.chunks import Chunks, Joined, packed_texts
from ...data.prompted import PromptedLatents
from ...device import quickly
from ...latents import AudioAutoencoder, ImageAutoencoder
from ...latents.transparent import is_transparent, to_channels
from ...modality import Modality
from ...prompts import AudioPromptEncoder, ImagePromptEncoder, TextPromptEncoder, VideoPromptEncoder
from ...training.components import ModelFolder
from .paired_sets import text_codec
from .scene_parts import Part, Sides, Source, parts_of

CAPTION_BYTES = 512
IN_A_FILE, AT_ONCE = 1024, 64
CLIPS_IN_A_FILE, FRAMES_AT_ONCE = 128, 32

Prompted = tuple[PromptedLatents, PromptedLatents]
"""Training and validation."""

OWN = "own"
"""Kind of prompt in which a text is prompted by the picture or the sound that it names."""


def image_latents(values: Any, folder: Path, parts: ModelFolder, settings: Any) -> Prompted:
    """(training, validation) pictures: stickers and scenes. Withheld scenes alone validate."""
    autoencoder = parts.load(ImageAutoencoder, "image_autoencoder")
    eye = _eye(parts) if Modality.IMAGE in settings.prompt_shares else None
    alpha, device = is_transparent(autoencoder), autoencoder.device

    def encode(pictures: np.ndarray, captions: list[list[str]]) -> dict[str, torch.Tensor]:
        pixel_values = (to_channels if alpha else over_white)(pictures).to(device)
        return {"latents": autoencoder.encode(pixel_values)} | ({} if eye is None else {"seen": _see(eye, pictures)})

    cache = LatentCache(parts, "image", (autoencoder, eye), encode)
    sides = parts_of(Modality.IMAGE, values, Source(folder))
    return cache.sides(sides, settings, Modality.IMAGE.value, autoencoder=autoencoder)


def clip_latents(values: Any, folder: Path, parts: ModelFolder, settings: Any) -> Prompted:
    """(training, validation) clips, frame by frame: those of the shards, and moving scenes. Withheld ones alone validate."""
    autoencoder = parts.load(ImageAutoencoder, "image_autoencoder")
    with_clips = Modality.VIDEO in settings.prompt_shares
    eye = _eye(parts) if with_clips else None
    watching = parts.load(VideoPromptEncoder, "video_prompt_encoder") if with_clips else None
    alpha, device = is_transparent(autoencoder), autoencoder.device

    def frames(clips: np.ndarray) -> torch.Tensor:
        pixel_values = (to_channels if alpha else over_white)(clips.reshape(-1, *clips.shape[2:]))
        return torch.cat([autoencoder.encode(each.to(device)) for each in pixel_values.split(FRAMES_AT_ONCE)])

    def encode(clips: np.ndarray, captions: list[list[str]]) -> dict[str, torch.Tensor]:
        found = {"latents": frames(clips).unflatten(0, clips.shape[:2]).transpose(1, 2)}
        if watching is None:
            return found
        picks = np.linspace(0, clips.shape[1] - 1, watching.config.num_frames).round().astype(int)
        shown = over_white(clips[:, picks]).flatten(0, 1).to(device)
        if shown.shape[-1] != (size := eye.config.sample_size):
            shown = F.interpolate(shown, size=(size, size), mode="bicubic", antialias=True).clamp(-1, 1)
        shown = shown.unflatten(0, (len(clips), -1)).transpose(1, 2)
        return found | {"seen": watching(**watching.frames(shown, eye)).tokens}

    cache = LatentCache(parts, "clip", (autoencoder, eye, watching), encode)
    sides = parts_of(Modality.VIDEO, values, Source(folder))
    return cache.sides(sides, settings, Modality.VIDEO.value, CLIPS_IN_A_FILE, autoencoder=autoencoder)


def text_latents(values: Any, folder: Path, parts: ModelFolder, settings: Any) -> Prompted:
    """(training, validation) plain captions of stickers, scenes and sounds, prompted by their other captions or by these."""
    codec = text_codec(parts)
    eye, ear = _eye(parts), parts.load(AudioPromptEncoder, "audio_prompt_encoder")

    def encode(media: np.ndarray, captions: list[list[str]]) -> dict[str, torch.Tensor]:
        heard = media.ndim == 2
        return {
            "latents": codec.encode([each[0] for each in captions]),
            "seen": _hear(ear, media, _tokens(eye)) if heard else _see(eye, media),
        }

    cache = LatentCache(parts, "text", (codec.autoencoder, eye, ear), encode)
    sides = parts_of(Modality.TEXT, values, Source(folder))
    return cache.sides(sides, settings, OWN, autoencoder=codec.autoencoder, codec=codec)


def audio_latents(values: Any, folder: Path, parts: ModelFolder, settings: Any) -> Prompted:
    """(training, validation) sounds, speech and what moving scenes sound like, on any beat."""
    autoencoder = parts.load(AudioAutoencoder, "audio_autoencoder")
    ear = parts.load(AudioPromptEncoder, "audio_prompt_encoder")

    def encode(recordings: np.ndarray, captions: list[list[str]]) -> dict[str, torch.Tensor]:
        waveforms = audio_batch(recordings).to(autoencoder.device)
        return {"latents": autoencoder.encode(autoencoder.mel(waveforms)), "seen": _hear(ear, recordings, 1)}

    cache = LatentCache(parts, "audio", (autoencoder, ear), encode)
    sides = parts_of(Modality.AUDIO, values, Source(folder))
    return cache.sides(sides, settings, Modality.AUDIO.value, autoencoder=autoencoder)


LATENTS = {
    Modality.TEXT: text_latents,
    Modality.IMAGE: image_latents,
    Modality.VIDEO: clip_latents,
    Modality.AUDIO: audio_latents,
}
"""Modality → (values of ``data``, folder of shards, components, settings) → its two sets."""


class LatentCache:
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

    def chunks(self, part: Part, in_a_file: int = IN_A_FILE) -> Chunks:
        """The latents of a part's items, made where they are not there yet."""
        folder = self._folder / part.name
        return Chunks(folder, part.count, lambda first, last: self._make(*part.draw(first, last)), in_a_file)

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
        sides: Sides,
        settings: Any,
        kind: str,
        in_a_file: int = IN_A_FILE,
        **shown: Any,
    ) -> Prompted:
        """The two sets."""
        training = [self.chunks(part, in_a_file) for part in sides.training]
        held = self.chunks(sides.held, in_a_file)
        common = {"name_share": settings.name_share, "detail_share": settings.detail_share, "kind": kind, **shown}
        return (
            PromptedLatents(Joined(training), self._text_encoder, sides.shares, **common),
            PromptedLatents(Joined([held]), self._text_encoder, [1.0], **common),
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
