"""What is the smallest number of steps that does as well as many? Right outputs, by the judges, for every way to an output.

    python benchmarks/choose_steps.py stickers --output docs/results/steps.json

prints a Markdown table for each output: from what it is made, by steps, and their mean. The smallest number of steps whose
mean is within one point of the largest number's is what a model should take. Inputs are names and validation items, these
repeatedly with other noise; the same noise for every number of steps.
"""

import argparse
import json
from pathlib import Path
from statistics import fmean
from typing import Any

from ways import share_right

from opencodi import AnyToAnyPipeline
from opencodi.evaluation.bench import Bench
from opencodi.evaluation.budget import FULL
from opencodi.evaluation.collection import Collection
from opencodi.evaluation.judges import load_judges
from opencodi.modality import Modality

INPUTS = {
    Modality.TEXT: ("text", "image", "video", "audio"),
    Modality.IMAGE: ("text", "image"),
    Modality.VIDEO: ("text", "image"),
    Modality.AUDIO: ("text", "audio"),
}
WITHIN = 0.01


def fewest(means: dict[int, float]) -> int:
    """The smallest number of steps within one point of the largest number's mean share."""
    return min(steps for steps, share in means.items() if share >= means[max(means)] - WITHIN - 1e-9)


def main() -> None:
    """Read the arguments, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--output", type=Path, help="a JSON file for all numbers; other outputs in it stay")
    parser.add_argument("--outputs", nargs="+", type=Modality, default=list(Modality))
    parser.add_argument("--steps", type=int, nargs="+", default=(4, 6, 8, 12, 20, 28, 50))
    parser.add_argument("--count", type=int, default=192, help="samples for each way and number of steps")
    arguments = parser.parse_args()

    pipeline = AnyToAnyPipeline.from_pretrained(arguments.model)
    pipeline.set_progress_bar_config(disable=True)
    bench = Bench(pipeline, load_judges(), Collection.open(), FULL)
    before = arguments.output and arguments.output.is_file()
    found: dict[str, Any] = json.loads(arguments.output.read_text()) if before else {}
    for output in arguments.outputs:
        print(f"\n| from \\ steps | {' | '.join(map(str, arguments.steps))} |\n|---|{'---|' * len(arguments.steps)}")
        shares: dict[str, list[float]] = {}
        for source in INPUTS[output]:
            way = f"{source}-{output}"
            shares[way] = [
                share_right(bench, way, arguments.count, repeated=True, num_inference_steps=steps)
                for steps in arguments.steps
            ]
            print(f"| {way} | {' | '.join(f'{share:.1%}' for share in shares[way])} |", flush=True)
        means = [fmean(column) for column in zip(*shares.values())]
        taken = fewest(dict(zip(arguments.steps, means)))
        print(f"| mean | {' | '.join(f'{share:.1%}' for share in means)} |\n\n{output}: {taken} steps", flush=True)
        found[output] = {"steps": list(arguments.steps), "count": arguments.count, "shares": shares, "fewest": taken}
        if arguments.output:
            arguments.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
