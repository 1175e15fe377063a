"""What differs between the pairs text–image, text–audio and text–video: how items are loaded, varied and encoded."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from ...data.augment import audio_batch, over_white, random_affine
from ...data.shards import Items, load_audio, load_images, load_videos
from ...data.soften import blur_each, soften
from ...errors import ConfigurationError
from ...modality import INFO, Modality
from ...prompts import AudioPromptEncoder, Condition, ImagePromptEncoder, VideoPromptEncoder
from ..components import load_component


class Pair(Protocol):
    """One modality beside text.

    Attributes:
        encoder: the prompt encoder that learns.
    """

    encoder: Any

    def __init__(self, network: Mapping[str, Any], model_folder: Path): ...

    def load(self, data: Path, shards: tuple[str, ...]) -> Items:
        """Read the shards."""

    def prepare(self, items: Items) -> Any:
        """What batches are made of; called once, before the first batch."""

    def batch(self, prepared: Any, chosen: np.ndarray, rng: np.random.Generator | None) -> dict[str, torch.Tensor]:
        """Inputs of the encoder for these items, varied at random if ``rng`` is given."""

    def condition(self, inputs: dict[str, torch.Tensor], generator: torch.Generator | None) -> Condition:
        """Encode them; with ``generator``, as in training."""

    def picture(self, prepared: Any, chosen: np.ndarray) -> torch.Tensor | None:
        """The items as pictures [B, 3, H, W] in [-1, 1], if they can be seen."""


class ImagePair:
    """Stickers and photographs over white, zoomed, shifted, turned, recoloured and softened.

    What is shown, not its exact colours, is what other styles have in common.
    """

    varied: ClassVar = {"scale": 0.15, "shift": 0.1, "degrees": 12.0}
    softened: ClassVar = {"share": 0.5, "blur": 1.0, "quantisation": 0.06, "noise": 0.1, "colour": 0.3}

    def __init__(self, network: Mapping[str, Any], model_folder: Path):
        self.encoder = build(ImagePromptEncoder, network)

    def load(self, data: Path, shards: tuple[str, ...]) -> Items:
        return load_images(data, shards)

    def prepare(self, items: Items) -> np.ndarray:
        return items.media

    def batch(self, prepared: np.ndarray, chosen: np.ndarray, rng: np.random.Generator | None):
        pixel_values = over_white(prepared[chosen])
        if rng is not None:
            pixel_values = soften(random_affine(pixel_values, rng, **self.varied), rng, **self.softened)
        return {"pixel_values": pixel_values}

    def condition(self, inputs: dict[str, torch.Tensor], generator: torch.Generator | None) -> Condition:
        return self.encoder(**inputs)

    def picture(self, prepared: np.ndarray, chosen: np.ndarray) -> torch.Tensor:
        return over_white(prepared[chosen])


class AudioPair:
    """Sounds and words at other speeds and levels, with bands of the spectrogram hidden (Park et al. 2019, SpecAugment)."""

    hidden_frames, hidden_bins = 16, 10
    varied: ClassVar = {"tilt": 3.0, "noise": 0.8, "blur": 1.0}

    def __init__(self, network: Mapping[str, Any], model_folder: Path):
        self.encoder = build(AudioPromptEncoder, network)

    def load(self, data: Path, shards: tuple[str, ...]) -> Items:
        """Also records the mean and deviation of the log-mel values that the first layer will see."""
        items = load_audio(data, shards)
        mel = self.encoder.mel(audio_batch(items.media[:: max(1, len(items) // 512)]))
        self.encoder.register_to_config(mel_mean=round(float(mel.mean()), 4), mel_std=round(float(mel.std()), 4))
        return items

    def prepare(self, items: Items) -> np.ndarray:
        return items.media

    def batch(self, prepared: np.ndarray, chosen: np.ndarray, rng: np.random.Generator | None):
        return {"waveform": audio_batch(prepared[chosen], rng)}

    def condition(self, inputs: dict[str, torch.Tensor], generator: torch.Generator | None) -> Condition:
        mel = self.encoder.mel(inputs["waveform"])
        if generator is not None:
            mel = vary_mel(mel, **self.varied, generator=generator)
            mel = hide_bands(mel, self.hidden_frames, self.hidden_bins, self.encoder.config.mel_mean, generator)
        return self.encoder(mel=mel)

    def picture(self, prepared: np.ndarray, chosen: np.ndarray) -> None:
        return None


class VideoPair:
    """Clips, which are loops and may start anywhere. The image network is frozen, so it sees each frame only once."""

    def __init__(self, network: Mapping[str, Any], model_folder: Path):
        image = load_component(ImagePromptEncoder, model_folder, INFO[Modality.IMAGE].prompt_encoder)
        self.encoder = build(VideoPromptEncoder.from_image_prompt_encoder, network, image)
        self.encoder.image.requires_grad_(False)

    def load(self, data: Path, shards: tuple[str, ...]) -> Items:
        return load_videos(data, shards, self.encoder.config.num_frames)

    @torch.no_grad()
    def prepare(self, items: Items) -> tuple[torch.Tensor, np.ndarray]:
        self.encoder.image.eval()
        parts = [
            self.encoder.frame_features(over_white(items.media[start : start + 32]).transpose(1, 2))
            for start in range(0, len(items), 32)
        ]
        return torch.cat(parts), items.media[:, items.media.shape[1] // 2]

    def batch(self, prepared: tuple[torch.Tensor, np.ndarray], chosen: np.ndarray, rng: np.random.Generator | None):
        features = prepared[0][chosen]
        if rng is not None:
            order = (
                np.arange(features.shape[1]) + rng.integers(0, features.shape[1], (len(chosen), 1))
            ) % features.shape[1]
            features = features[torch.arange(len(chosen))[:, None], torch.from_numpy(order)]
        return {"features": features}

    def condition(self, inputs: dict[str, torch.Tensor], generator: torch.Generator | None) -> Condition:
        return self.encoder(**inputs)

    def picture(self, prepared: tuple[torch.Tensor, np.ndarray], chosen: np.ndarray) -> torch.Tensor:
        return over_white(prepared[1][chosen])


PAIRS: dict[Modality, type] = {
    Modality.IMAGE: ImagePair,
    Modality.AUDIO: AudioPair,
    Modality.VIDEO: VideoPair,
}


def group_of(record: Mapping[str, Any], position: int) -> Hashable:
    """What an item shows, for telling right from wrong answers: concept, skin tone, and sound or spoken word.

    A photograph without a concept is a group of its own.
    """
    concept = record.get("concept") or f"item {record['shard']} {position}"
    return concept, record.get("tone"), record["shard"] == "speech"


def vary_mel(mel: torch.Tensor, tilt: float, noise: float, blur: float, generator: torch.Generator) -> torch.Tensor:
    """Other microphones and rooms: each log-mel of [B, 1, T, M] is tilted, blurred and made noisy by its own amounts.

    It rises or falls by up to ``tilt`` from the lowest to the highest bin; ``noise`` and ``blur`` (frames and bins) are
    largest standard deviations.
    """

    def strength(least: float, most: float) -> torch.Tensor:
        return torch.empty(len(mel), device=mel.device).uniform_(least, most, generator=generator)

    slope = torch.linspace(-0.5, 0.5, mel.shape[-1], device=mel.device)
    mel = blur_each(mel + strength(-tilt, tilt).view(-1, 1, 1, 1) * slope, strength(0, blur))
    grain = torch.randn(mel.shape, generator=generator, device=mel.device)
    return mel + grain * strength(0, noise).view(-1, 1, 1, 1)


def hide_bands(mel: torch.Tensor, frames: int, bins: int, value: float, generator: torch.Generator) -> torch.Tensor:
    """Set up to ``frames`` frames in a row and up to ``bins`` bins in a row of each mel [B, 1, T, M] to ``value``."""
    hidden = torch.zeros_like(mel, dtype=torch.bool)
    for axis, most in ((2, frames), (3, bins)):
        size = mel.shape[axis]
        shape = (len(mel), 1, 1, 1)
        length = (torch.rand(shape, generator=generator, device=mel.device) * (most + 1)).floor()
        start = (torch.rand(shape, generator=generator, device=mel.device) * (size - length + 1)).floor()
        position = torch.arange(size, device=mel.device).view([-1 if i == axis else 1 for i in range(4)])
        hidden |= (position >= start) & (position < start + length)
    return mel.masked_fill(hidden, value)


def build(make: Any, network: Mapping[str, Any], *positional: Any) -> Any:
    """Make a network from the recipe's ``network`` values.

    Raises:
        ConfigurationError: if it takes no such value.
    """
    try:
        return make(*positional, **network)
    except TypeError as error:
        raise ConfigurationError(f"settings: network: {error}") from error
