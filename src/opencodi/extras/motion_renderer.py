"""A named motion is rendered: the decoded frames of a clip are moved along a course that a small head reads from the words.

This is no part of the paper: temporal modules do not draw the motion. Clips move as named in 96 % (``docs/results/README.md``).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..latents.video import VideoCodec
from ..modality import Modality
from ..prompts.condition import Condition
from ..sampling.request import Call
from .base import Extra
from .manner import MANNER


class MotionRenderer(Extra):
    """Moves clips along ``MannerReader.courses``."""

    needs = ("manner_reader",)

    def codec(self, codec: Any, modality: str, condition: Condition, call: Call) -> Any:
        """The codec of clips, with moving frames where a motion is named."""
        if modality != Modality.VIDEO or MANNER not in condition.attributes:
            return codec
        return _MovingVideoCodec(codec.autoencoder, call.part("manner_reader"), condition)


class _MovingVideoCodec(VideoCodec):
    def __init__(self, autoencoder: Any, manner_reader: Any, condition: Condition):
        super().__init__(autoencoder)
        self.manner_reader, self.condition = manner_reader, condition

    def pixel_values(self, latents: Tensor) -> Tensor:
        """Latents [B, C, F, h, w] → frames [B, F, 3, H, W] in [-1, 1], moved."""
        frames = super().pixel_values(latents)
        courses = self.manner_reader.courses(self.condition, latents.shape[2])
        return moved(frames.flatten(0, 1).float(), courses.flatten(0, 1).float().cpu()).unflatten(0, frames.shape[:2])


def moved(pixel_values: Tensor, courses: Tensor) -> Tensor:
    """Frames [N, 3, H, W] in [-1, 1] seen through affine maps [N, 2, 3] from places in the result to places in them.

    What comes from outside is white. Frames whose map is the identity stay as they are.
    """
    changed = (courses - torch.eye(2, 3)).abs().amax((1, 2)) > 1e-4
    if not changed.any():
        return pixel_values
    grid = F.affine_grid(courses[changed], list(pixel_values[changed].shape), align_corners=False)
    result = pixel_values.clone()
    result[changed] = F.grid_sample(pixel_values[changed] - 1, grid, align_corners=False) + 1
    return result
