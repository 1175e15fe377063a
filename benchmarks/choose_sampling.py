"""How many steps, which solver and how much guidance does a model need? Scores of names given as text, by the judges.

    python benchmarks/choose_sampling.py stickers --output docs/results/sampling.json

prints Markdown tables: solver x steps at the model's own guidance, then at its own steps the guidance scale, the guidance
interval, and how the solver's timesteps are spread over the noise schedule. A picture, clip or sound counts if the judge's
first choice is what was named, a text if it is exactly the name.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import diffusers
import numpy as np
import torch

from opencodi import AnyToAnyPipeline
from opencodi.data.captions import article
from opencodi.data.shards import find_data, load_concepts
from opencodi.evaluation.judges import Judges, load_judges
from opencodi.evaluation.judging import in_top, judge, known_concepts
from opencodi.modality import Modality

OUTPUTS = (Modality.IMAGE, Modality.TEXT, Modality.AUDIO, Modality.VIDEO)
SOLVERS = ("DDIMScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler")
STEPS = (4, 6, 8, 10, 15, 20, 50)
GUIDANCE = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
INTERVALS = ((0.0, 1.0), (0.0, 0.5), (0.0, 0.75), (0.25, 1.0), (0.5, 1.0))
SPACINGS = ("trailing", "leading", "linspace")
BATCH = {modality: 4 if modality == Modality.VIDEO else 16 for modality in Modality}
CAPTION = {Modality.AUDIO: lambda name: f"the sound of {article(name)}", Modality.VIDEO: lambda name: f"{name}, moving"}


class Scores:
    """One model, one set of names for each output, the same noise for every setting."""

    def __init__(self, pipeline: AnyToAnyPipeline, judges: Judges, names: dict[str, str], count: int, seed: int):
        self.pipeline, self.judges, self.names, self.seed = pipeline, judges, names, seed
        rng = np.random.default_rng(seed)
        self.codes = {
            output: rng.permutation(
                [c for c in (names if output == Modality.TEXT else known_concepts(judges, output)) if c in names]
            )[:count].tolist()
            for output in OUTPUTS
        }

    def measure(self, output: Modality, **settings: Any) -> dict[str, float]:
        """Share of right outputs and seconds per output."""
        codes, made, started = self.codes[output], [], perf_counter()
        caption = CAPTION.get(output, lambda name: name)
        for start in range(0, len(codes), BATCH[output]):
            part = codes[start : start + BATCH[output]]
            generators = [torch.Generator().manual_seed(self.seed + start + i) for i in range(len(part))]
            prompts = [caption(self.names[code]) for code in part]
            made += self.pipeline(text=prompts, outputs=[output], generator=generators, **settings)[output]
        seconds = (perf_counter() - started) / len(codes)
        if output == Modality.TEXT:
            right = [said == self.names[code] for said, code in zip(made, codes)]
        else:
            logits = judge(self.judges, output, made).concept_logits
            right = in_top(logits, known_concepts(self.judges, output), codes, 1)
        return {"share": float(np.mean(right)), "n": len(codes), "seconds": seconds}


def with_solver(pipeline: AnyToAnyPipeline, name: str, **changes: str) -> None:
    """Swap the scheduler for another solver of the same noise schedule."""
    pipeline.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config, **changes)


def table(head: str, columns: Sequence[Any], rows: dict[str, list[dict[str, float]]]) -> str:
    """A Markdown table of percentages."""
    lines = [f"| {head} | {' | '.join(map(str, columns))} |", f"|---|{'---|' * len(columns)}"]
    for name, cells in rows.items():
        shares = " | ".join(f"{cell['share']:.0%}" for cell in cells)
        lines.append(f"| {name} | {shares} |")
    return "\n".join(lines)


def main() -> None:
    """Read the arguments, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--output", type=Path, help="a JSON file for all numbers")
    parser.add_argument("--count", type=int, default=128, help="names for each output")
    parser.add_argument("--steps", type=int, nargs="*", default=STEPS)
    parser.add_argument("--guidance", type=float, nargs="*", default=GUIDANCE)
    parser.add_argument(
        "--intervals",
        type=lambda words: tuple(map(float, words.split(":"))),
        nargs="*",
        default=INTERVALS,
        help="stretches of the steps that are guided, such as 0:0.5",
    )
    parser.add_argument("--spacings", nargs="*", default=SPACINGS, help="of diffusers' timestep_spacing")
    parser.add_argument("--solvers", nargs="+", default=SOLVERS)
    parser.add_argument("--outputs", nargs="+", type=Modality, default=OUTPUTS)
    parser.add_argument("--judges", type=Path, help="a folder of judges other than those of the package")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    pipeline = AnyToAnyPipeline.from_pretrained(arguments.model)
    pipeline.set_progress_bar_config(disable=True)
    judges = load_judges(arguments.judges)
    names = {code: concept["name"] for code, concept in load_concepts(find_data()).items()}
    scores = Scores(pipeline, judges, names, arguments.count, arguments.seed)
    found: dict[str, Any] = {"model": arguments.model, "steps": {}, "guidance": {}, "intervals": {}, "spacings": {}}
    for solver in arguments.solvers if arguments.steps else ():
        with_solver(pipeline, solver)
        for output in arguments.outputs:
            cells = [scores.measure(output, num_inference_steps=steps) for steps in arguments.steps]
            found["steps"][f"{solver} {output}"] = cells
    with_solver(pipeline, arguments.solvers[0])
    for output in arguments.outputs:
        found["guidance"][output] = [scores.measure(output, guidance_scale=scale) for scale in arguments.guidance]
        found["intervals"][output] = [scores.measure(output, guidance_interval=each) for each in arguments.intervals]
    for spacing in arguments.spacings:
        with_solver(pipeline, arguments.solvers[0], timestep_spacing=spacing)
        for output in arguments.outputs:
            found["spacings"].setdefault(output, []).append(scores.measure(output))
    stretches = [f"{start:g} to {end:g}" for start, end in arguments.intervals]
    tables = [
        ("solver, output \\ steps", arguments.steps, found["steps"]),
        ("output \\ guidance", arguments.guidance, found["guidance"]),
        ("output \\ guided part", stretches, found["intervals"]),
        ("output \\ spacing", arguments.spacings, found["spacings"]),
    ]
    print("\n\n".join(table(*each) for each in tables if each[1]))
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
