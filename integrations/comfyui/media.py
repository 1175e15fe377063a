"""ComfyUI's tensors ↔ OpenCoDi's media objects.

IMAGE is float [batch, height, width, 3 or 4] in [0, 1]. AUDIO is a dictionary: ``waveform`` [batch, channels, samples] and
``sample_rate`` in hertz.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from opencodi import Audio, Video


def to_frames(images: torch.Tensor) -> np.ndarray:
    """IMAGE → uint8 [batch, height, width, 3]; what is transparent becomes white."""
    pixels = images.detach().float().cpu().clamp(0, 1)
    if pixels.shape[-1] == 4:
        alpha = pixels[..., 3:]
        pixels = pixels[..., :3] * alpha + 1 - alpha
    return (pixels * 255).round().to(torch.uint8).numpy()


def to_pictures(images: torch.Tensor) -> list[Image.Image]:
    """IMAGE → pictures."""
    return [Image.fromarray(frame) for frame in to_frames(images)]


def to_clip(images: torch.Tensor, fps: float, audio: dict[str, Any] | None = None) -> Video:
    """IMAGE as the frames of one clip, with the first sound of an AUDIO."""
    return Video(to_frames(images), fps, None if audio is None else to_sounds(audio)[0])


def to_sounds(audio: dict[str, Any]) -> list[Audio]:
    """AUDIO → sounds, channels mixed into one."""
    waves = audio["waveform"].detach().float().cpu().mean(1).clamp(-1, 1)
    return [Audio(wave.contiguous().numpy(), int(audio["sample_rate"])) for wave in waves]


def from_pictures(pictures: Sequence[Image.Image]) -> torch.Tensor:
    """Pictures of one size → IMAGE."""
    return from_frames(np.stack([np.asarray(picture.convert("RGB")) for picture in pictures]))


def from_frames(frames: np.ndarray) -> torch.Tensor:
    """uint8 [frames, height, width, 3] → IMAGE."""
    return torch.from_numpy(frames.astype(np.float32) / 255)


def from_sounds(sounds: Sequence[Audio]) -> dict[str, Any]:
    """Sounds of one length and rate → AUDIO."""
    waves = torch.from_numpy(np.stack([sound.samples for sound in sounds]))
    return {"waveform": waves.unsqueeze(1), "sample_rate": sounds[0].sample_rate}


def no_picture() -> torch.Tensor:
    """What stands for a picture that was not asked for: one black pixel."""
    return torch.zeros(1, 1, 1, 3)


def no_sound(sample_rate: int = 16_000) -> dict[str, Any]:
    """What stands for a sound that was not asked for: a moment of silence."""
    return {"waveform": torch.zeros(1, 1, 1), "sample_rate": sample_rate}
