"""The command line: a thin door that parses, calls and prints. Nothing heavy is imported before a command runs."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from .. import __version__
from ..errors import OpenCoDiError
from . import convert, data, evaluate, generate, models, reconstruct, serve, train

# Some releases of Typer bring their own copy of click, so the base of all usage errors is looked up, not imported.
UsageError = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")

app = typer.Typer(name="opencodi", add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
app.command(name="generate")(generate.generate)
app.command(name="train")(train.train)
app.command(name="evaluate")(evaluate.evaluate)
app.command(name="models")(models.models)
app.command(name="reconstruct")(reconstruct.reconstruct)
app.command(name="serve")(serve.serve)
app.add_typer(data.app, name="data")
app.add_typer(convert.app, name="convert")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"opencodi {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Text, image, video and audio in any combination, to any combination of them."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Bad input prints one line, ``error: …``, on standard error and exits with code 2."""
    try:
        code = app(args=arguments, prog_name="opencodi", standalone_mode=False)
    except OpenCoDiError as error:
        _fail(str(error))
    except UsageError as error:
        _fail(error.format_message())
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str) -> None:
    """One line, whatever the message holds, then exit code 2."""
    typer.echo("error: " + " ".join(message.split()), err=True)
    sys.exit(2)
