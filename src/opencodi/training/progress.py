"""What a run reports: a progress bar, a line per report in ``log.jsonl``, and trackers such as TensorBoard."""

import json
import sys
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Table

from .recipe import Recipe
from .trackers import Tracker, open_trackers

NARROWEST, NARROW, WIDE = 30, 50, 100
"""Columns of a terminal from which there is room for the number of steps, for name and bar, and for the losses."""


class Report:
    """Progress of a run, averaged over ``recipe.report_every`` steps.

    Args:
        recipe: the run.
        run_folder: ``log.jsonl`` and TensorBoard's event files go here.
        step: the step it starts from. What an interrupted run has logged beyond it is dropped.
        quiet: say nothing (every process but the first).
        track: a further tracker, see ``open_trackers``.

    Raises:
        ConfigurationError: if that tracker is unknown or not installed.
    """

    def __init__(self, recipe: Recipe, run_folder: Path, step: int, quiet: bool = False, track: str = ""):
        self.recipe, self.quiet = recipe, quiet
        self.log = run_folder / "log.jsonl"
        self.trackers: list[Tracker] = []
        if not quiet:
            run_folder.mkdir(parents=True, exist_ok=True)
            _drop_after(self.log, step, closing=step == recipe.steps)
            self.trackers = open_trackers(run_folder, recipe, step, track)
        console = Console(file=sys.stderr)
        self.bar = Bar(console=console, disable=quiet or not console.is_terminal)
        self.bar_task = self.bar.add_task(recipe.task, total=recipe.steps, completed=step, losses="", rate="", left="")
        self.sums: dict[str, float] = {}
        self.count, self.items, self.since = 0, 0, time.monotonic()

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
        for tracker in self.trackers:
            tracker.close()

    def step(self, step: int, losses: dict[str, float], items: int) -> None:
        """Count one optimiser step over ``items`` items."""
        if self.quiet:
            return
        self.count += 1
        self.items += items
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        rate = self.items / max(time.monotonic() - self.since, 1e-9)
        left = (self.recipe.steps - step) * items / rate
        self.bar.update(self.bar_task, completed=step, rate=f"{rate:.3g}/s", left=_clock(left))
        if self.count >= self.recipe.report_every:
            means = {name: value / self.count for name, value in self.sums.items()}
            self._write(step, {**means, "items_per_second": rate}, f"  left {_clock(left)}")
            self._forget()

    def validation(self, step: int, measures: dict[str, float], shown: Path) -> None:
        """Record a validation's measures and what it shows; the time it took does not count as training.

        ``shown``: path of the sample picture. Files beside it whose names begin alike show more.
        """
        if measures:
            self._write(step, {f"validation/{name}": value for name, value in measures.items()})
        files = sorted(path for path in shown.parent.glob(f"{shown.stem}*") if "partial" not in path.name)
        for tracker in self.trackers:
            tracker.show(files, step)
        self._forget()

    def _forget(self) -> None:
        self.sums, self.count, self.items, self.since = {}, 0, 0, time.monotonic()

    def _write(self, step: int, values: dict[str, float], more: str = "") -> None:
        line = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        self.bar.update(self.bar_task, losses=line)
        if self.bar.disable:
            print(f"{self.recipe.task} {step}/{self.recipe.steps}  {line}{more}", file=sys.stderr, flush=True)
        with self.log.open("a", encoding="utf-8") as file:
            # Learning rates are small numbers.
            rounded = {name: float(f"{value:.6g}") for name, value in values.items()}
            file.write(json.dumps({"step": step, **rounded}) + "\n")
        for tracker in self.trackers:
            tracker.log(values, step)


class Bar(Progress):
    """A progress bar that says step, rate and time left at any width, and more where there is room."""

    def __init__(self, console: Console, **options: Any):
        self.terminal = console
        super().__init__(console=console, **options)

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """One line for each task, of the columns that fit."""
        width = self.terminal.width
        columns: list[ProgressColumn] = [TextColumn("{task.fields[rate]}")]
        columns.append(TextColumn("{task.fields[left]} left" if width >= NARROW else "{task.fields[left]}"))
        if width >= NARROWEST:
            columns.insert(0, TextColumn("{task.completed}/{task.total}"))
        table = Table.grid(padding=(0, 1), expand=width >= WIDE)
        if width >= NARROW:
            columns = [TextColumn("{task.description}"), BarColumn(width // 8), *columns]
            table.add_column(no_wrap=True, overflow="ellipsis", max_width=width // 4)
        for _ in columns[len(table.columns) :]:
            table.add_column(no_wrap=True)
        if width >= WIDE:
            columns.append(TextColumn("{task.fields[losses]}"))
            table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for task in tasks:
            table.add_row(*(column(task) for column in columns))
        return table


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(min(seconds, 1e8))))


def _drop_after(log: Path, step: int, closing: bool) -> None:
    """Keep only whole lines of steps up to ``step``: later ones are logged again, and the last may have been cut short.

    ``closing``: the validation after ``step`` is done again, too.
    """
    if not log.is_file():
        return
    kept = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            values = json.loads(line)
            again = closing and values["step"] == step and any(name.startswith("validation/") for name in values)
            if values["step"] <= step and not again:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    partial = log.with_name(log.name + ".partial")
    partial.write_text("".join(kept), encoding="utf-8")
    partial.replace(log)
