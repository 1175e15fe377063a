"""Fifty sounds of an old video game: ten kinds, five of each. They stand for a sound pack of your own.

    python examples/own_sounds/draw.py --output my-sounds

Each is a ``NAME-N.wav`` with its caption in ``NAME-N.txt``. All are square waves and noise, made here.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from opencodi.media import Audio, write_audio

RATE, SECONDS, VARIANTS = 16_000, 1.2, 5
TIME = np.arange(int(RATE * SECONDS)) / RATE


def square(frequency: np.ndarray) -> np.ndarray:
    """A square wave of that frequency [T] in hertz at each moment."""
    return np.sign(np.sin(2 * np.pi * np.cumsum(frequency) / RATE))


def noise(rng: np.random.Generator, hold: int) -> np.ndarray:
    """Noise whose values last ``hold`` samples."""
    return np.repeat(rng.uniform(-1, 1, len(TIME) // hold + 1), hold)[: len(TIME)]


def fading(seconds: float) -> np.ndarray:
    return np.exp(-TIME / seconds)


def steps(notes: list[float], each: float) -> np.ndarray:
    """The frequency [T] of notes that follow each other."""
    return np.array(notes)[np.minimum((TIME / each).astype(int), len(notes) - 1)]


KINDS: dict[str, Callable[[np.random.Generator, float], np.ndarray]] = {
    "coin": lambda rng, up: square(steps([990 * up, 1320 * up], 0.08)) * fading(0.25),
    "laser": lambda rng, up: square(1800 * up * np.exp(-6 * TIME) + 120) * fading(0.2),
    "jump": lambda rng, up: square(220 * up * np.exp(2.5 * np.minimum(TIME, 0.35))) * (TIME < 0.35),
    "explosion": lambda rng, up: noise(rng, 6) * fading(0.35),
    "power up": lambda rng, up: square(steps([262 * up * 2 ** (k / 6) for k in range(10)], 0.09)) * (TIME < 0.95),
    "game over": lambda rng, up: square(steps([392 * up * 2 ** (-k / 5) for k in range(5)], 0.22)) * 0.8,
    "alarm": lambda rng, up: square(np.where((TIME / 0.15).astype(int) % 2, 620.0, 880.0) * up),
    "footsteps": lambda rng, up: noise(rng, 14) * np.exp(-(TIME % (0.3 / up)) / 0.03),
    "engine": lambda rng, up: square(70 * up * (1 + 0.1 * np.sin(2 * np.pi * 11 * TIME))) * 0.9,
    "teleport": lambda rng, up: square(900 * up + 500 * np.sin(2 * np.pi * 14 * TIME)) * np.sin(np.pi * TIME / SECONDS),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name, made in KINDS.items():
        for variant in range(VARIANTS):
            samples = 0.6 * made(rng, 2 ** rng.uniform(-0.2, 0.2))
            stem = arguments.output / f"{name.replace(' ', '-')}-{variant}"
            write_audio(Audio(samples.astype(np.float32), RATE), stem.with_suffix(".wav"))
            stem.with_suffix(".txt").write_text(f"{name}\nthe sound of a {name}\n")


if __name__ == "__main__":
    main()
