"""Hold ``opencodi train --plan`` against runs of one and of two processes.

    python benchmarks/scaling.py recipes/stickers image_autoencoder image_diffuser --output docs/results/scaling.json

Each stage trains for some steps on random data in the shapes of the real (``opencodi.training.stand_in``), by the same loop as
always. ``samples/s`` is by the clock, ``samples per processor second`` by the time that the processors worked, which other
programs on the machine change less. Earlier stages have random weights, which costs the same.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from measuring import print_table

from opencodi.training.chain import load_stages
from opencodi.training.components import save_component
from opencodi.training.loop import train
from opencodi.training.options import Options
from opencodi.training.plan import needed_stages, plan_stages
from opencodi.training.processes import make_accelerator
from opencodi.training.run import build_task, precision_of
from opencodi.training.stand_in import stand_in

WORKER = "OPENCODI_SCALING"


def measure_here(folder: Path, recipes: Path, name: str, steps: int) -> None:
    """One process of a run: train, and let the first write what it took."""
    torch.set_num_threads(1)
    device = torch.device("cpu")
    stage = next(each for each in load_stages(recipes, folder) if each.name == name)
    recipe = stage.recipe.model_copy(update={"steps": steps, "report_every": steps, "validate_every": steps + 1})
    accelerator = make_accelerator(device, precision_of(recipe, device))
    task = build_task(recipe, str(stage.path), device, stand_in(recipe.task))
    task.begin = task.finish = lambda *_: None  # what comes before and after the steps is not measured
    task.validate, task.sample, task.export = (lambda *_: {}), (lambda *_: None), (lambda *_: None)
    before = resource.getrusage(resource.RUSAGE_SELF)
    begun = time.perf_counter()
    train(task, recipe, folder / f"run-{name}-{accelerator.num_processes}", options=Options(), accelerator=accelerator)
    seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    told = torch.tensor([worked])
    if accelerator.num_processes > 1:
        torch.distributed.all_reduce(told)
    if accelerator.is_main_process:
        samples = steps * recipe.batch_size
        found = {"samples_per_second": samples / seconds, "samples_per_processor_second": samples / float(told)}
        found["peak_memory_mb"] = after.ru_maxrss / 1e3
        (folder / f"{name}-{accelerator.num_processes}.json").write_text(json.dumps(found), encoding="utf-8")


def measure(folder: Path, recipes: Path, name: str, processes: int, steps: int) -> dict[str, float]:
    """A run of some processes, started by torchrun."""
    task = json.dumps([str(folder), str(recipes), name, steps])
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = torchrun if processes > 1 else [sys.executable]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", WORKER: task}
    ran = subprocess.run([*command, __file__], env=environment, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"error: {name} in {processes} processes fails\n{ran.stderr[-2000:]}")
    return json.loads((folder / f"{name}-{processes}.json").read_text(encoding="utf-8"))


def make_components(stages, names: set[str], folder: Path) -> None:
    """Write what the stages named need, on random weights."""
    for stage in stages:
        if stage.name in needed_stages(stages, names, folder) - names:
            task = build_task(stage.recipe, str(stage.path), torch.device("cpu"), stand_in(stage.recipe.task))
            for name, part in task.components().items():
                save_component(part, folder / name)


def main() -> None:
    """Read the arguments, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", type=Path, help="folder of recipes")
    parser.add_argument("stages", nargs="+", help="names of recipes in it")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        stages = load_stages(given.recipes, folder)
        make_components(stages, set(given.stages), folder)
        for name in given.stages:
            wanted = [stage for stage in stages if stage.name == name]
            begun = time.process_time(), time.perf_counter()
            (plan,) = plan_stages(stages, wanted, Options(device="cpu"))
            share = (time.process_time() - begun[0]) / (time.perf_counter() - begun[1])
            one, two = (measure(folder, given.recipes, name, processes, given.steps) for processes in (1, 2))
            found[name] = {
                "planned_samples_per_second": plan.rate,
                "planned_samples_per_processor_second": plan.rate / share,
                "planned_memory_mb": plan.memory / 1e6,
                "flops_per_sample": plan.flops,
                **{f"one_{key}": value for key, value in one.items()},
                **{f"two_{key}": value for key, value in two.items()},
            }
    titles = ("planned", "one process", "two processes", "planned", "one process", "two processes")
    rows = []
    for name, values in found.items():
        kinds = ("samples_per_second", "samples_per_processor_second")
        rows.append([name, *(f"{values[f'{who}_{kind}']:.3g}" for kind in kinds for who in ("planned", "one", "two"))])
    print_table(["stage", *(f"{title} /s" for title in titles[:3]), *(f"{t} /processor s" for t in titles[3:])], rows)
    if given.output is not None:
        given.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if WORKER in os.environ:
        folder, recipes, name, steps = json.loads(os.environ[WORKER])
        measure_here(Path(folder), Path(recipes), name, steps)
    else:
        main()
