"""Hold ``opencodi train --plan`` against runs of one and, with ``--two``, of two processes.

    python benchmarks/scaling.py recipes/own image_autoencoder image_diffuser --data prepared --output docs/results/scaling.json

Each stage is planned and run in turn, several times, so that both see the same machine. A run is the loop as always; its rate
is that of the steps after the first few, as a long run has it. Without ``--data`` it trains on random data in the shapes of
the real (``opencodi.training.stand_in``). ``/s`` is by the clock, ``/processor s`` by the time that the processors worked,
which other programs on the machine change less. Earlier stages have random weights, which costs the same.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from measuring import print_table

from opencodi.training.chain import Stage, load_stages
from opencodi.training.components import save_component
from opencodi.training.loop import train
from opencodi.training.options import Options
from opencodi.training.plan import needed_stages, plan_stages
from opencodi.training.processes import make_accelerator
from opencodi.training.run import build_task, precision_of
from opencodi.training.stand_in import stand_in

WORKER = "OPENCODI_SCALING"
WARM = 3
"""Steps before the first that counts."""


def run(stage: Stage, place: Path, data: Path | None, steps: int) -> dict[str, float]:
    """Train a stage here; what its later steps took in this process."""
    device = torch.device("cpu")
    values = {"steps": steps + WARM + 1, "report_every": 20, "validate_every": steps + WARM + 2}
    recipe = stage.recipe.model_copy(update=values)
    accelerator = make_accelerator(device, precision_of(recipe, device))
    task = build_task(recipe, str(stage.path), device, data or stand_in(recipe.task))
    task.begin = task.finish = lambda *_: None  # what comes before and after the steps is not measured
    task.validate, task.sample, task.export = (lambda *_: {}), (lambda *_: None), (lambda *_: None)
    moments: list[tuple[float, float]] = []
    task.register_forward_pre_hook(lambda *_: moments.append((time.perf_counter(), time.process_time())))
    train(task, recipe, place, options=Options(), accelerator=accelerator)
    parts = recipe.gradient_accumulation_steps
    (clock, worked), (clock_after, worked_after) = moments[WARM * parts], moments[(WARM + steps) * parts]
    told = torch.tensor([worked_after - worked])
    if accelerator.num_processes > 1:
        torch.distributed.all_reduce(told)
    samples = steps * parts * recipe.batch_size
    return {"per_second": samples / (clock_after - clock), "per_processor_second": samples / float(told)}


def stage_of(recipes: Path, folder: Path, name: str) -> Stage:
    """A recipe of the folder, trained into another."""
    return next(each for each in load_stages(recipes, folder) if each.name == name)


def two_processes(folder: Path, recipes: Path, name: str, data: Path | None, steps: int) -> dict[str, float]:
    """A run of two processes, started by torchrun."""
    task = json.dumps([str(folder), str(recipes), name, data and str(data), steps])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", WORKER: task}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"error: {name} in two processes fails\n{ran.stderr[-2000:]}")
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def make_components(stages: list[Stage], names: set[str], folder: Path) -> None:
    """Write what the stages named need, on random weights."""
    needed = needed_stages(stages, names, folder)
    for stage in stages:
        made = set(stage.recipe.writes) - set(stage.recipe.reads)
        if stage.name in needed and not all((folder / name).is_dir() for name in made):
            task = build_task(stage.recipe, str(stage.path), torch.device("cpu"), stand_in(stage.recipe.task))
            for name, part in task.components().items():
                save_component(part, folder / name)


def main() -> None:
    """Read the arguments, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", type=Path, help="folder of recipes")
    parser.add_argument("stages", nargs="+", help="names of recipes in it")
    parser.add_argument("--data", type=Path, help="what the runs train on; by default random data")
    parser.add_argument("--steps", type=int, default=20, help="of a run that count")
    parser.add_argument("--rounds", type=int, default=3, help="how often each stage is planned and run")
    parser.add_argument("--two", action="store_true", help="also run two processes")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        stages = load_stages(given.recipes, folder)
        make_components(stages, set(given.stages), folder)
        for name in given.stages:
            stage = stage_of(given.recipes, folder, name)
            planned, ran = [], []
            for number in range(given.rounds):
                (plan,) = plan_stages(stages, [stage], Options(device="cpu"))
                planned.append(plan)
                ran.append(run(stage, folder / f"run-{name}-{number}", given.data, given.steps))
            values = found[name] = {
                "planned_per_second": statistics.median(plan.rate for plan in planned),
                "planned_per_processor_second": statistics.median(1 / plan.worked for plan in planned),
                "planned_memory_mb": planned[0].memory / 1e6,
                "flops_per_sample": planned[0].flops,
                **{f"one_{key}": statistics.median(each[key] for each in ran) for key in ran[0]},
            }
            if given.two:
                two = two_processes(folder, given.recipes, name, given.data, given.steps)
                values |= {f"two_{key}": value for key, value in two.items()}
            print(name, json.dumps(values), file=sys.stderr, flush=True)
            if given.output is not None:
                given.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    who = ("planned", "one", "two")[: 3 if given.two else 2]
    rows = []
    for name, values in found.items():
        kinds = ("per_second", "per_processor_second")
        rates = [[values[f"{each}_{kind}"] for each in who] for kind in kinds]
        off = rates[1][0] / rates[1][1] - 1
        rows.append([name, *(f"{rate:.3g}" for kind in rates for rate in kind), f"{off:+.0%}"])
    called = {"planned": "planned", "one": "one process", "two": "two processes"}
    titles = [f"{called[each]} {unit}" for unit in ("/s", "/processor s") for each in who]
    print_table(["stage", *titles, "plan off by"], rows)


if __name__ == "__main__":
    if WORKER in os.environ:
        torch.set_num_threads(1)
        place, recipes, name, data, steps = json.loads(os.environ[WORKER])
        folder = Path(place)
        told = run(stage_of(Path(recipes), folder, name), folder / f"two-{name}", data and Path(data), steps)
        if os.environ["RANK"] == "0":
            (folder / f"{name}.json").write_text(json.dumps(told), encoding="utf-8")
    else:
        main()
