"""Clips, sounds and texts beside a run's sample pictures; trackers show them. Those of ``step-000100.png`` begin as it does."""

import re
from collections.abc import Sequence
from pathlib import Path

import soundfile
import torch
from PIL import Image


def save_texts(lines: Sequence[str], picture: Path) -> None:
    """Write a line each for what a sample picture shows, or for texts that were made."""
    partial = picture.with_suffix(".partial.txt")
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.replace(picture.with_suffix(".txt"))


def save_clip(frames: torch.Tensor, picture: Path, name: str, fps: float) -> None:
    """Write frames [F, 3 or 4, H, W] in [-1, 1] as an animated GIF that repeats."""
    pixels = ((frames[:, :3].float().clamp(-1, 1) + 1) * 127.5).round().byte().cpu().permute(0, 2, 3, 1).numpy()
    first, *others = (Image.fromarray(each) for each in pixels)
    path = _beside(picture, name, ".gif")
    partial = path.with_suffix(".partial.gif")
    first.save(partial, save_all=True, append_images=others, duration=round(1000 / fps), loop=0)
    partial.replace(path)


def save_sound(waveform: torch.Tensor, picture: Path, name: str, rate: int) -> None:
    """Write a waveform [S] in [-1, 1] as WAV with 16 bits."""
    path = _beside(picture, name, ".wav")
    partial = path.with_suffix(".partial.wav")
    soundfile.write(partial, waveform.float().clamp(-1, 1).cpu().numpy(), rate, subtype="PCM_16")
    partial.replace(path)


def _beside(picture: Path, name: str, ending: str) -> Path:
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40] or "item"
    return picture.with_name(f"{picture.stem}-{plain}{ending}")
