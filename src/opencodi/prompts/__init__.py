"""Prompts: any modality → one shared space (paper §3.1), and the mixing of several conditions (SPEC §1.2).

Every encoder has one interface: ``preprocess(list of media) → dict of tensors``, ``forward(**tensors) → Condition``,
``encode(list of media) → Condition`` and ``unconditional(batch_size) → Condition``. The published model's have ``Clip``
and ``Clap`` in their names, the small ones have no such prefix.
"""

from .audio import AudioPromptEncoder
from .clap import ClapAudioPromptEncoder
from .clip import ClipImagePromptEncoder, ClipTextPromptEncoder, ClipVideoPromptEncoder
from .condition import Condition
from .image import ImagePromptEncoder
from .mixing import mix
from .text import TextPromptEncoder
from .video import VideoPromptEncoder

__all__ = [
    "AudioPromptEncoder",
    "ClapAudioPromptEncoder",
    "ClipImagePromptEncoder",
    "ClipTextPromptEncoder",
    "ClipVideoPromptEncoder",
    "Condition",
    "ImagePromptEncoder",
    "TextPromptEncoder",
    "VideoPromptEncoder",
    "mix",
]
