"""Kill a training run at random moments and at every write, resume it, and compare it with a run that was never stopped.

    python benchmarks/kill_runs.py --moments 100 --output docs/results/kill_runs.json

Each run is a process of its own that gets SIGKILL, which nothing can catch. It then goes on as a user would let it: with
``--resume`` if there is a checkpoint, else from the start. A run counts as identical if its weights, averages, optimizer,
exported component and logged losses are the same bytes and numbers as those of the run that nobody stopped, and if the same
checkpoints are left, of which the same is the best.

Writes are what Python announces by audit events: files opened for writing, renamed, removed, folders made and removed. The
weights themselves are written by safetensors, which announces nothing; random moments hit these.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import torch
import yaml
from measuring import print_table

from opencodi.training.checkpoint import find_checkpoints, step_of
from opencodi.training.run import run_recipe

ROOT = Path(__file__).parents[1]
NAME = "image_autoencoder"
STEPS = 5
EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir"}
KILLED = -signal.SIGKILL


def write_recipe(folder: Path) -> Path:
    """The shipped recipe at the smallest size, with a checkpoint and a validation after nearly every step."""
    values = yaml.safe_load((ROOT / "recipes" / "stickers" / f"{NAME}.yaml").read_text(encoding="utf-8"))
    values["settings"] |= {"latent_channels": 4, "block_out_channels": [8, 8], "norm_num_groups": 4}
    values |= {"steps": STEPS, "batch_size": 2, "warmup_steps": 1, "report_every": 1, "validate_every": 2}
    values |= {"checkpoint_minutes": 1e-9, "initial_weights": "", "model_folder": str(folder / "model")}
    path = folder / f"{NAME}.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def watch_writes(folder: Path, note: Callable[[], None]) -> None:
    """Call ``note`` before every write that Python announces; for the rest of this process."""

    def hook(event: str, arguments: tuple) -> None:
        if event in EVENTS:
            note()
        elif event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(str(folder)):
            mode, flags = arguments[1], arguments[2]
            if flags & (os.O_WRONLY | os.O_RDWR) or set(mode or "") & set("wax+"):
                note()

    sys.addaudithook(hook)


def train(folder: Path, data: Path) -> None:
    """Train until the end, in silence."""
    torch.set_num_threads(1)
    resume = bool(find_checkpoints(folder / "model" / "training" / NAME))
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        run_recipe(folder / f"{NAME}.yaml", data=data, device="cpu", resume=resume, keep=1)


def run(folder: Path, data: Path, fatal: int | None = None, counted: Path | None = None) -> None:
    """``train`` until the write of number ``fatal``; the number of writes goes to ``counted``."""
    writes = 0

    def note() -> None:
        nonlocal writes
        writes += 1
        if writes == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    watch_writes(folder, note)
    train(folder, data)
    if counted is not None:
        counted.write_text(str(writes), encoding="utf-8")


def in_child(kill_after: float | None = None, **options) -> int:
    """``run`` in a process of its own, killed after some seconds if it has not ended; its exit code."""
    child = get_context("fork").Process(target=run, kwargs=options)
    child.start()
    child.join(kill_after)
    if child.is_alive():
        child.kill()
        child.join()
    return child.exitcode


def result(folder: Path) -> dict[str, bytes | list[dict[str, float]]]:
    """Everything of a finished run that must not depend on when it was killed."""
    training = folder / "model" / "training" / NAME
    found: dict[str, bytes | list[dict[str, float]]] = {
        path.name: path.read_bytes() for path in (training / "checkpoint").glob("*.safetensors")
    }
    found |= {path.name: path.read_bytes() for path in (folder / "model" / NAME).iterdir()}
    found["kept"] = [{"step": step_of(path)} for path in find_checkpoints(training)]
    found["best"] = [json.loads((training / "checkpoint" / "state.json").read_text(encoding="utf-8"))["best"]]
    lines = map(json.loads, (training / "log.jsonl").read_text(encoding="utf-8").splitlines())
    found["log"] = [{name: value for name, value in line.items() if name != "items_per_second"} for line in lines]
    left = [path.name for path in (folder / "model").rglob("*") if path.name.endswith((".partial", ".old"))]
    return found | {"left over": b" ".join(name.encode() for name in left)}


def killed_once(whole: dict, data: Path, **kill) -> tuple[bool, bool, bool]:
    """Kill a new run, let it go on: (whether it was killed, it reached its end, it is the run that nobody stopped)."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_recipe(folder)
        killed = in_child(folder=folder, data=data, **kill) == KILLED
        ended = in_child(folder=folder, data=data) == 0
        found = result(folder) if ended else {}
        for name in sorted(name for name in whole.keys() | found.keys() if whole.get(name) != found.get(name)):
            print(
                f"killed at {kill}: {name} differs, {_brief(whole.get(name))} → {_brief(found.get(name))}",
                file=sys.stderr,
            )
        return killed, ended, found == whole


def _say(what: str, outcomes: list[tuple[bool, bool, bool]], total: int) -> None:
    killed, _, same = (sum(each) for each in zip(*outcomes))
    print(f"{what} {len(outcomes)} of {total}: {killed} killed, {same} identical", file=sys.stderr, flush=True)


def _brief(value: bytes | list | None) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) and len(value) > 200 else str(value)


def measure(data: Path, moments: int, every: int = 1, seed: int = 0) -> dict[str, int | float]:
    """Kill runs at ``moments`` random moments, and at every ``every``-th write."""
    with tempfile.TemporaryDirectory() as place:  # what is imported here, the children need not import
        write_recipe(Path(place))
        train(Path(place), data)
    with tempfile.TemporaryDirectory() as place:
        folder, counted = Path(place), Path(place) / "writes"
        write_recipe(folder)
        begun = time.monotonic()
        if in_child(folder=folder, data=data, counted=counted) != 0:
            raise SystemExit("error: the run that nobody kills fails")
        seconds, whole, writes = time.monotonic() - begun, result(folder), int(counted.read_text(encoding="utf-8"))
    rng = random.Random(seed)
    at_moments = []
    while len(at_moments) < moments:
        outcome = killed_once(whole, data, kill_after=rng.uniform(0, seconds))
        if outcome[0] or not all(outcome[1:]):
            at_moments.append(outcome)
            _say("moment", at_moments, moments)
        else:
            seconds *= 0.9  # the run ended first: the machine has become less busy
    fatal, at_writes = range(1, writes + 1, every), []
    for number in fatal:
        at_writes.append(killed_once(whole, data, fatal=number))
        _say("write", at_writes, len(fatal))
    found: dict[str, int | float] = {"steps": STEPS, "seconds_of_a_run": round(seconds, 2), "writes_of_a_run": writes}
    for name, runs in (("random_moments", at_moments), ("writes", at_writes)):
        killed, ended, same = (sum(each) for each in zip(*runs)) if runs else (0, 0, 0)
        found |= {name: len(runs), f"{name}_killed": killed, f"{name}_resumed": ended, f"{name}_identical": same}
    return found


def main() -> None:
    """Read the arguments, kill, print the table; exit code 1 if a run was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=100, help="random moments")
    parser.add_argument("--every", type=int, default=1, help="kill only at every write whose number this divides")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--data", type=Path, default=ROOT / "tests" / "data", help="folder of shards")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    given = parser.parse_args()
    found = measure(given.data, given.moments, given.every, given.seed)
    rows = [
        [kind.replace("_", " "), *(str(found[f"{kind}{what}"]) for what in ("", "_killed", "_resumed", "_identical"))]
        for kind in ("random_moments", "writes")
    ]
    print_table(["killed at", "runs", "killed before the end", "resumed to the end", "identical"], rows)
    if given.output is not None:
        given.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    lost = any(found[f"{kind}_identical"] < found[kind] for kind in ("random_moments", "writes"))
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
