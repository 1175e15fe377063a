"""``opencodi train``: run one recipe."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, for example recipes/stickers/image_autoencoder.yaml.")],
    minutes: Annotated[
        float | None, typer.Option(help="Stop after this many minutes, with a checkpoint.", min=0.0)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last healthy checkpoint.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Model folder to train into; by default the recipe's own.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the data shards; by default $OPENCODI_DATA.")] = None,
    device: Annotated[str | None, typer.Option(help="cuda, mps or cpu; by default the best there is.")] = None,
    workers: Annotated[
        int, typer.Option(help="Processes that draw batches beside the training: some for a GPU, none else.", min=0)
    ] = 0,
    keep: Annotated[int, typer.Option(metavar="N", help="Keep the last N healthy checkpoints.", min=1)] = 3,
) -> None:
    """Train one stage, as its recipe says: losses, time left, checkpoints and sample grids on the way."""
    from ..training.run import run_recipe

    options = {"minutes": minutes, "resume": resume, "output": output, "data": data, "device": device}
    show_measures(run_recipe(recipe, **options, workers=workers, keep=keep))


def show_measures(measures: dict[str, float]) -> None:
    """Print the last validation's measures as a table; nothing if the stage has none."""
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
