"""Train piano rolls: both recipes, into one folder.

    python -m examples.new_modality.train --output runs/rolls
"""

import argparse
from pathlib import Path

from opencodi.training.run import run_recipe

from . import data  # noqa: F401  the recipes name it

RECIPES = Path(__file__).parent / "recipes"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    for recipe in ("roll_bridging", "roll_diffuser"):
        print(recipe, run_recipe(RECIPES / f"{recipe}.yaml", output=arguments.output, device="cpu"))


if __name__ == "__main__":
    main()
