"""``opencodi data``: prepare and encode your own data, make a collection from public packages, and check either."""

import os
from pathlib import Path
from typing import Annotated

import typer

from ..errors import ArgumentError, CollectionError
from . import prepare
from .common import steps_bar
from .edge import printing, shown
from .staging import check_output

app = typer.Typer(help="Prepare data to train on, or make the stickers collection.", no_args_is_help=True)
app.command()(prepare.prepare)


@app.command()
def build(
    collection: Annotated[str, typer.Argument(help="Name of the collection; stickers is the only one.")],
    output: Annotated[Path, typer.Option(help="Folder for the shards (tar files).")],
    only: Annotated[
        str | None, typer.Option(metavar="SHARD,…", help="Make only these shards, for example images,videos.")
    ] = None,
    size: Annotated[int, typer.Option(help="Height and width of pictures and clips in pixels: 64 or 128.")] = 64,
    cache: Annotated[
        Path | None, typer.Option(help="Folder to keep the packages in; by default the user's cache.")
    ] = None,
) -> None:
    """Build a collection from its packages. If it is stopped, the same command continues."""
    if collection != "stickers":
        raise ArgumentError(f"there is no collection {collection!r}; stickers is the only one")
    check_output(output)
    if cache is not None:
        check_output(cache, option="--cache")
    from ..collections.stickers.build.build import build as build_stickers

    build_stickers(
        output,
        cache or default_cache(),
        only=[name.strip() for name in only.split(",")] if only else (),
        progress=steps_bar,
        say=typer.echo,
        size=size,
    )


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Folder of the samples or shards.")],
    gallery: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write an HTML page of prepared samples.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Another folder of shards to compare records, pixels and samples with.")
    ] = None,
) -> None:
    """Check prepared samples or the stickers collection: counts, sizes, duplicates, checksums, withheld items."""
    for place in filter(None, (folder, against)):
        if not place.is_dir():
            raise ArgumentError(f"{shown(place)} is not a folder; give the one that holds the shards")
    if (folder / "dataset.json").is_file():
        if against:
            raise ArgumentError("--against: compares stickers collections; leave it out")
        if gallery and not gallery.parent.is_dir():
            raise ArgumentError(f"--gallery: there is no folder {shown(gallery.parent)}; make it first")
        prepare.check_prepared(folder, gallery)
        return
    if not any(folder.glob("*.tar.gz")):
        raise ArgumentError(
            f"{shown(folder)} holds no shards and is not prepared; give opencodi data prepare {shown(folder)} --output FOLDER"
        )
    if gallery:
        raise ArgumentError("--gallery: shows folders that opencodi data prepare made; leave it out")
    _check(folder)
    if against:
        _compare(folder, against)


def default_cache() -> Path:
    """Where packages are kept without ``--cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "opencodi" / "packages"


def _check(folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..collections.stickers.build import check as checks

    table = Table("shard", box=None)
    for title in ("items", "expected"):
        table.add_column(title, justify="right", no_wrap=True)
    for title in ("state", "records", "media"):
        table.add_column(title, no_wrap=True)
    reports = []
    for report in checks.check(folder):
        numbers = ["–" if number is None else f"{number:,}" for number in (report.items, report.expected)]
        state = f"{len(report.withheld)} withheld items in it" if report.withheld else report.state
        table.add_row(report.name, *numbers, state, report.records, report.media)
        reports.append(report)
    with printing(required=True):
        Console(soft_wrap=True).print(table)
    bad = [report.name for report in reports if not report.sound and report.state != "missing"]
    bad += checks.damaged_lists(folder)
    if bad:
        raise CollectionError(
            f"{folder}: {', '.join(bad)} cannot be used; opencodi data build stickers makes them again"
        )


def _compare(folder: Path, against: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..collections.stickers.build.compare import compare

    table = Table("against the other", box=None)
    titles = ("items", "other's", "same key", "same record", "same bytes", "mean difference", "greatest")
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    for found in compare(folder, against):
        counts = (found.items, found.others, found.keys, found.records, found.media)
        table.add_row(found.name, *map("{:,}".format, counts), f"{found.difference:.3f}", f"{found.worst:.2f}")
    with printing(required=True):
        Console(soft_wrap=True).print(table)


app.command()(prepare.encode)
