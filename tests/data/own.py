"""Small samples of one's own: a picture, a sound, a clip and a caption under one name."""

from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

COLOURS = ("red", "green", "blue", "black")


def picture(number: int, side: int = 32) -> Image.Image:
    """A square of a colour on white; no two numbers below 60 give the same."""
    image = Image.new("RGB", (side, side), "white")
    image.paste(COLOURS[number % 4], (2, 2, 12 + number // 4, 20))
    return image


def caption(number: int) -> str:
    """What the picture shows."""
    return f"a {COLOURS[number % 4]} square, number {number}"


def write_samples(folder: Path, count: int = 12, clips: bool = False) -> Path:
    """Files of the same name: ``03.png``, ``03.wav``, ``03.txt`` and, with ``clips``, ``03.gif``."""
    folder.mkdir(parents=True, exist_ok=True)
    time = np.arange(8000) / 16000
    for number in range(count):
        place = folder / f"{number:02d}"
        picture(number).save(place.with_suffix(".png"))
        soundfile.write(place.with_suffix(".wav"), 0.5 * np.sin(2 * np.pi * (200 + 40 * number) * time), 16000)
        place.with_suffix(".txt").write_text(caption(number))
        if clips:
            frames = [picture(number + step) for step in range(4)]
            frames[0].save(place.with_suffix(".gif"), save_all=True, append_images=frames[1:], duration=125)
    return folder
