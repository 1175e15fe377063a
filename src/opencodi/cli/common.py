"""What the commands share: options, loading, progress on standard error, and folders that appear complete or not."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ArgumentError

if TYPE_CHECKING:
    from ..pipeline import AnyToAnyPipeline

MODEL = Annotated[str, typer.Option(metavar="NAME|FOLDER", help="An installed model, or a model folder.")]
DEVICE = Annotated[str | None, typer.Option(metavar="NAME", help="cuda, mps or cpu; by default the best there is.")]


def load_pipeline(model: str, device: str | None) -> "AnyToAnyPipeline":
    """The model, ready on its device.

    Raises:
        ConfigurationError: if there is no such model.
        ArgumentError: if there is no such device.
    """
    from ..models import resolve

    folder = resolve(model)
    with spinner("loading the model"):
        # The libraries announce themselves while they load; the command line speaks for itself.
        from diffusers.utils import logging as diffusers_logging
        from transformers.utils import logging as transformers_logging

        from ..device import pick_device
        from ..pipeline import AnyToAnyPipeline

        diffusers_logging.disable_progress_bar()
        transformers_logging.disable_progress_bar()
        picked = pick_device(device)
        pipeline = AnyToAnyPipeline.from_pretrained(folder).to(picked)
        pipeline.set_progress_bar_config(disable=True)
    return pipeline


@contextmanager
def spinner(label: str) -> Iterator[None]:
    """Show on a terminal's standard error that something is going on."""
    from rich.console import Console

    console = Console(stderr=True)
    with console.status(label):
        yield


@contextmanager
def steps_bar(label: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress bar on a terminal's standard error; calling what it yields moves it by one step."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=total)
        yield lambda: bar.advance(task)


def check_output(folder: Path) -> None:
    """Refuse a place for results that cannot be a folder, before any work is done.

    Raises:
        ArgumentError: if something that is no folder stands there or on the way there.
    """
    for place in (folder, *folder.parents):
        if place.exists():
            if not place.is_dir() or not os.access(place, os.W_OK):
                raise ArgumentError(f"--output: {place} is not a folder that can be written to; choose another")
            return


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """As ``media.files.staged``, which is imported only when there is something to write."""
    from ..media import files

    with files.staged(folder) as stage:
        yield stage


def show_files(folder: Path, names: Iterable[str]) -> None:
    """Print where the results are, one path a line."""
    for name in names:
        sys.stdout.write(f"{folder / name}\n")
