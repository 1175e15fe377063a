"""Sampling: from noise to latents of one or several modalities, together."""

from .guidance import Guidance, guided_prediction
from .noise import Noise
from .plans import ExchangePlan, InTurn, Sampler, Together
from .request import Request
from .sample import interleave, sample

__all__ = [
    "ExchangePlan",
    "Guidance",
    "InTurn",
    "Noise",
    "Request",
    "Sampler",
    "Together",
    "guided_prediction",
    "interleave",
    "sample",
]
