"""``opencodi train``: run one recipe, or all recipes of a folder."""

import time
from pathlib import Path
from typing import Annotated

import typer

from ..bounds import finite_number
from ..errors import ArgumentError, ConfigurationError
from .common import DEVICE, check_device
from .edge import importing, printing, shown
from .staging import check_output


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, or a folder of recipes that are trained in their order.")],
    minutes: Annotated[
        float | None, typer.Option(help="Be finished after this many minutes, with a checkpoint to resume from.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the last healthy checkpoint of the same run.")
    ] = False,
    override: Annotated[
        bool,
        typer.Option("--override", help="Resume with a changed recipe; in a folder, train changed stages again."),
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print parameters, memory, speed and hours; train nothing, read no data.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="Model folder to train into; by default the recipe's own.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the data collection; by default $OPENCODI_DATA.")] = None,
    device: DEVICE = None,
    workers: Annotated[
        int, typer.Option(help="Processes that prepare batches: a few for a GPU, none for a CPU.", min=0, max=256)
    ] = 0,
    keep: Annotated[int, typer.Option(metavar="N", help="Keep the last N healthy checkpoints, and the best.", min=1)] = 3,
    export: Annotated[
        str, typer.Option(metavar="last|best", help="Which step's averaged weights are exported at the end.")
    ] = "last",
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory, a third more computing.")
    ] = False,
    ema_on_cpu: Annotated[
        bool, typer.Option("--ema-on-cpu", help="Keep the averaged weights in the CPU's memory.")
    ] = False,
    shard: Annotated[
        bool, typer.Option("--shard", help="Split weights and moments over the processes of torchrun (FSDP2).")
    ] = False,
    track: Annotated[
        str, typer.Option(metavar="LIBRARY", help="Report to trackio or wandb, too (TensorBoard is always written).")
    ] = "",
) -> None:
    """Train a stage as its recipe says, or all stages of a folder. Start it with torchrun to use several processes."""
    started = time.monotonic()
    if minutes is not None:
        finite_number("--minutes", minutes, (0.0, 525_600.0))
    check_device(device)
    if not recipe.exists():
        raise ConfigurationError(f"{shown(recipe)}: there is no such recipe; check its name")
    if data is not None and not data.is_dir():
        raise ArgumentError(f"--data: {shown(data)} is not a folder; give the one that holds the shards")
    if export not in ("last", "best"):
        raise ArgumentError(f"--export: {export!r} is neither last nor best; choose one")
    if output is not None:
        check_output(output)
    with importing():
        from ..training.chain import run_recipes
        from ..training.options import Options
        from ..training.plan import print_plan
        from ..training.run import run_recipe

    options = Options(
        minutes=minutes,
        started=started,
        resume=resume,
        override=override,
        output=output,
        data=data,
        device=device,
        workers=workers,
        keep=keep,
        export=export,
        gradient_checkpointing=gradient_checkpointing,
        ema_on_cpu=ema_on_cpu,
        shard=shard,
        track=track,
    )
    if plan:
        with printing():
            print_plan(recipe, options)
    elif recipe.is_dir():
        run_recipes(recipe, options)
    else:
        measures = run_recipe(recipe, **vars(options))
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
