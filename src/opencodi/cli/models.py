"""``opencodi models``: what is installed."""

from typing import Annotated

import typer

from ..models import components, installed, resolve
from .edge import printing, shown


def models(
    name: Annotated[str | None, typer.Argument(help="An installed model, or a model folder; lists its parts.")] = None,
) -> None:
    """List the installed models with their sizes, or the parts of one model."""
    from rich.console import Console
    from rich.table import Table

    if name is None and not installed():
        with printing(required=True):
            typer.echo("no model is installed")
        return
    table = Table(box=None)
    for title, justify in (("name", "left"), ("parameters", "right"), ("size", "right"), ("", "left")):
        table.add_column(title, justify=justify, no_wrap=True)
    if name is None:
        for model, folder in installed().items():
            parts = components(folder)
            total = sum(part.parameters for part in parts), sum(part.size for part in parts)
            table.add_row(model, _millions(total[0]), _megabytes(total[1]), shown(folder))
    else:
        for part in components(resolve(name)):
            table.add_row(part.name, _millions(part.parameters), _megabytes(part.size), part.class_name)
    with printing(required=True):
        Console(soft_wrap=True).print(table)


def _millions(parameters: int) -> str:
    return f"{parameters / 1e6:.2f} M"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
