"""How a low-rank adapter of pictures changes while it learns: its look and its shapes at some steps of one run.

    python benchmarks/lora_steps.py recipes/own/image_lora.yaml --own my-data --every 50 --output lora_steps.json

At each validation the averaged adapter makes the pictures of ``benchmarks/lora.py``, from the same prompts and seeds. ``--set``
changes values of the recipe: ``--set learning_rate=0.001 settings.lora.rank=4``.
"""

import argparse
import json
from pathlib import Path

import torch
import yaml
from lora import distance, named_right, prompts_for, read_own
from measuring import print_table
from PIL import Image

from opencodi import AnyToAnyPipeline
from opencodi.data.shards import find_data
from opencodi.training.loop import train
from opencodi.training.options import Options
from opencodi.training.processes import make_accelerator
from opencodi.training.recipe import Recipe
from opencodi.training.run import build_task, precision_of


def changed(values: dict, changes: list[str]) -> dict:
    """The values of a recipe with ``KEY.KEY=VALUE`` on top."""
    for change in changes:
        path, _, value = change.partition("=")
        *outer, last = path.split(".")
        place = values
        for key in outer:
            place = place[key]
        place[last] = yaml.safe_load(value)
    return values


def main() -> None:
    """Train once, measure at every so many steps, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--own", type=Path, required=True, help="your pictures, as opencodi data prepare stored them")
    parser.add_argument("--every", type=int, default=50, help="steps between measurements")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="other values of the recipe")
    parser.add_argument("--run", type=Path, required=True, help="folder for the run and its adapter")
    parser.add_argument("--data", type=Path, help="folder of the stickers collection, for its names")
    parser.add_argument("--output", type=Path, help="JSON file to write; a picture is written beside it")
    given = parser.parse_args()
    torch.set_num_threads(1)
    values = changed(yaml.safe_load(given.recipe.read_text(encoding="utf-8")), given.set)
    recipe = Recipe(**{**values, "model_folder": str(given.run), "validate_every": given.every})
    device = torch.device("cpu")
    accelerator = make_accelerator(device, precision_of(recipe, device))
    task = build_task(recipe, str(given.recipe), device, given.own)
    own, called = read_own(given.own, "image")
    known, fresh = prompts_for(called)
    names, data = known + fresh, find_data(given.data)
    pipe = AnyToAnyPipeline.from_pretrained(recipe.base_model, image_denoiser=next(iter(task.trained.values())).network)
    pipe.set_progress_bar_config(disable=True)
    validated, rows, found = task.validate, [], []

    def validate(generator: torch.Generator) -> dict[str, float]:
        generators = [torch.Generator().manual_seed(place) for place in range(len(names))]
        made = pipe(text=names, outputs="image", generator=generators).image
        right = named_right(made, names, names, data)
        rows.append(made)
        measures = {
            "step": len(found) * given.every,
            "distance_known": distance(made[: len(known)], own),
            "distance_others": distance(made[len(known) :], own),
            "right_known": sum(right[: len(known)]),
            "right_others": sum(right[len(known) :]),
            "validation_loss": validated(generator)["loss"],
        }
        found.append(measures)
        print(json.dumps(measures), flush=True)
        return {"loss": measures["validation_loss"]}

    task.validate, task.sample = validate, lambda *_: None
    with torch.no_grad():
        validate(torch.Generator().manual_seed(0))  # before the first step
    train(task, recipe, given.run / "training", options=Options(), accelerator=accelerator)
    table = [
        [
            str(each["step"]),
            *(f"{each[key]:.3f}" for key in ("distance_known", "distance_others")),
            f"{each['right_known']} of {len(known)}",
            f"{each['right_others']} of {len(fresh)}",
            f"{each['validation_loss']:.3f}",
        ]
        for each in found
    ]
    titles = ["step", "distance, names among them", "distance, other names", "right", "right", "validation loss"]
    print_table(titles, table)
    if given.output is not None:
        told = {"settings": {"set": given.set, "steps": recipe.steps, "known": known, "others": fresh}, "found": found}
        given.output.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        sheet = Image.new("RGB", (64 * len(names), 64 * len(rows)), "white")
        for row, pictures in enumerate(rows):
            for column, picture in enumerate(pictures):
                sheet.paste(picture.convert("RGB").resize((64, 64)), (64 * column, 64 * row))
        sheet.save(given.output.with_suffix(".png"))


if __name__ == "__main__":
    main()
