"""Draw what words become: one picture per phrase, each under its words.

python benchmarks/figure_words.py --output docs/figures/words.png
"""

import argparse
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from opencodi import AnyToAnyPipeline
from opencodi.device import pick_device

PHRASES = (
    "a red apple;a rocket;a puppy;a cat face;a rooster;a red heart;a pizza;a house;"
    "a car;a tree;a sunflower;a smiling face;a guitar;a fish;the moon;a birthday cake;"
    "an airplane;a soccer ball;a crown;a penguin;a bus;an umbrella;a key;a ghost"
)
CELL, LABEL, GAP, COLUMNS = 96, 20, 10, 8


def main() -> None:
    """Generate every phrase from the same seed and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--phrases", default=PHRASES, help="separated by semicolons")
    parser.add_argument("--model", default="stickers")
    parser.add_argument("--steps", type=int, default=None, help="the model's own number if not given")
    parser.add_argument("--guidance", type=float, default=None, help="the model's own if not given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default=None)
    parser.add_argument("--output", type=Path, default=Path("docs/figures/words.png"))
    options = parser.parse_args()

    pipeline = AnyToAnyPipeline.from_pretrained(options.model).to(pick_device(options.device))
    phrases = [phrase.strip() for phrase in options.phrases.split(";") if phrase.strip()]
    generator = torch.Generator().manual_seed(options.seed)
    pictures = pipeline(
        text=phrases,
        outputs=["image"],
        num_inference_steps=options.steps,
        guidance_scale=options.guidance,
        generator=generator,
    ).image

    rows = -(-len(phrases) // COLUMNS)
    size = (COLUMNS * (CELL + GAP) + GAP, rows * (CELL + LABEL + GAP) + GAP)
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for number, (phrase, picture) in enumerate(zip(phrases, pictures)):
        left = GAP + number % COLUMNS * (CELL + GAP)
        top = GAP + number // COLUMNS * (CELL + LABEL + GAP)
        sheet.paste(picture.resize((CELL, CELL), Image.Resampling.LANCZOS), (left, top))
        pen.text((left + CELL / 2, top + CELL + 2), phrase, fill="black", font=font, anchor="ma")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(options.output)
    print(options.output)


if __name__ == "__main__":
    main()
