"""``opencodi data prepare``, ``check`` of what it made, and ``encode``: anyone's own data."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ArgumentError, CollectionError
from .common import DEVICE, check_device, spinner, steps_bar
from .edge import importing, printing, shown
from .staging import check_output

if TYPE_CHECKING:
    from ..data.report import Report


def prepare(
    source: Annotated[str, typer.Argument(help="A folder, a table (CSV, JSONL, Parquet), tars, or a dataset's name.")],
    output: Annotated[Path, typer.Option(help="A new folder for the samples.")],
    columns: Annotated[
        str | None, typer.Option(metavar="FIELD=COLUMN,…", help="For example text=caption,image=path.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Read only this split of a Hugging Face dataset.")] = None,
    max_bad: Annotated[str, typer.Option(help="Largest share of samples that cannot be used.")] = "5%",
    shard_size: Annotated[int, typer.Option(help="Samples in each tar.", min=1, max=1_000_000)] = 1000,
    workers: Annotated[int, typer.Option(help="Samples that are read at once.", min=1, max=256)] = 2,
) -> None:
    """Store your own samples as training reads them. If it is stopped, the same command continues."""
    share, wanted = parse_share(max_bad), parse_columns(columns)
    with importing():
        from ..data.prepare import prepare as make
        from ..data.sources import open_source
    check_output(output)
    with spinner(f"looking at {source}"):
        found = open_source(source, wanted, split)
    made = make(found, output, max_bad=share, workers=workers, shard_size=shard_size, progress=steps_bar)
    with printing():
        print(f"{made.samples:,} samples in {shown(output)}")
        if made.bad:
            print(f"{len(made.bad):,} left out, see {shown(output / 'skipped.txt')}:")
            for line in made.bad[:10]:
                print(f"  {line}")


def encode(
    folder: Annotated[Path, typer.Argument(help="A folder that opencodi data prepare made.")],
    model: Annotated[
        str, typer.Option(metavar="NAME|FOLDER", help="The model whose autoencoders and encoders encode.")
    ],
    output: Annotated[Path | None, typer.Option(help="Where to write; by default encoded/ in the folder.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that encode shards.", min=1, max=256)] = 1,
    batch_size: Annotated[int, typer.Option(help="Media that are encoded at once.", min=1, max=4096)] = 32,
    device: DEVICE = None,
) -> None:
    """Write latents and prompt embeddings, from which training starts at once. If it is stopped, the same command continues."""
    check_device(device)
    check_folder(folder)
    check_output(output or folder)
    with importing():
        from ..models import installed
        from ..training.encode import encode as make
    place = installed().get(model, Path(model))
    if not place.is_dir():
        raise ArgumentError(
            f"--model: {model!r} is neither installed nor a folder; opencodi models lists what is installed"
        )
    for done in make(folder, place, output, workers, batch_size, device, steps_bar):
        with printing():
            print(done)


def check_prepared(folder: Path, gallery: Path | None) -> None:
    """Print what a prepared folder holds, and write a gallery.

    Raises:
        CollectionError: if something in it is damaged.
    """
    from ..data.prepared import PreparedFolder
    from ..data.report import inspect, write_gallery

    prepared = PreparedFolder(folder)
    report = inspect(prepared)
    with printing(required=True):
        show(report)
    if report.damaged:
        more = f" and {len(report.damaged) - 3} more" if len(report.damaged) > 3 else ""
        raise CollectionError(f"{folder}: {'; '.join(report.damaged[:3])}{more}; prepare the folder again")
    if gallery is not None:
        write_gallery(prepared, gallery)
        with printing():
            print(shown(gallery))


def show(report: "Report") -> None:
    """Print a report as tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True)
    console.print(f"{report.samples:,} samples, {report.held:,} of them for validation; {report.skipped:,} left out")
    table = Table("pair", box=None)
    table.add_column("samples", justify="right")
    for name, count in report.modalities.items():
        table.add_row(name, f"{count:,}")
    for (first, second), count in report.pairs.items():
        table.add_row(f"{first} + {second}", f"{count:,}")
    console.print(table)
    table = Table("measure", box=None)
    for title in ("smallest", "median", "largest"):
        table.add_column(title, justify="right")
    for name, measures in report.measures.items():
        for measure, values in measures.items():
            table.add_row(f"{name}, {measure.replace('_', ' ')}", *(f"{value:,.10g}" for value in values))
    console.print(table)
    if report.duplicates:
        listed = "; ".join(" = ".join(keys[:4]) for keys in report.duplicates[:5])
        console.print(f"{len(report.duplicates):,} media are in several samples: {listed}", markup=False)


def check_folder(folder: Path) -> None:
    """Raise ArgumentError if there is no such folder."""
    if not folder.is_dir():
        raise ArgumentError(f"{shown(folder)} is not a folder; give one that opencodi data prepare made")


def parse_columns(text: str | None) -> dict[str, str]:
    """``text=caption,image=path`` as {field: column}.

    Raises:
        ArgumentError: if it is written otherwise.
    """
    found = {}
    for part in filter(None, (text or "").split(",")):
        name, equals, column = part.partition("=")
        if not (equals and name.strip() and column.strip()):
            raise ArgumentError(f"--columns: {part!r} is not FIELD=COLUMN; write, for example, text=caption,image=path")
        found[name.strip()] = column.strip()
    return found


def parse_share(text: str) -> float:
    """``5%`` or ``0.05`` as a share.

    Raises:
        ArgumentError: if it is neither, or not between 0 and 1.
    """
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", text.strip()):
        share = float(match[1]) / (100 if match[2] else 1)
        if share <= 1:
            return share
    raise ArgumentError(f"--max-bad: {text!r} is no share; give one such as 5% or 0.05")
