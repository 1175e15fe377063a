"""Denoisers of latents: ``UNet`` (image, video, audio), ``FlatUNet`` (text), and their joint forward."""

from .alignment import environment_seconds, environment_tokens, exchanged, joint_forward
from .context import Context
from .flat_unet import FlatUNet
from .unet import UNet

__all__ = ["Context", "FlatUNet", "UNet", "environment_seconds", "environment_tokens", "exchanged", "joint_forward"]
