"""Which solver, how much guidance, and how many candidates does a model need? What it makes of names, by the judges.

    python benchmarks/choose_sampling.py stickers --output docs/results/sampling.json

prints Markdown tables, a row for each output: solver x steps; then, with the model's own solver and steps, the guidance scale,
the part of the steps that is guided, how many candidates are made of which one is kept, and how timesteps are spread over the
noise schedule. A picture, clip or sound counts if the judge's first choice is what was named, a text if it is exactly the name;
in brackets the Fréchet distance in the judge's features to real training items. The same names and noise for every setting.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any

import diffusers

from opencodi import AnyToAnyPipeline
from opencodi.collections.stickers.evaluation.bench import Bench
from opencodi.collections.stickers.evaluation.budget import FULL
from opencodi.collections.stickers.evaluation.collection import Collection
from opencodi.collections.stickers.evaluation.ways import distance_to_real, make_way
from opencodi.collections.stickers.judges.networks import load_judges
from opencodi.modality import Modality

SOLVERS = ("DDIMScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler")
INTERVALS = ((0.0, 1.0), (0.0, 0.5), (0.0, 0.75), (0.25, 1.0), (0.5, 1.0))
SPACINGS = ("trailing", "leading", "linspace")


def measure(bench: Bench, output: Modality, count: int, **settings: Any) -> dict[str, float | None]:
    """Share of right outputs, their distance to real ones (None of texts), and seconds for each."""
    started = perf_counter()
    made, right = make_way(bench, f"{Modality.TEXT}-{output}", count, repeated=True, **settings)
    seconds = (perf_counter() - started) / len(made)
    distance = None if output == Modality.TEXT else distance_to_real(bench, output, made)
    return {"share": fmean(right), "frechet": distance, "seconds": seconds}


def solver(pipeline: AnyToAnyPipeline, name: str, **changes: str) -> Any:
    """Another solver of the same noise schedule."""
    return getattr(diffusers, name).from_config(pipeline.scheduler.config, **changes)


def tables(bench: Bench, chosen: argparse.Namespace) -> Iterator[tuple[str, str, Sequence[Any], list[Any]]]:
    """(table, row, columns, cells), one after the other as they are measured."""
    pipeline, own = bench.pipeline, bench.pipeline.scheduler
    for name in chosen.solvers if chosen.steps else ():
        pipeline.scheduler = solver(pipeline, name)
        for output in chosen.outputs:
            cells = [measure(bench, output, chosen.count, num_inference_steps=steps) for steps in chosen.steps]
            yield "steps", f"{name} {output}", chosen.steps, cells
    pipeline.scheduler = own
    settings = {
        "guidance_scale": chosen.guidance,
        "guidance_interval": chosen.intervals,
        "num_candidates": chosen.candidates,
    }
    for name, values in settings.items():
        for output in chosen.outputs if values else ():
            yield name, output, values, [measure(bench, output, chosen.count, **{name: value}) for value in values]
    for output in chosen.outputs if chosen.spacings else ():
        cells = []
        for spacing in chosen.spacings:
            pipeline.scheduler = solver(pipeline, type(own).__name__, timestep_spacing=spacing)
            cells.append(measure(bench, output, chosen.count))
        pipeline.scheduler = own
        yield "timestep_spacing", output, chosen.spacings, cells


def written(cell: dict[str, float | None]) -> str:
    """``81% (120)``: the share, and the distance if there is one."""
    distance = "" if cell["frechet"] is None else f" ({cell['frechet']:.0f})"
    return f"{cell['share']:.0%}{distance}"


def stretch(words: str) -> tuple[float, float]:
    """``0:0.5`` → (0, 0.5)."""
    start, end = words.split(":")
    return float(start), float(end)


def main() -> None:
    """Read the arguments, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--output", type=Path, help="a JSON file for all numbers; other rows in it stay")
    parser.add_argument("--outputs", nargs="+", type=Modality, default=[m for m in Modality if m != Modality.VIDEO])
    parser.add_argument("--count", type=int, default=48, help="samples of each setting")
    parser.add_argument("--solvers", nargs="+", default=SOLVERS, help="of diffusers, for the table of steps")
    parser.add_argument("--steps", type=int, nargs="*", default=(4, 8, 12, 20, 50))
    parser.add_argument("--guidance", type=float, nargs="*", default=(1.0, 2.0, 3.0, 5.0))
    parser.add_argument("--intervals", type=stretch, nargs="*", default=INTERVALS, help="parts that are guided: 0:0.5")
    parser.add_argument("--spacings", nargs="*", default=SPACINGS, help="of diffusers' timestep_spacing")
    parser.add_argument("--candidates", type=int, nargs="*", default=(1, 2, 3, 4))
    parser.add_argument("--judges", type=Path, help="a folder of judges other than those of the package")
    arguments = parser.parse_args()

    pipeline = AnyToAnyPipeline.from_pretrained(arguments.model)
    pipeline.set_progress_bar_config(disable=True)
    bench = Bench(pipeline, load_judges(arguments.judges), Collection.open(), FULL)
    before = arguments.output and arguments.output.is_file()
    found: dict[str, Any] = json.loads(arguments.output.read_text()) if before else {}
    begun = None
    for table, row, columns, cells in tables(bench, arguments):
        if table != begun:
            print(f"\n| {table} | {' | '.join(map(str, columns))} |\n|---|{'---|' * len(columns)}")
        begun = table
        print(f"| {row} | {' | '.join(map(written, cells))} |", flush=True)
        found.setdefault(table, {})[row] = {"columns": columns, "count": arguments.count, "cells": cells}
        if arguments.output:
            arguments.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
