"""The prompt map: a small network that draws a prompt as a map, which a denoiser adds to its first features."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from ..denoisers.adapter import Adapter, Call, Hook
from ..denoisers.blocks import zero_init
from ..modality import Modality
from ..quantized import quantize_layers
from .base import AdapterExtra
from .manner import MANNER


class PromptMap(Adapter):
    """What a prompt says about places.

    With one prompt token a cross-attention adds the same vector everywhere (SPEC §0.4): it says what, but not where.
    The published networks find the places by themselves; a small one learns much faster if it is told. The last layer
    is zeroed, so that it changes nothing until trained.

    Args:
        embedding_dim: D, size of the embedding.
        dim: width of the hidden layer.
        in_channels: channels of the map, like those of a latent.
        size: positions [height, width] of the map, stretched for latents of another size; empty for vectors.
        features: width of the denoiser's first features.
        manner_dim: M, of the style and motion attributes that it is told; None: it draws everything in the same.
        quantized: the matrices are 8-bit integers (``opencodi.quantized``), for a map that does not learn.
        block_name: module of the denoiser to whose output it is added.
    """

    @register_to_config
    def __init__(
        self,
        embedding_dim: int = 256,
        dim: int = 512,
        in_channels: int = 4,
        size: tuple[int, ...] = (8, 8),
        features: int = 128,
        manner_dim: int | None = None,
        quantized: bool = False,
        block_name: str = "conv_in",
    ):
        super().__init__()
        self.shape = (in_channels, *size)
        self.linear_1 = nn.Linear(embedding_dim, dim)
        self.linear_2 = nn.Linear(dim, math.prod(self.shape))
        self.entry = zero_init(entry_layer(in_channels, features, size))
        self.linear_manner = zero_init(nn.Linear(manner_dim, dim, bias=False)) if manner_dim else None
        if quantized:
            quantize_layers(self, ("linear_1", "linear_2"))

    @classmethod
    def for_denoiser(cls, config: Mapping[str, Any], **values: Any) -> Self:
        """A new map, which changes nothing yet, for a ``UNet`` or ``FlatUNet`` of this config."""
        return cls(**{"embedding_dim": config["cross_attention_dim"], **first_features(config), **values})

    def hooks(self) -> dict[str, Hook]:
        """Added to the denoiser's first features."""
        return {self.config.block_name: self._after}

    def _after(self, x: Tensor, call: Call) -> Tensor:
        size, manner = tuple(x.shape[2:]), call.prompt.attributes.get(MANNER)
        return x + call.prompt.constant((self, size), lambda tokens: self(tokens[:, 0], size, manner))

    def draw(self, embedding: Tensor, size: Sequence[int], manner: Tensor | None = None) -> Tensor:
        """``embedding`` [B, D] and ``manner`` [B, M] -> the map [B, channels, *size], like a latent.

        A map of another size is stretched.
        """
        hidden = self.linear_1(embedding)
        if self.linear_manner is not None and manner is not None:
            hidden = hidden + self.linear_manner(manner)
        drawn = self.linear_2(F.silu(hidden)).unflatten(1, self.shape)
        if tuple(size) != tuple(drawn.shape[2:]):
            drawn = F.interpolate(drawn, size=tuple(size), mode="bilinear")
        return drawn

    def forward(
        self, embedding: Tensor, size: Sequence[int], manner: Tensor | None = None, entered: bool = True
    ) -> Tensor:
        """``embedding`` [B, D] and ``manner`` [B, M] -> features [B, C, *size], or the map itself unless ``entered``."""
        drawn = self.draw(embedding, size, manner)
        return self.entry(drawn) if entered else drawn


def first_features(config: Mapping[str, Any]) -> dict[str, Any]:
    """Config values of a map that is added to the first features of a denoiser of ours."""
    tokens = config.get("feature_tokens")
    shape = {} if tokens is None else {"size": ()}
    return {"in_channels": config["in_channels"], "features": config["model_channels"] * (tokens or 1), **shape}


def entry_layer(in_channels: int, features: int, size: Sequence[int]) -> nn.Module:
    """From a map of ``size`` positions, or a vector, to the features of a denoiser."""
    return nn.Conv2d(in_channels, features, 3, padding=1) if size else nn.Linear(in_channels, features)


class PromptMaps(AdapterExtra):
    """Attaches the prompt map of each denoiser."""

    adapter_of: ClassVar = {
        Modality.TEXT: "text_prompt_map",
        Modality.IMAGE: "image_prompt_map",
        Modality.VIDEO: "image_prompt_map",
        Modality.AUDIO: "audio_prompt_map",
    }
    adapters = tuple(dict.fromkeys(adapter_of.values()))
