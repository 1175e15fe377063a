"""Sampling: from noise to latents of one or several modalities, together."""

from .guidance import guided_prediction
from .joint_sampler import sample

__all__ = ["guided_prediction", "sample"]
