"""What an embedding says about places: small networks that draw it as a map, which a denoiser adds to its input."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin
from torch import Tensor, nn

from ..quantized import exact_weights, quantized_as
from .blocks import zero_init


class PromptMap(nn.Module):
    """What a prompt says about places: a small network from the aligned embedding to a feature map.

    With one prompt token a cross-attention adds the same vector everywhere (SPEC §0.4): it says what, but not where.
    The published networks find the places by themselves; a small one learns much faster if it is told. The last layer
    is zeroed, so that it changes nothing until trained.

    Args:
        embedding_dim: D, size of the embedding.
        dim: width of the hidden layer.
        shape: (channels, *size) of the map it draws.
        entry: layer from the map's channels to the network's features, such as a convolution.
        manner_dim: M, of what it is told of the manner; None: it draws everything in the same.
    """

    def __init__(
        self, embedding_dim: int, dim: int, shape: tuple[int, ...], entry: nn.Module, manner_dim: int | None = None
    ):
        super().__init__()
        self.shape = shape
        self.linear_1 = nn.Linear(embedding_dim, dim)
        self.linear_2 = nn.Linear(dim, math.prod(shape))
        self.entry = entry
        self.linear_manner = zero_init(nn.Linear(manner_dim, dim, bias=False)) if manner_dim else None

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

    def forward(self, embedding: Tensor, size: Sequence[int], manner: Tensor | None = None) -> Tensor:
        """``embedding`` [B, D] and ``manner`` [B, M] -> features [B, C, *size]."""
        return self.entry(self.draw(embedding, size, manner))


class MotionMap(nn.Module):
    """What a prompt says about places at each time of a clip: the prompt map of videos.

    Clips are loops, so each position's course over the frames is a Fourier series, whose coefficients the embedding decides:
    one map for the mean and two for each harmonic. It is added to what the prompt map draws for all frames alike. The last
    layer is zeroed, so that it changes nothing until trained.

    Args:
        embedding_dim: D, size of the embedding.
        dim: width of the hidden layer.
        harmonics: of the series; the highest has as many cycles in a clip.
        shape: (channels, *size) of a frame's map.
        entry: layer from the map's channels to the network's features, such as a convolution.
    """

    def __init__(self, embedding_dim: int, dim: int, harmonics: int, shape: tuple[int, ...], entry: nn.Module):
        super().__init__()
        self.shape, self.harmonics = shape, harmonics
        self.linear_1 = nn.Linear(embedding_dim, dim)
        self.linear_2 = nn.Linear(dim, (1 + 2 * harmonics) * math.prod(shape))
        self.entry = entry

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


class EnvironmentMap(nn.Module):
    """What the other modalities say about places: the prompt map drawn for their environment tokens.

    Environment tokens learn to lie where the prompt of what they show lies (training stage ``alignment``), so the map that
    knows what each prompt looks like serves them, too. How much they count depends on the timestep: early tokens know
    little. The entry is zeroed, so that it changes nothing until trained.

    Args:
        entry: layer from a latent's channels to the network's features.
        features: features of each position.
        time_embedding_dim: width of the time embedding.
    """

    def __init__(self, entry: nn.Module, features: int, time_embedding_dim: int):
        super().__init__()
        self.entry = zero_init(entry)
        self.gate = zero_init(nn.Linear(time_embedding_dim, features))

    def forward(self, features: Tensor, time_embedding: Tensor) -> Tensor:
        """``features`` [B, features, *size], what ``entry`` made of the map, weighed for ``time_embedding`` [B, dim]."""
        gate = 1 + self.gate(F.silu(time_embedding))
        return features * gate.unflatten(1, (-1, *[1] * (features.ndim - 2)))


def with_quantized_maps(denoiser: nn.Module) -> nn.Module:
    """A copy whose prompt map and motion map are of 8-bit integers; one that has them so, or has no such config, as it is."""
    if denoiser.config.get("quantized_maps", True):
        return denoiser
    return quantized_as(denoiser, type(denoiser)(**(_values(denoiser) | {"quantized_maps": True})))


def with_exact_maps(denoiser: nn.Module) -> nn.Module:
    """A copy whose maps can learn again; one whose maps are not quantized as it is."""
    if not denoiser.config.get("quantized_maps", False):
        return denoiser
    exact = type(denoiser)(**(_values(denoiser) | {"quantized_maps": False}))
    exact.load_state_dict(exact_weights(denoiser))
    return nn.Module.to(exact, denoiser.device, denoiser.dtype).train(denoiser.training)


def _values(denoiser: ConfigMixin) -> dict[str, Any]:
    return {name: value for name, value in denoiser.config.items() if not name.startswith("_")}
