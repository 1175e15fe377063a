"""What differs between the pairs text–image, text–audio and text–video: how items are loaded, varied and encoded."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from ...data.augment import audio_batch, cut_mix, over_white, random_affine
from ...data.shards import Items, load_audio, load_images, load_videos
from ...data.soften import blur_each, soften
from ...device import pick_device
from ...errors import ConfigurationError
from ...modality import MODALITIES, Modality
from ...prompts import AudioPromptEncoder, Condition, ImagePromptEncoder, VideoPromptEncoder
from ..components import load_component


class Pair(Protocol):
    """One modality beside text.

    Attributes:
        encoder: the prompt encoder that learns.
        flipped_groups: of pictures that may be seen in a mirror.
    """

    encoder: Any
    flipped_groups: tuple[str, ...] = ()

    def __init__(self, network: Mapping[str, Any], model_folder: Path): ...

    def load(self, data: Path, shards: tuple[str, ...]) -> Items:
        """Read the shards."""

    def prepare(self, items: Items) -> Any:
        """What batches are made of; called once, before the first batch."""

    def batch(self, prepared: Any, chosen: np.ndarray, rng: np.random.Generator | None) -> dict[str, torch.Tensor]:
        """Inputs of the encoder for these items, varied at random if ``rng`` is given."""

    def mixed(
        self, inputs: dict[str, torch.Tensor], rng: np.random.Generator, share: float
    ) -> tuple[dict[str, torch.Tensor], float]:
        """With chance ``share``, inputs each mixed with that at its place from the end, and the share that is its own."""

    def condition(self, inputs: dict[str, torch.Tensor], generator: torch.Generator | None) -> Condition:
        """Encode them; with ``generator``, varied at random as in training."""

    def picture(self, prepared: Any, chosen: np.ndarray) -> torch.Tensor | None:
        """The items as pictures [B, 3, H, W] in [-1, 1], if they can be seen."""


class ImagePair:
    """Stickers and photographs over white, zoomed, shifted, turned, recoloured and softened.

    What is shown, not its exact colours, is what other styles have in common.
    """

    flipped_groups: tuple[str, ...] = ()
    varied: ClassVar = {"scale": 0.15, "shift": 0.1, "degrees": 12.0}
    softened: ClassVar = {"share": 0.5, "blur": 1.0, "quantisation": 0.06, "noise": 0.1, "colour": 0.3}

    def __init__(self, network: Mapping[str, Any], model_folder: Path):
        self.encoder = build(ImagePromptEncoder, network)

    def load(self, data: Path, shards: tuple[str, ...]) -> Items:
        return load_images(data, shards)

    def prepare(self, items: Items) -> tuple[np.ndarray, np.ndarray]:
        return items.media, np.array([record.get("group") in self.flipped_groups for record in items.records])

    def batch(self, prepared: tuple[np.ndarray, np.ndarray], chosen: np.ndarray, rng: np.random.Generator | None):
        media, flippable = prepared
        pixels = media[chosen]
        if rng is not None:
            flip = flippable[chosen] & (rng.random(len(chosen)) < 0.5)
            pixels[flip] = pixels[flip, :, ::-1]
        return {"pixels": torch.from_numpy(pixels)}

    def mixed(self, inputs: dict[str, torch.Tensor], rng: np.random.Generator, share: float):
        pixels = inputs["pixels"].movedim(-1, 1)
        pixels, own = cut_mix(pixels, pixels.flip(0), rng, share)
        return {"pixels": pixels.movedim(1, -1)}, own

    def condition(self, inputs: dict[str, torch.Tensor], generator: torch.Generator | None) -> Condition:
        pixel_values = over_white(inputs["pixels"])
        if generator is not None:
            rng = np.random.default_rng(generator.initial_seed())
            pixel_values = soften(random_affine(pixel_values, rng, **self.varied), rng, **self.softened)
        return self.encoder(pixel_values)

    def picture(self, prepared: tuple[np.ndarray, np.ndarray], chosen: np.ndarray) -> torch.Tensor:
        return over_white(prepared[0][chosen])


class AudioPair:
    """Sounds and words at other speeds and levels, with bands of the spectrogram hidden (Park et al. 2019, SpecAugment)."""

    flipped_groups: tuple[str, ...] = ()
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
        return {"samples": torch.from_numpy(prepared[chosen])}

    def mixed(self, inputs: dict[str, torch.Tensor], rng: np.random.Generator, share: float):
        """Both are heard at once, the own louder (Tokozume et al. 2018)."""
        own = rng.uniform(0.5, 1) if rng.random() < share else 1.0
        if own == 1:
            return inputs, own
        waveforms = audio_batch(inputs["samples"])
        mixed = own * waveforms + (1 - own) * waveforms.flip(0)
        return {"samples": (mixed * 32767).to(torch.int16)}, own

    def condition(self, inputs: dict[str, torch.Tensor], generator: torch.Generator | None) -> Condition:
        rng = None if generator is None else np.random.default_rng(generator.initial_seed())
        mel = self.encoder.mel(audio_batch(inputs["samples"], rng))
        if generator is not None:
            mel = vary_mel(mel, **self.varied, generator=generator)
            mel = hide_bands(mel, self.hidden_frames, self.hidden_bins, self.encoder.config.mel_mean, generator)
        return self.encoder(mel=mel)

    def picture(self, prepared: np.ndarray, chosen: np.ndarray) -> None:
        return None


class VideoPair:
    """Clips, which are loops and may start anywhere. The image network is frozen, so it sees each frame only once."""

    flipped_groups: tuple[str, ...] = ()

    def __init__(self, network: Mapping[str, Any], model_folder: Path):
        image = load_component(ImagePromptEncoder, model_folder, MODALITIES[Modality.IMAGE].prompt_encoder)
        self.encoder = build(VideoPromptEncoder.from_image_prompt_encoder, network, image)
        self.encoder.image.requires_grad_(False)

    def load(self, data: Path, shards: tuple[str, ...]) -> Items:
        return load_videos(data, shards, self.encoder.config.num_frames)

    @torch.no_grad()
    def prepare(self, items: Items) -> tuple[torch.Tensor, np.ndarray]:
        image = self.encoder.image.eval().to(pick_device())
        parts = [
            self.encoder.frame_features(over_white(chunk).transpose(1, 2).to(image.device)).cpu()
            for chunk in np.split(items.media, range(32, len(items), 32))
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

    def mixed(self, inputs: dict[str, torch.Tensor], rng: np.random.Generator, share: float):
        return inputs, 1.0

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
