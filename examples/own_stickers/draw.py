"""Fifty stickers in one invented look, a print in three inks on night-blue paper. They stand for a set of your own.

    python examples/own_stickers/draw.py --data $OPENCODI_DATA --output my-stickers

Each is a ``NAME.png`` with its caption in ``NAME.txt``. The drawings are those of Noto in the stickers collection (Apache-2.0).
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from opencodi.data.shards import load_images

PAPER = (22, 30, 84)
INKS = ((206, 48, 62), (244, 138, 56), (255, 234, 196))
"""Of dark, middle and light places."""

COUNT = 50


def printed(picture: Image.Image) -> Image.Image:
    """An RGBA drawing in three inks on night-blue paper."""
    grey = np.asarray(picture.convert("RGB").convert("L").filter(ImageFilter.SMOOTH), int)
    inked = np.array(INKS)[np.digitize(grey, (95, 165))]
    alpha = np.asarray(picture.getchannel("A"), float)[..., None] / 255
    return Image.fromarray((np.array(PAPER) * (1 - alpha) + inked * alpha).astype(np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the stickers collection")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--style", default="noto")
    parser.add_argument("--count", type=int, default=COUNT)
    arguments = parser.parse_args()
    items = load_images(arguments.data, ["images"])
    things = {}
    for picture, record in zip(items.media, items.records):
        if record["style"] == arguments.style and record["group"] in ("animals-nature", "food-drink", "objects", "travel-places"):
            things.setdefault(record["name"], picture)
    names = sorted(things)
    arguments.output.mkdir(parents=True, exist_ok=True)
    for place in np.linspace(0, len(names) - 1, min(arguments.count, len(names))).astype(int):
        stem = arguments.output / names[place].replace(" ", "-").replace("/", "-")
        printed(Image.fromarray(things[names[place]])).save(stem.with_suffix(".png"))
        stem.with_suffix(".txt").write_text(f"{names[place]}\na {names[place]}\n")


if __name__ == "__main__":
    main()
