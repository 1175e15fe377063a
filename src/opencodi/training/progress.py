"""What a run reports: a progress bar, a line per report in ``log.jsonl``, and TensorBoard."""

import json
import sys
import time
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .recipe import Recipe


class Report:
    """Progress of a run, averaged over ``recipe.report_every`` steps.

    Args:
        recipe: the run.
        run_folder: ``log.jsonl`` and TensorBoard's event files go here.
        step: the step it starts from.
        quiet: say nothing (every process but the first).
    """

    def __init__(self, recipe: Recipe, run_folder: Path, step: int, quiet: bool = False):
        self.recipe, self.quiet = recipe, quiet
        run_folder.mkdir(parents=True, exist_ok=True)
        self.log = run_folder / "log.jsonl"
        self.writer = None if quiet else _tensorboard(run_folder)
        console = Console(file=sys.stderr)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[losses]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=console, disable=quiet or not console.is_terminal)
        self.bar_task = self.bar.add_task(recipe.task, total=recipe.steps, completed=step, losses="")
        self.sums: dict[str, float] = {}
        self.count, self.items, self.since = 0, 0, time.monotonic()

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
        if self.writer is not None:
            self.writer.close()

    def step(self, step: int, losses: dict[str, float], items: int) -> None:
        """Count one optimiser step over ``items`` items."""
        self.count += 1
        self.items += items
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.bar.update(self.bar_task, completed=step)
        if self.count >= self.recipe.report_every:
            rate = self.items / (time.monotonic() - self.since)
            means = {name: value / self.count for name, value in self.sums.items()}
            self._write(step, {**means, "items_per_second": rate})
            self.sums, self.count, self.items, self.since = {}, 0, 0, time.monotonic()

    def validation(self, step: int, measures: dict[str, float]) -> None:
        """Record a validation's measures; the time it took does not count as training."""
        if measures:
            self._write(step, {f"validation/{name}": value for name, value in measures.items()})
        self.since = time.monotonic()
        self.sums, self.count, self.items = {}, 0, 0

    def _write(self, step: int, values: dict[str, float]) -> None:
        if self.quiet:
            return
        line = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        self.bar.update(self.bar_task, losses=line)
        if self.bar.disable:
            print(f"{self.recipe.task} {step}/{self.recipe.steps}  {line}", file=sys.stderr, flush=True)
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **{name: round(value, 6) for name, value in values.items()}}) + "\n")
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(name, value, step)


def _tensorboard(folder: Path):
    """A SummaryWriter, or None where the ``train`` extra is not installed: the log file says the same."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))
