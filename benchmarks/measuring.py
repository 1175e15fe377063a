"""What the benchmarks share: a fresh process for every measurement, its peak memory, a Markdown table."""

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

TASK = "OPENCODI_BENCHMARK_TASK"
"""Environment variable that tells a script that it is the fresh process, and what to measure."""


def task() -> dict[str, Any] | None:
    """What this process was started to measure; None in the process that the user started."""
    return json.loads(os.environ[TASK]) if TASK in os.environ else None


def in_fresh_process(script: str, task: Mapping[str, Any]) -> dict[str, Any]:
    """Run a script in a process of its own, where ``task()`` gives the task; the last line it prints is its result as JSON."""
    ran = subprocess.run(
        [sys.executable, script], env={**os.environ, TASK: json.dumps(task)}, stdout=subprocess.PIPE, text=True
    )
    if ran.returncode:
        raise SystemExit(f"error: the measurement of {dict(task)} failed with exit code {ran.returncode}")
    return json.loads(ran.stdout.splitlines()[-1])


def peak_bytes() -> int:
    """The most memory this process has had resident, mapped files included."""
    status = Path("/proc/self/status")
    if status.exists():  # ``getrusage`` also counts the process that started this one
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text()).group(1)) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows as a Markdown table on standard output, each as soon as it is there."""
    for row in chain((titles, ["---"] * len(titles)), rows):
        print("| " + " | ".join(row) + " |", flush=True)
