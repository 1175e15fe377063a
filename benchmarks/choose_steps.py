"""What is the smallest number of steps that does as well as many? For every output, by the judges.

    python benchmarks/choose_steps.py stickers --output docs/results/steps.json

prints a Markdown table for each output: the share of right ones by what they are made from and by steps, the mean of these, and
the Fréchet distance in the judge's features of what is made from names to real training items. A model should take the
smallest number of steps whose mean is within one point of the largest number's, and whose distance is at most 2 % longer.
Inputs are names and validation items, these repeatedly; the same noise for every number of steps.
"""

import argparse
import json
from pathlib import Path
from statistics import fmean
from typing import Any

from opencodi import AnyToAnyPipeline
from opencodi.collections.stickers.evaluation.bench import Bench
from opencodi.collections.stickers.evaluation.budget import FULL
from opencodi.collections.stickers.evaluation.collection import Collection
from opencodi.collections.stickers.evaluation.ways import distance_to_real, make_way
from opencodi.collections.stickers.judges.networks import load_judges
from opencodi.modality import Modality

INPUTS = {
    Modality.TEXT: ("text", "image", "video", "audio"),
    Modality.IMAGE: ("text", "image"),
    Modality.VIDEO: ("text",),
    Modality.AUDIO: ("text", "audio"),
}
WITHIN, FURTHER = 0.01, 1.02


def fewest(shares: dict[int, float], distances: dict[int, float] | None = None) -> int:
    """The smallest number of steps that does as well as the largest.

    Args:
        shares: {steps: share of right outputs}; one point less will do.
        distances: {steps: distance to real items}, if there is one; 2 % more will do.
    """
    most = max(shares)
    enough = {n for n in shares if shares[n] >= shares[most] - WITHIN - 1e-9}
    near = {n for n in distances if distances[n] <= FURTHER * distances[most]} if distances else enough
    return min(enough & near)


def main() -> None:
    """Read the arguments, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--output", type=Path, help="a JSON file for all numbers; other outputs in it stay")
    parser.add_argument("--outputs", nargs="+", type=Modality, default=list(Modality))
    parser.add_argument("--steps", type=int, nargs="+", default=(3, 4, 6, 8, 12, 20, 28, 50))
    parser.add_argument("--count", type=int, default=192, help="samples for each way and number of steps")
    arguments = parser.parse_args()

    pipeline = AnyToAnyPipeline.from_pretrained(arguments.model)
    pipeline.set_progress_bar_config(disable=True)
    bench = Bench(pipeline, load_judges(), Collection.open(), FULL)
    before = arguments.output and arguments.output.is_file()
    found: dict[str, Any] = json.loads(arguments.output.read_text()) if before else {}
    steps, count = list(arguments.steps), arguments.count
    for output in arguments.outputs:
        print(f"\n| {output} from \\ steps | {' | '.join(map(str, steps))} |\n|---|{'---|' * len(steps)}")
        shares: dict[str, list[float]] = {}
        distances: list[float] = []
        for source in INPUTS[output]:
            shares[source] = []
            for number in steps:
                made, right = make_way(bench, f"{source}-{output}", count, True, num_inference_steps=number)
                shares[source].append(fmean(right))
                if source == Modality.TEXT != output:
                    distances.append(distance_to_real(bench, output, made))
            print(f"| {source} | {' | '.join(f'{share:.1%}' for share in shares[source])} |", flush=True)
        means = [fmean(column) for column in zip(*shares.values())]
        print(f"| mean | {' | '.join(f'{share:.1%}' for share in means)} |")
        if distances:
            print(f"| Fréchet distance | {' | '.join(f'{distance:.1f}' for distance in distances)} |")
        taken = fewest(dict(zip(steps, means)), dict(zip(steps, distances)))
        print(f"\n{output}: {taken} steps", flush=True)
        found[output] = {"steps": steps, "count": count, "shares": shares, "frechet": distances, "fewest": taken}
        if arguments.output:
            arguments.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
