"""The motion map: the prompt map of videos, which draws a loop for each prompt."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from ..denoisers.adapter import Adapter, Call, Hook
from ..denoisers.blocks import zero_init
from ..modality import Modality
from ..quantized import quantize_layers
from .base import AdapterExtra
from .prompt_map import entry_layer, first_features


class MotionMap(Adapter):
    """What a prompt says about places at each time of a clip.

    Clips are loops, so each position's course over the frames is a Fourier series, whose coefficients the embedding decides:
    one map for the mean and two for each harmonic. It is added to what the prompt map draws for all frames alike. The last
    layer is zeroed, so that it changes nothing until trained.

    Args:
        embedding_dim: D, size of the embedding.
        dim: width of the hidden layer.
        harmonics: of the series; the highest has as many cycles in a clip.
        in_channels: channels of a map, like those of a latent.
        size: positions [height, width] of a frame's map.
        features: width of the denoiser's first features.
        quantized: the matrices are 8-bit integers (``opencodi.quantized``), for a map that does not learn.
        block_name: module of the denoiser to whose output it is added.
    """

    @register_to_config
    def __init__(
        self,
        embedding_dim: int = 256,
        dim: int = 512,
        harmonics: int = 3,
        in_channels: int = 4,
        size: tuple[int, int] = (8, 8),
        features: int = 128,
        quantized: bool = False,
        block_name: str = "conv_in",
    ):
        super().__init__()
        self.shape, self.harmonics = (in_channels, *size), harmonics
        self.linear_1 = nn.Linear(embedding_dim, dim)
        self.linear_2 = nn.Linear(dim, (1 + 2 * harmonics) * math.prod(self.shape))
        self.entry = zero_init(entry_layer(in_channels, features, size))
        if quantized:
            quantize_layers(self, ("linear_1", "linear_2"))

    @classmethod
    def for_denoiser(cls, config: Mapping[str, Any], **values: Any) -> Self:
        """A new map, which changes nothing yet, for a ``UNet`` of this config."""
        return cls(**{"embedding_dim": config["cross_attention_dim"], **first_features(config), **values})

    def hooks(self) -> dict[str, Hook]:
        """Added to the denoiser's first features of a video."""
        return {self.config.block_name: self._after}

    def _after(self, x: Tensor, call: Call) -> Tensor:
        frames, size = call.num_frames, tuple(x.shape[2:])
        if frames is None:
            return x
        return x + call.prompt.of_frames((self, frames, size), lambda tokens: self(tokens[:, 0], frames, size))

    def draw(self, embedding: Tensor, num_frames: int, size: Sequence[int]) -> Tensor:
        """``embedding`` [B, D] -> maps [B, num_frames, channels, *size]; those of another size are stretched."""
        coefficients = self.linear_2(F.silu(self.linear_1(embedding))).unflatten(1, (-1, *self.shape))
        if tuple(size) != tuple(self.shape[1:]):
            stretched = F.interpolate(coefficients.flatten(0, 1), size=tuple(size), mode="bilinear")
            coefficients = stretched.unflatten(0, coefficients.shape[:2])
        return torch.einsum("fk,bk...->bf...", self._series(num_frames).to(coefficients), coefficients)

    def _series(self, num_frames: int) -> Tensor:
        """What each coefficient counts in each frame: [num_frames, 1 + 2 * harmonics], every column of mean square 1."""
        angles = 2 * math.pi * torch.arange(num_frames)[:, None] / num_frames * torch.arange(1, self.harmonics + 1)
        return torch.cat([torch.ones(num_frames, 1), 2**0.5 * angles.cos(), 2**0.5 * angles.sin()], dim=1)

    def forward(self, embedding: Tensor, num_frames: int, size: Sequence[int]) -> Tensor:
        """``embedding`` [B, D] -> features [B, num_frames, features, *size]."""
        return self.entry(self.draw(embedding, num_frames, size).flatten(0, 1)).unflatten(0, (-1, num_frames))


class MotionMaps(AdapterExtra):
    """Attaches the motion map of videos."""

    adapter_of: ClassVar = {Modality.VIDEO: "video_motion_map"}
    adapters = tuple(dict.fromkeys(adapter_of.values()))
