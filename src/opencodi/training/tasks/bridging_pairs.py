"""What differs between the pairs text–image, text–audio and text–video: how items are varied and encoded."""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from ...data.augment import audio_batch, cut_mix, hide_bands, over_white, random_affine, vary_mel
from ...data.soften import soften
from ...device import pick_device
from ...modality import MODALITIES, Modality
from ...prompts import AudioPromptEncoder, Condition, ImagePromptEncoder, VideoPromptEncoder
from ..components import ModelFolder, build_network
from ..processes import items_rng


class Pair(Protocol):
    """One modality beside text.

    Attributes:
        encoder: the prompt encoder that learns.
    """

    encoder: Any

    def __init__(self, network: Mapping[str, Any], parts: ModelFolder): ...

    def fit(self, media: np.ndarray) -> None:
        """Record in the encoder's config what it needs to know of the training items; called once, before ``prepare``."""

    def prepare(self, media: np.ndarray, mirrored: np.ndarray) -> Any:
        """What ``batch`` draws from: the media of N items, and bool [N], which of them may be mirrored."""

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

    varied: ClassVar = {"scale": 0.15, "shift": 0.1, "degrees": 12.0}
    softened: ClassVar = {"share": 0.5, "blur": 1.0, "quantisation": 0.06, "noise": 0.1, "colour": 0.3}

    def __init__(self, network: Mapping[str, Any], parts: ModelFolder):
        self.encoder = build_network(ImagePromptEncoder, network)

    def fit(self, media: np.ndarray) -> None:
        return None

    def prepare(self, media: np.ndarray, mirrored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return media, mirrored

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
            rng = items_rng(generator)
            pixel_values = soften(random_affine(pixel_values, rng, **self.varied), rng, **self.softened)
        return self.encoder(pixel_values)

    def picture(self, prepared: tuple[np.ndarray, np.ndarray], chosen: np.ndarray) -> torch.Tensor:
        return over_white(prepared[0][chosen])


class AudioPair:
    """Sounds and words at other speeds and levels, with bands of the spectrogram hidden (Park et al. 2019, SpecAugment)."""

    hidden_frames, hidden_bins = 16, 10
    varied: ClassVar = {"tilt": 3.0, "noise": 0.8, "blur": 1.0}

    def __init__(self, network: Mapping[str, Any], parts: ModelFolder):
        self.encoder = build_network(AudioPromptEncoder, network)

    def fit(self, media: np.ndarray) -> None:
        """The mean and deviation of the log-mel values that the first layer will see."""
        mel = self.encoder.mel(audio_batch(media[:: max(1, len(media) // 512)]))
        self.encoder.register_to_config(mel_mean=round(float(mel.mean()), 4), mel_std=round(float(mel.std()), 4))

    def prepare(self, media: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
        return media

    def batch(self, prepared: np.ndarray, chosen: np.ndarray, rng: np.random.Generator | None):
        return {"samples": torch.from_numpy(prepared[chosen])}

    def mixed(self, inputs: dict[str, torch.Tensor], rng: np.random.Generator, share: float):
        """Mix each sound with another at a lower level (Tokozume et al. 2018)."""
        own = rng.uniform(0.5, 1) if rng.random() < share else 1.0
        if own == 1:
            return inputs, own
        waveforms = audio_batch(inputs["samples"])
        mixed = own * waveforms + (1 - own) * waveforms.flip(0)
        return {"samples": (mixed * 32767).to(torch.int16)}, own

    def condition(self, inputs: dict[str, torch.Tensor], generator: torch.Generator | None) -> Condition:
        rng = None if generator is None else items_rng(generator)
        mel = self.encoder.mel(audio_batch(inputs["samples"], rng))
        if generator is not None:
            mel = vary_mel(mel, **self.varied, generator=generator)
            mel = hide_bands(mel, self.hidden_frames, self.hidden_bins, self.encoder.config.mel_mean, generator)
        return self.encoder(mel=mel)

    def picture(self, prepared: np.ndarray, chosen: np.ndarray) -> None:
        return None


class VideoPair:
    """Clips, which are loops and may start anywhere. The image network is frozen, so it sees each frame only once."""

    def __init__(self, network: Mapping[str, Any], parts: ModelFolder):
        self.image = parts.load(ImagePromptEncoder, MODALITIES[Modality.IMAGE].prompt_encoder)
        self.encoder = build_network(VideoPromptEncoder.for_image_encoder, network, self.image)

    def fit(self, media: np.ndarray) -> None:
        return None

    @torch.no_grad()
    def prepare(self, media: np.ndarray, mirrored: np.ndarray) -> tuple[dict[str, torch.Tensor], np.ndarray]:
        image = self.image.to(pick_device())
        parts, middles = [], []
        for start in range(0, len(media), 32):  # media may be decoded only where they are asked for
            chunk = media[start : start + 32]
            parts.append(self.encoder.frames(over_white(chunk).transpose(1, 2).to(image.device), image))
            middles.append(chunk[:, chunk.shape[1] // 2])
        seen = {name: torch.cat([part[name].cpu() for part in parts]) for name in parts[0]}
        return seen, np.concatenate(middles)

    def batch(
        self, prepared: tuple[dict[str, torch.Tensor], np.ndarray], chosen: np.ndarray, rng: np.random.Generator | None
    ):
        seen = {name: part[chosen] for name, part in prepared[0].items()}
        if rng is None:
            return seen
        count = next(iter(seen.values())).shape[1]
        order = (np.arange(count) + rng.integers(0, count, (len(chosen), 1))) % count
        rows = torch.arange(len(chosen))[:, None], torch.from_numpy(order)
        return {name: part[rows] for name, part in seen.items()}

    def mixed(self, inputs: dict[str, torch.Tensor], rng: np.random.Generator, share: float):
        return inputs, 1.0

    def condition(self, inputs: dict[str, torch.Tensor], generator: torch.Generator | None) -> Condition:
        return self.encoder(**inputs)

    def picture(self, prepared: tuple[dict[str, torch.Tensor], np.ndarray], chosen: np.ndarray) -> torch.Tensor:
        return over_white(prepared[1][chosen])


PAIRS: dict[Modality, type] = {
    Modality.IMAGE: ImagePair,
    Modality.AUDIO: AudioPair,
    Modality.VIDEO: VideoPair,
}
