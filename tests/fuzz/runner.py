"""Runs groups of cases in child processes and counts what becomes of them."""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .targets import LIMITS

ROOT = Path(__file__).parents[2]
CASE_SECONDS = LIMITS.timeout_seconds + 60.0
"""Beyond the decoder's own limit, since the machine may be busy."""
START_SECONDS = 300.0
"""For a group to start: it imports torch, and makes whole files, where its target needs them."""


@dataclass
class Report:
    """What became of the cases of one target.

    Attributes:
        outcomes: how many were read, and how many each typed error refused.
        crashes: case → signal or exit code that ended its process.
        hangs: cases that took longer than the limit.
        untyped: case → exception that is none of ours.
        peak: largest resident memory of a group, in bytes.
        seconds: for all of it.
    """

    outcomes: Counter = field(default_factory=Counter)
    crashes: dict[int, str] = field(default_factory=dict)
    hangs: list[int] = field(default_factory=list)
    untyped: dict[int, str] = field(default_factory=dict)
    peak: int = 0
    seconds: float = 0.0

    @property
    def cases(self) -> int:
        """How many were tried."""
        return self.outcomes.total() + len(self.crashes) + len(self.hangs) + len(self.untyped)


def run(target: str, count: int, seed: int = 0, first: int = 0, group: int = 2_000) -> Report:
    """Try ``count`` cases of a target, ``group`` of them in one process; a process that ends is followed by another.

    Args:
        target: a key of ``TARGETS``.
        first: number of the first case.
    """
    report, started, last = Report(), time.monotonic(), first + count
    while first < last:
        first = _run_group(target, seed, first, min(group, last - first), report)
    report.seconds = time.monotonic() - started
    return report


def _run_group(target: str, seed: int, first: int, count: int, report: Report) -> int:
    """Returns the number of the case after the last that was tried."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", f"{__package__}.group", target, *map(str, (seed, first, count))]
    child = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    )
    case, tried = None, first
    for line in _lines(child):
        if line is None:
            child.kill()
            child.wait()
            if case is None:
                raise RuntimeError(f"{target}: the group did not start in time")
            report.hangs.append(case)
            return case + 1
        said = json.loads(line)
        case, tried = said["case"], said["case"] + ("outcome" in said)
        if outcome := said.get("outcome"):
            report.peak = max(report.peak, said["peak"])
            if outcome.startswith(("untyped", "empty")):
                report.untyped[case] = outcome
            else:
                report.outcomes[outcome] += 1
    code = child.wait()
    if tried == first + count and code == 0:
        return tried
    if case is None:
        raise RuntimeError(f"{target}: the group did not start (exit code {code})")
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    if name == "SIGALRM":  # the decoder's own limit on time
        report.outcomes["OverLimit"] += 1
    else:
        report.crashes[case] = name
    return case + 1


def _lines(child: subprocess.Popen) -> Iterator[bytes | None]:
    """The lines that a process prints, and None if it prints none in time."""
    waiting, seconds = b"", START_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(seconds):
                yield None
                return
            read = os.read(child.stdout.fileno(), 2**16)
            if not read:
                return
            *lines, waiting = (waiting + read).split(b"\n")
            yield from lines
            seconds = CASE_SECONDS
