"""Fifty stickers in one invented look, a print in three inks with a thick outline. They stand for a set of your own.

    python examples/own_stickers/draw.py --data $OPENCODI_DATA --output my-stickers

Each is a ``NAME.png`` with its caption in ``NAME.txt``. The drawings are those of Noto in the stickers collection (Apache-2.0).
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from opencodi.data.shards import load_images

INKS = ((24, 32, 92), (222, 64, 58), (255, 206, 92))
"""Of dark, middle and light places."""

NIGHT, NIGHT_INKS = (22, 30, 84), ((206, 48, 62), (244, 138, 56), (255, 234, 196))
"""Ground and inks of the dark look."""

OUTLINE = 5
"""Pixels across the brush that draws the outline, in the dark ink."""

COUNT = 50


def inked(picture: Image.Image, inks: tuple, levels: tuple[int, int]) -> np.ndarray:
    """The colours [H, W, 3] of the inks; ``levels`` of grey divide dark, middle and light places."""
    grey = np.asarray(picture.convert("RGB").convert("L").filter(ImageFilter.SMOOTH), int)
    return np.array(inks)[np.digitize(grey, levels)]


def printed(picture: Image.Image) -> Image.Image:
    """An RGBA drawing in three inks with a thick outline, on white."""
    alpha = picture.getchannel("A")
    thing, outlined = (
        np.asarray(each, float)[..., None] / 255 for each in (alpha, alpha.filter(ImageFilter.MaxFilter(OUTLINE)))
    )
    drawn = np.array(INKS[0]) * (1 - thing) + inked(picture, INKS, (80, 150)) * thing
    return Image.fromarray((255 * (1 - outlined) + drawn * outlined).astype(np.uint8))


def printed_dark(picture: Image.Image) -> Image.Image:
    """An RGBA drawing in three inks without an outline, on night-blue paper: a harder look to learn."""
    alpha = np.asarray(picture.getchannel("A"), float)[..., None] / 255
    return Image.fromarray(
        (np.array(NIGHT) * (1 - alpha) + inked(picture, NIGHT_INKS, (95, 165)) * alpha).astype(np.uint8)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the stickers collection")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--style", default="noto")
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--dark", action="store_true", help="on night-blue paper")
    arguments = parser.parse_args()
    look = printed_dark if arguments.dark else printed
    items = load_images(arguments.data, ["images"])
    things = {}
    for picture, record in zip(items.media, items.records):
        if record["style"] == arguments.style and record["group"] in (
            "animals-nature",
            "food-drink",
            "objects",
            "travel-places",
        ):
            things.setdefault(record["name"], picture)
    names = sorted(things)
    arguments.output.mkdir(parents=True, exist_ok=True)
    for place in np.linspace(0, len(names) - 1, min(arguments.count, len(names))).astype(int):
        stem = arguments.output / names[place].replace(" ", "-").replace("/", "-")
        look(Image.fromarray(things[names[place]])).save(stem.with_suffix(".png"))
        stem.with_suffix(".txt").write_text(f"{names[place]}\na {names[place]}\n")


if __name__ == "__main__":
    main()
