"""``opencodi train``: run one recipe."""

from pathlib import Path
from typing import Annotated

import typer

from ..bounds import finite_number
from ..errors import ArgumentError, ConfigurationError
from .common import DEVICE, check_device
from .edge import importing, printing, shown
from .staging import check_output


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, for example recipes/stickers/image_autoencoder.yaml.")],
    minutes: Annotated[
        float | None, typer.Option(help="Stop after this many minutes and write a checkpoint.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the last healthy checkpoint of the same run.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="Model folder to train into; by default the recipe's own.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the data collection; by default $OPENCODI_DATA.")] = None,
    device: DEVICE = None,
    workers: Annotated[
        int, typer.Option(help="Processes that prepare batches: a few for a GPU, none for a CPU.", min=0, max=256)
    ] = 0,
    keep: Annotated[int, typer.Option(metavar="N", help="Keep the last N healthy checkpoints.", min=1)] = 3,
) -> None:
    """Train one stage as its recipe says. Writes losses, checkpoints and sample pictures while it runs."""
    if minutes is not None:
        finite_number("--minutes", minutes, (0.0, 525_600.0))
    check_device(device)
    if not recipe.is_file():
        raise ConfigurationError(f"{shown(recipe)}: there is no such recipe; check its name")
    if data is not None and not data.is_dir():
        raise ArgumentError(f"--data: {shown(data)} is not a folder; give the one that holds the shards")
    if output is not None:
        check_output(output)
    with importing():
        from ..training.run import run_recipe

    options = {"minutes": minutes, "resume": resume, "output": output, "data": data, "device": device}
    measures = run_recipe(recipe, **options, workers=workers, keep=keep)
    with printing():
        show_measures(measures)


def show_measures(measures: dict[str, float]) -> None:
    """Print the measures of the last validation as a table; nothing if the stage has none."""
    from rich.console import Console
    from rich.table import Table

    if not measures:
        return
    table = Table(box=None)
    table.add_column("on validation items", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    for name, value in measures.items():
        table.add_row(name, f"{value:.4g}")
    Console(soft_wrap=True).print(table)
