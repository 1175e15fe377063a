"""Draw 40 samples to try training with: a coloured shape, a tone and a caption each.

    python examples/own_data/make_samples.py samples

Files of one sample have the same name: ``00.png``, ``00.wav``, ``00.txt``.
"""

import sys
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image, ImageDraw

COLOURS = {"red": "#d62728", "green": "#2ca02c", "blue": "#1f77b4", "yellow": "#e6c000"}
SHAPES = {"circle": 220.0, "square": 440.0, "triangle": 660.0, "bar": 880.0, "ring": 1320.0}
"""Shape → pitch of its tone in hertz; large ones sound an octave lower."""
SIDES, HERTZ, SECONDS = (64, 96), 16_000, 2.0


def draw(shape: str, colour: str, side: int) -> Image.Image:
    """A shape in the middle of a white square of ``side`` pixels."""
    image = Image.new("RGB", (side, side), "white")
    pen, low, high = ImageDraw.Draw(image), side // 5, side - side // 5
    if shape == "circle":
        pen.ellipse((low, low, high, high), fill=colour)
    elif shape == "ring":
        pen.ellipse((low, low, high, high), outline=colour, width=side // 8)
    elif shape == "square":
        pen.rectangle((low, low, high, high), fill=colour)
    elif shape == "bar":
        pen.rectangle((side // 8, side * 3 // 7, side - side // 8, side * 4 // 7), fill=colour)
    else:
        pen.polygon([(side // 2, low), (low, high), (high, high)], fill=colour)
    return image


def tone(pitch: float, harmonic: int) -> np.ndarray:
    """A fading tone [num_samples] in [-1, 1]."""
    time = np.arange(round(SECONDS * HERTZ)) / HERTZ
    wave = np.sin(2 * np.pi * pitch * time) + 0.5 * np.sin(2 * np.pi * harmonic * pitch * time)
    return 0.5 * wave * np.exp(-2 * time)


def make_samples(folder: Path) -> None:
    """Write every shape in every colour, in two sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    combinations = [(shape, colour, side) for side in SIDES for shape in SHAPES for colour in COLOURS]
    for number, (shape, colour, side) in enumerate(combinations):
        place = folder / f"{number:02d}"
        draw(shape, COLOURS[colour], side).save(place.with_suffix(".png"))
        pitch = SHAPES[shape] / (1 if side == SIDES[0] else 2)
        sound = tone(pitch, 2 + list(COLOURS).index(colour))
        soundfile.write(place.with_suffix(".wav"), sound, HERTZ)
        size = "small" if side == SIDES[0] else "large"
        place.with_suffix(".txt").write_text(f"a {size} {colour} {shape}\n", encoding="utf-8")


if __name__ == "__main__":
    make_samples(Path(sys.argv[1] if len(sys.argv) > 1 else "samples"))
