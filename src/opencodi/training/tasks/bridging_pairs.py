"""What differs between the pairs text–image, text–audio and text–video: how items are varied and encoded."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
import torch.nn.functional as F

from ...data.augment import audio_batch, cut_mix, hide_bands, over_white, random_affine, vary_mel
from ...data.chunks import Chunks
from ...data.soften import soften
from ...device import pick_device, quickly
from ...modality import MODALITIES, Modality
from ...prompts import AudioPromptEncoder, Condition, ImagePromptEncoder, VideoPromptEncoder
from ..components import ModelFolder, build_network
from ..processes import items_rng

PRETRAINED = "efficientnet-lite0"
"""What a recipe calls EfficientNet-Lite0 with its ImageNet weights."""

SEEN_AT_ONCE = 32


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


class SightPair:
    """Pictures as a frozen vision network sees them: it sees each only once, so they are varied when they are made.

    A picture that may be mirrored has its features mirrored instead, which is nearly the same.
    """

    def __init__(self, network: Mapping[str, Any], parts: ModelFolder):
        make = ImagePromptEncoder
        if network["vision"] == PRETRAINED:
            make, network = ImagePromptEncoder.with_pretrained_vision, {**network}
            del network["vision"]
        self.encoder, self.cache = build_network(make, network), parts.cache("features").parent

    def fit(self, media: Any) -> None:
        return None

    def prepare(self, media: Any, mirrored: np.ndarray) -> tuple[Any, np.ndarray, Chunks]:
        size, sight = self.encoder.config.sample_size, self.encoder.sight.to(pick_device())
        sight.network.to(memory_format=torch.channels_last)

        def see(first: int, last: int) -> dict[str, torch.Tensor]:
            return {
                "maps": torch.cat(
                    [look(media[i : min(i + SEEN_AT_ONCE, last)]) for i in range(first, last, SEEN_AT_ONCE)]
                )
            }

        def look(pixels: np.ndarray) -> torch.Tensor:
            pixel_values = over_white(pixels).to(pick_device())
            if pixel_values.shape[-1] != size:
                pixel_values = F.interpolate(pixel_values, size=(size, size), mode="bicubic", antialias=True).clamp(
                    -1, 1
                )
            with quickly(pixel_values.device):
                return sight.maps(pixel_values).half()

        return media, mirrored, Chunks(self.cache / f"features-{self._key(media)}", len(media), see)

    def _key(self, media: Any) -> str:
        """Tells apart what was seen, and with which eyes."""
        digest = hashlib.sha256(media if isinstance(media, np.ndarray) else media.key.encode())
        for name, value in self.encoder.sight.network.state_dict().items():
            digest.update(name.encode() + value.cpu().half().numpy().tobytes())
        return digest.hexdigest()[:12] + f"-{self.encoder.config.sample_size}"

    def batch(self, prepared: tuple[Any, np.ndarray, Chunks], chosen: np.ndarray, rng: np.random.Generator | None):
        _, flippable, chunks = prepared
        maps = chunks.rows("maps", chosen).float()
        if rng is not None:
            flip = torch.from_numpy(flippable[chosen] & (rng.random(len(chosen)) < 0.5))
            maps[flip] = maps[flip].flip(-1)
        return {"maps": maps}

    def mixed(self, inputs: dict[str, torch.Tensor], rng: np.random.Generator, share: float):
        own = rng.uniform(0.5, 1) if rng.random() < share else 1.0
        return ({"maps": own * inputs["maps"] + (1 - own) * inputs["maps"].flip(0)} if own < 1 else inputs), own

    def condition(self, inputs: dict[str, torch.Tensor], generator: torch.Generator | None) -> Condition:
        return self.encoder(**inputs)

    def picture(self, prepared: tuple[Any, np.ndarray, Chunks], chosen: np.ndarray) -> torch.Tensor:
        return over_white(prepared[0][chosen])


def image_pair(network: Mapping[str, Any], parts: ModelFolder) -> Pair:
    """Pictures seen by the encoder itself or, with ``vision``, through a frozen network."""
    return SightPair(network, parts) if network.get("vision") else ImagePair(network, parts)


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
        image, size = self.image.to(pick_device()), self.image.config.sample_size
        parts, middles = [], []
        for start in range(0, len(media), 32):
            clips = media[start : start + 32]
            frames = over_white(clips).transpose(1, 2).to(image.device)
            if frames.shape[-1] != size:
                frames = F.interpolate(frames, size=(frames.shape[2], size, size), mode="trilinear")
            with quickly(image.device) if image.sight is not None else nullcontext():
                parts.append(self.encoder.frames(frames, image))
            middles.append(clips[:, clips.shape[1] // 2])
        seen = {name: torch.cat([part[name].float().cpu() for part in parts]) for name in parts[0]}
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


PAIRS: dict[Modality, Callable[[Mapping[str, Any], ModelFolder], Pair]] = {
    Modality.IMAGE: image_pair,
    Modality.AUDIO: AudioPair,
    Modality.VIDEO: VideoPair,
}
