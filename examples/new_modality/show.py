"""Text to piano rolls, and piano rolls to pictures, with the bundled model and what ``train`` made.

    python -m examples.new_modality.show --rolls runs/rolls --output rolls.png

The measure of text → roll is how many rolls are nearest to a motif of the thing that was named, out of eight; of roll → picture
how many pictures show the thing, as the picture judge sees it among the eight.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from opencodi import AnyToAnyPipeline
from opencodi.denoisers import UNet

from .data import MOTIFS, motif
from .piano_rolls import PianoRoll, RollAutoencoder, RollPromptEncoder

PARTS = {"roll_prompt_encoder": RollPromptEncoder, "roll_autoencoder": RollAutoencoder, "roll_denoiser": UNet}
SIDE = 64


def open_model(rolls: Path, base: str = "stickers") -> AnyToAnyPipeline:
    """The base model with piano rolls: classes from elsewhere are opened here and given to it."""
    pipe = AnyToAnyPipeline.from_pretrained(base)
    pipe.register_modules(**{name: kind.from_pretrained(rolls / name).float().eval() for name, kind in PARTS.items()})
    pipe.set_progress_bar_config(disable=True)
    return pipe


def nearest(roll: PianoRoll, known: dict[str, list[PianoRoll]]) -> str:
    """The thing with the variation that has the fewest notes elsewhere."""
    return min(known, key=lambda name: min((roll.notes != each.notes).sum() for each in known[name]))


def picture(roll: PianoRoll) -> Image.Image:
    """A roll to look at, high keys at the top."""
    return Image.fromarray(np.where(roll.notes[::-1], 20, 235).astype(np.uint8)).resize((SIDE, SIDE), Image.NEAREST)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rolls", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder of the stickers collection, for its names")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--each", type=int, default=2, help="results of each thing")
    arguments = parser.parse_args()
    pipe, rng = open_model(arguments.rolls), np.random.default_rng(7)
    known = {name: [motif(name, rng) for _ in range(40)] for name in MOTIFS}
    names = [name for name in MOTIFS for _ in range(arguments.each)]
    generators = [torch.Generator().manual_seed(place) for place in range(len(names))]
    made = pipe(text=names, outputs="roll", extras=(), num_inference_steps=20, guidance_scale=2.0, generator=generators).roll
    new = [motif(name, rng) for name in names]
    shown = pipe(roll=new, outputs="image", extras=["prompt_map"], generator=generators).image
    report = {"text to roll": f"{sum(nearest(m, known) == n for m, n in zip(made, names))} of {len(names)}"}
    if arguments.data:
        from opencodi.collections.stickers.evaluation.judging import best_concepts
        from opencodi.collections.stickers.judges.networks import load_judges
        from opencodi.data.shards import load_concepts

        codes = {each["name"]: code for code, each in load_concepts(arguments.data).items()}
        seen = best_concepts(load_judges(), "image", shown, among=[codes[name] for name in MOTIFS])
        report["roll to picture"] = f"{sum(codes[n] == s for n, s in zip(names, seen))} of {len(names)}"
    print(json.dumps(report))
    columns = range(0, len(names), arguments.each)
    sheet = Image.new("RGB", (SIDE * len(columns), 3 * SIDE), "white")
    for column, place in enumerate(columns):
        for row, each in enumerate((picture(made[place]), picture(new[place]), shown[place].resize((SIDE, SIDE)))):
            sheet.paste(each.convert("RGB"), (SIDE * column, SIDE * row))
    sheet.save(arguments.output)


if __name__ == "__main__":
    main()
