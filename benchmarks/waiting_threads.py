"""Seconds of a picture by how threads of OpenMP wait for one another: spinning, spinning briefly, or asleep.

    python benchmarks/waiting_threads.py

prints a Markdown table and the machine's load. Each way runs in a process of its own, and they take turns, so that all meet
the same machine. It is on a busy machine that they differ most.
"""

import argparse
import os
import subprocess
import sys
from statistics import median

from measuring import print_table

CHILD = """
import sys
from time import perf_counter
import torch
from opencodi import AnyToAnyPipeline
torch.set_num_threads(int(sys.argv[1]))
pipeline = AnyToAnyPipeline.from_pretrained(sys.argv[2])
pipeline.set_progress_bar_config(disable=True)
for outputs in sys.stdin:
    started = perf_counter()
    pipeline(text="a rooster", outputs=outputs.strip(), generator=torch.Generator().manual_seed(0))
    print(perf_counter() - started, flush=True)
"""

WAYS = {
    "spin (as OpenMP does)": (2, {}),
    "spin briefly (GOMP_SPINCOUNT=10000)": (2, {"GOMP_SPINCOUNT": "10000"}),
    "sleep (OMP_WAIT_POLICY=passive)": (2, {"OMP_WAIT_POLICY": "passive"}),
    "one thread": (1, {}),
}


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="stickers")
    parser.add_argument("--outputs", default="image")
    parser.add_argument("--runs", type=int, default=5, help="of each, after one that is not counted")
    given = parser.parse_args()

    unset = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    children = {
        way: subprocess.Popen(
            [sys.executable, "-c", CHILD, str(threads), given.model],
            env=inherited | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        for way, (threads, variables) in WAYS.items()
    }
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    try:
        for run in range(given.runs + 1):
            for way, child in children.items():
                child.stdin.write(f"{given.outputs}\n")
                line = child.stdout.readline()
                if not line:
                    raise SystemExit(f"error: the measurement ended with exit code {child.wait()}")
                if run:
                    seconds[way].append(float(line))
    finally:
        for child in children.values():
            child.stdin.close()
            child.wait()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {given.runs} runs each\n")
    rows = [[way, f"{min(each):.2f}", f"{median(each):.2f}", f"{max(each):.2f}"] for way, each in seconds.items()]
    print_table(["two threads wait", "minimum", "median", "maximum"], rows)


if __name__ == "__main__":
    main()
