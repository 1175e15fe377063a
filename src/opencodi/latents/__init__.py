"""Media ↔ latents: an autoencoder per modality, and codecs that hide what they need around it.

``codecs(components)[modality]`` has, for every modality, ``latent_shape(batch_size, **size)``,
``encode(media, **size)``, ``decode(latents)`` to media, ``decode_arrays(latents)`` to numbers (sentences stay lists) and
``defaults``; ``size`` is any of height, width (pixels), num_frames and seconds, of which each takes what it needs. Latents
are normalised: what the denoisers see.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from ..modality import MODALITIES
from .audio import AudioAutoencoder, AudioCodec
from .image import ImageAutoencoder, ImageCodec
from .mel import MelSpectrogram, prepare_waveform
from .text import TextAutoencoder, TextCodec, build_tokenizer
from .transparent import TransparentImageCodec, image_codec
from .video import VideoCodec
from .vocoder import Vocoder


class Codec(Protocol):
    """What every codec offers."""

    defaults: dict[str, Any]

    def latent_shape(self, batch_size: int, **size: Any) -> tuple[int, ...]: ...

    def encode(self, media: Sequence[Any], **size: Any) -> Tensor: ...

    def decode(self, latents: Tensor) -> list[Any]: ...

    def decode_arrays(self, latents: Tensor) -> Any: ...


def codecs(components: Mapping[str, Any]) -> dict[str, Codec]:
    """The codecs of a model, by modality.

    Args:
        components: pipeline components by name; those that are absent or None leave their codec out.
    """
    return {
        name: record.build_codec(components.get)
        for name, record in MODALITIES.items()
        if all(components.get(part) is not None for part in set(record.codec_parts.values()) - record.optional_parts)
    }


__all__ = [
    "AudioAutoencoder",
    "AudioCodec",
    "Codec",
    "ImageAutoencoder",
    "ImageCodec",
    "MelSpectrogram",
    "TextAutoencoder",
    "TextCodec",
    "TransparentImageCodec",
    "VideoCodec",
    "Vocoder",
    "build_tokenizer",
    "codecs",
    "image_codec",
    "prepare_waveform",
]
