"""What an image prompt encoder sees with the eyes of a pretrained network: maps of features, and what they are called."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import ConfigurationError
from .vision_network import VisionNetwork

LEVELS = (4, 10, 15)
"""Blocks of EfficientNet-Lite0 whose features are kept: the last of strides 8, 16 and 32. A smaller network: its last one."""


class Sight(nn.Module):
    """A frozen vision network and what can be learned on top of the names that its classifier knows.

    Args:
        vision: config values of the ``VisionNetwork``.
        projection_dim: D, width of the shared space.
    """

    def __init__(self, vision: Mapping[str, Any], projection_dim: int):
        super().__init__()
        self.network = VisionNetwork(**vision).requires_grad_(False).eval()
        layout, classes = self.network.config.layout, self.network.config.classes
        if not classes:
            raise ConfigurationError("vision: the network needs its classifier; give the number of its classes")
        self.levels = LEVELS if len(layout) > LEVELS[-1] else (len(layout) - 1,)
        self.channels = sum(layout[level][3] for level in self.levels)
        self.stride = 2
        for block in layout:
            self.stride *= block[1]
        self.class_embeddings = nn.Linear(classes, projection_dim, bias=False)
        self.certainty = nn.Parameter(torch.ones(()))

    def train(self, mode: bool = True) -> "Sight":
        """The network stays as it is, whatever the mode."""
        super().train(mode)
        self.network.eval()
        return self

    @torch.no_grad()
    def maps(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """RGB [B, 3, H, W] in [-1, 1] → features [B, channels, H / stride, W / stride] of all levels; the last come last."""
        pixel_values = pixel_values.contiguous(memory_format=torch.channels_last)
        found = self.network.features(pixel_values, self.levels)
        size = found[-1].shape[-2:]
        return torch.cat([F.adaptive_avg_pool2d(level, size) for level in found], 1)

    def named(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps → [B, D]: the mean of the embeddings of what the classifier takes the picture for."""
        with torch.no_grad():
            last = maps[:, -self.network.config.layout[-1][3] :].to(self.network.dtype)
            logits = self.network.classifier(self.network.head(last).mean((2, 3)))
        return self.certainty * self.class_embeddings(logits.softmax(-1))


def side_of_maps(sample_size: int, sight: Sight) -> int:
    """Height and width of the maps of a picture of ``sample_size`` pixels.

    Raises:
        ConfigurationError: if the size is not a multiple of the network's stride.
    """
    if sample_size % sight.stride:
        raise ConfigurationError(f"sample_size: must be a multiple of {sight.stride}, not {sample_size}")
    return sample_size // sight.stride


def freeze(sights: Sequence[nn.Module]) -> None:
    """Freeze the networks again: parameters loaded from a file start out trainable."""
    for sight in sights:
        if isinstance(sight, Sight):
            sight.network.requires_grad_(False)
