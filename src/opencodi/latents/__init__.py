"""Media ↔ latents: an autoencoder per modality, and codecs that hide what they need around it.

``codecs(components)[modality]`` has, for every modality, ``latent_shape(batch_size, **size)``,
``encode(media, **size)``, ``decode(latents)`` to media, ``decode_arrays(latents)`` to numbers (sentences stay lists) and
``defaults``; ``size`` is any of height, width (pixels), num_frames and seconds, of which each takes what it needs. Latents
are normalised: what the denoisers see.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from ..modality import Modality
from .audio import AudioAutoencoder, AudioCodec
from .image import ImageAutoencoder, ImageCodec
from .mel import MelSpectrogram, prepare_waveform
from .text import TextAutoencoder, TextCodec, build_tokenizer
from .video import VideoCodec
from .vocoder import Vocoder


class Codec(Protocol):
    """What every codec offers."""

    defaults: dict[str, Any]

    def latent_shape(self, batch_size: int, **size: Any) -> tuple[int, ...]: ...

    def encode(self, media: Sequence[Any], **size: Any) -> Tensor: ...

    def decode(self, latents: Tensor) -> list[Any]: ...

    def decode_arrays(self, latents: Tensor) -> Any: ...


CODECS: dict[Modality, tuple[type, dict[str, str]]] = {
    Modality.TEXT: (TextCodec, {"autoencoder": "text_autoencoder", "tokenizer": "text_tokenizer"}),
    Modality.IMAGE: (ImageCodec, {"autoencoder": "image_autoencoder"}),
    Modality.VIDEO: (VideoCodec, {"autoencoder": "image_autoencoder"}),
    Modality.AUDIO: (AudioCodec, {"autoencoder": "audio_autoencoder", "vocoder": "audio_vocoder"}),
}
"""Modality → its codec and the pipeline component behind each of its arguments."""

REPLACEABLE = {"audio_vocoder"}
"""Components a codec can do without."""


def codecs(components: Mapping[str, Any]) -> dict[Modality, Codec]:
    """The codecs of a model.

    Args:
        components: pipeline components by name; those that are absent or None leave their codec out.
    """
    built: dict[Modality, Codec] = {}
    for modality, (codec, names) in CODECS.items():
        parts = {argument: components.get(name) for argument, name in names.items()}
        if all(parts[argument] is not None or name in REPLACEABLE for argument, name in names.items()):
            built[modality] = codec(**parts)
    return built


__all__ = [
    "AudioAutoencoder",
    "AudioCodec",
    "Codec",
    "ImageAutoencoder",
    "ImageCodec",
    "MelSpectrogram",
    "TextAutoencoder",
    "TextCodec",
    "VideoCodec",
    "Vocoder",
    "build_tokenizer",
    "codecs",
    "prepare_waveform",
]
