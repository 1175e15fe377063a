"""Seconds of all four outputs from one prompt, of this checkout beside another's, in one interleaved run.

    git worktree add ../old REVISION
    python benchmarks/outputs_speed.py --against ../old

prints a Markdown table and the ratios. Each checkout runs in a process of its own; they take turns, so that both meet the
same machine. Wall time says what one waits, on a machine with nothing else to do. Processor time, of all threads together,
says nearly the same of one thread (``--threads 1``) however busy the machine is.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from statistics import median

from measuring import print_table

HERE = Path(__file__).resolve().parent.parent
CHILD = """
import json, sys
from time import perf_counter, process_time
import torch
from opencodi import AnyToAnyPipeline
torch.set_num_threads(int(sys.argv[2]))
pipeline = AnyToAnyPipeline.from_pretrained(sys.argv[1])
pipeline.set_progress_bar_config(disable=True)
for prompt in sys.stdin:
    wall, processor = perf_counter(), process_time()
    pipeline(text=prompt.strip(), outputs="all", generator=torch.Generator().manual_seed(0))
    print(json.dumps([perf_counter() - wall, process_time() - processor]), flush=True)
"""


def start(checkout: Path, model: str, threads: int) -> subprocess.Popen:
    """A process that makes all four outputs of every prompt it is given, with the code of that checkout."""
    environment = os.environ | {"PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-c", CHILD, model, str(threads)]
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )


def ask(child: subprocess.Popen, prompt: str) -> tuple[float, float]:
    """Wall and processor seconds of one prompt."""
    child.stdin.write(f"{prompt}\n")
    line = child.stdout.readline()
    if not line:
        raise SystemExit(f"error: the measurement ended with exit code {child.wait()}")
    return tuple(json.loads(line))


def processor_name() -> str:
    """What the system calls its processor."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, required=True, help="the folder of another checkout")
    parser.add_argument("--model", default="stickers")
    parser.add_argument("--prompt", default="a rooster")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5, help="of each, after one that is not counted")
    given = parser.parse_args()
    if not (given.against / "src" / "opencodi").is_dir():
        parser.error(f"--against: {given.against} holds no src/opencodi; give the folder of a checkout")

    checkouts = {"other": given.against.resolve(), "this": HERE}
    children = {name: start(folder, given.model, given.threads) for name, folder in checkouts.items()}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in checkouts}
    try:
        for run in range(given.runs + 1):
            for name, child in children.items():
                measured = ask(child, given.prompt)
                if run:
                    seconds[name].append(measured)
    finally:
        for child in children.values():
            child.stdin.close()
            child.wait()

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{processor_name()}, {cores} cores, {given.threads} threads, {given.runs} runs each\n")
    rows = []
    for place, clock in enumerate(("wall", "processor")):
        for what, of in (("minimum", min), ("median", median)):
            other, this = (of([each[place] for each in seconds[name]]) for name in ("other", "this"))
            rows.append([f"{clock} seconds, {what}", f"{other:.2f}", f"{this:.2f}", f"{this / other:.2f}"])
    print_table(["all four outputs", "other", "this", "ratio"], rows)


if __name__ == "__main__":
    main()
