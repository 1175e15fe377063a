"""Denoisers of latents: plain networks (``UNet``, ``FlatUNet``), adapters that add time and alignment, and the joint pass."""

from .adapter import Adapter
from .alignment import AlignmentAdapter
from .composed import ComposedDenoiser
from .context import Context
from .evidence import CaptionBank, Evidence, EvidenceEncoder
from .exchange import environment_seconds, environment_tokens, exchanged, joint_forward
from .flat_unet import FlatUNet
from .temporal import TemporalAdapter
from .unet import UNet

__all__ = [
    "Adapter",
    "AlignmentAdapter",
    "CaptionBank",
    "ComposedDenoiser",
    "Context",
    "Evidence",
    "EvidenceEncoder",
    "FlatUNet",
    "TemporalAdapter",
    "UNet",
    "environment_seconds",
    "environment_tokens",
    "exchanged",
    "joint_forward",
]
