"""``opencodi evaluate``: how good a model is, in numbers and in examples."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..bounds import check_seeds
from ..errors import ArgumentError
from ..models import resolve
from .common import DEVICE, check_device, load_pipeline, show_files, spinner
from .edge import importing, printing
from .staging import check_output, staged

if TYPE_CHECKING:
    from ..collections.stickers.evaluation.tables import Table


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="An installed model, or a model folder.")],
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder for results.json and report.html.")],
    quick: Annotated[bool, typer.Option("--quick", help="Use few samples: minutes instead of half an hour.")] = False,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the data collection; by default $OPENCODI_DATA.")
    ] = None,
    judges: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the judges that score results; by default those in the package.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Same seed, same samples.")] = 0,
    plain: Annotated[
        bool, typer.Option("--plain", help="Measure the paper's core alone, without the extras of the model.")
    ] = False,
    device: DEVICE = None,
) -> None:
    """Measure a model on validation items.

    Writes the scores beside the best scores possible, and a report with samples to see and hear.
    """
    check_seeds("--seed", seed, 1)
    check_device(device)
    folder = resolve(model)
    for option, place in (("--data", data), ("--judges", judges)):
        if place is not None and not place.is_dir():
            raise ArgumentError(f"{option}: {place} is not a folder; give the one that holds them")
    _check_installed()
    check_output(output, ["results.json", "report.html"])
    with spinner("loading the judges and the list of items"), importing():
        from ..collections.stickers.evaluation.bench import Bench
        from ..collections.stickers.evaluation.budget import FULL, QUICK
        from ..collections.stickers.evaluation.collection import Collection
        from ..collections.stickers.evaluation.run import REPORT, RESULTS, write
        from ..collections.stickers.evaluation.run import evaluate as run
        from ..collections.stickers.evaluation.tables import summary
        from ..collections.stickers.judges.networks import load_judges

        collection, opinion = Collection.open(data), load_judges(judges)
    pipeline = load_pipeline(model, device, plain=plain)
    with measure_bars() as progress:
        bench = Bench(pipeline, opinion, collection, QUICK if quick else FULL, seed, folder, progress)
        results = run(bench, model=folder.name)
    with staged(output) as stage:
        write(results, bench, stage)
    with printing():
        show_table(summary(results))
    show_files(output, (RESULTS, REPORT))


def show_table(table: "Table") -> None:
    """Print one table."""
    from rich.console import Console
    from rich.table import Table as Drawn

    drawn = Drawn(box=None)
    for place, title in enumerate(table.head):
        drawn.add_column(title, justify="left" if place == 0 else "right", no_wrap=True)
    for row in table.rows:
        drawn.add_row(*row)
    Console(soft_wrap=True).print(drawn)


class MeasureBars:
    """Progress as one bar for each measure: how many of its samples are made, and the time it took.

    Args:
        bars: a ``rich.progress.Progress``.
    """

    def __init__(self, bars: Any):
        self.bars = bars
        self.task: Any = None

    def begin(self, label: str, total: int) -> None:
        """The next measure starts."""
        self.finish()
        self.task = self.bars.add_task(label, total=max(1, total))

    def advance(self, count: int) -> None:
        """So many more samples are made."""
        self.bars.advance(self.task, count)

    def finish(self) -> None:
        """Fill the bar: totals are estimates where the collection holds fewer items than the budget asks for."""
        if self.task is not None:
            self.bars.update(self.task, total=self.bars.tasks[self.task].completed)
            self.bars.stop_task(self.task)


@contextmanager
def measure_bars() -> Iterator[MeasureBars]:
    """Bars on a terminal's standard error."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    clocks = (TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, *clocks, console=console, transient=True, disable=not console.is_terminal) as bars:
        shown = MeasureBars(bars)
        yield shown
        shown.finish()


def _check_installed() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("jinja2", "torchmetrics", "webdataset") if find_spec(name) is None]
    if missing:
        raise ArgumentError(f"evaluate needs {', '.join(missing)}: pip install 'opencodi[evaluate]'")
