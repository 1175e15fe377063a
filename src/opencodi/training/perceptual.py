"""How alike two pictures look: distances between features of a pretrained vision network (Zhang et al. 2018)."""

import torch
from torch import nn

from ..prompts.vision_network import VisionNetwork, pretrained_vision_network

LAYERS = (0, 2, 4, 10)
"""Blocks of EfficientNet-Lite0 at a half, a quarter, an eighth and a sixteenth of the resolution."""


class PerceptualDistance(nn.Module):
    """Squared distance of the features of two pictures, each of unit length over its channels, summed over layers.

    Args:
        network: frozen; by default the pretrained one.
        layers: numbers of its blocks, ascending.
    """

    def __init__(self, network: VisionNetwork | None = None, layers: tuple[int, ...] = LAYERS):
        super().__init__()
        network = network or pretrained_vision_network()
        self.network = network.to(memory_format=torch.channels_last)
        self.layers = layers

    def forward(self, made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """RGB [B, 3, H, W] in [-1, 1], both → a scalar; gradients reach ``made`` only."""
        with torch.no_grad():
            wanted = self._features(real)
        found = self._features(made)
        return torch.stack([(a - b).square().sum(1).mean() for a, b in zip(found, wanted)]).sum()

    def _features(self, pixel_values: torch.Tensor) -> list[torch.Tensor]:
        pixel_values = pixel_values.clamp(-1, 1).contiguous(memory_format=torch.channels_last)
        return [_unit(features.float()) for features in self.network.features(pixel_values, self.layers)]


def _unit(features: torch.Tensor) -> torch.Tensor:
    return features / (features.square().sum(1, keepdim=True) + 1e-3).sqrt()
