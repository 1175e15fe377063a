"""The command line: it parses, calls and prints. Nothing heavy is imported before a command runs."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from .. import __version__
from ..errors import OpenCoDiError
from . import convert, data, edge, evaluate, export, generate, models, reconstruct, serve, studio, train, verify

# Some releases of Typer bring their own copy of click, so the base of all usage errors is looked up, not imported.
UsageError = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")

STOPPED = 130
"""Exit code after Ctrl-C."""

app = typer.Typer(name="opencodi", add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
app.command(name="generate")(generate.generate)
app.command(name="train")(train.train)
app.command(name="evaluate")(evaluate.evaluate)
app.command(name="models")(models.models)
app.command(name="reconstruct")(reconstruct.reconstruct)
app.command(name="export")(export.export)
app.command(name="verify")(verify.verify)
app.command(name="studio")(studio.studio)
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
    """Run the command line and exit. Whatever goes wrong is one line, ``error: …``, on standard error.

    The exit code is 2 for bad input and for what the system refuses, 130 after Ctrl-C, and 1 for errors that nobody foresaw.
    """
    # Read by OpenMP when torch is loaded. Threads that spin while they wait keep the cores from those that work: with two
    # threads on two busy cores a picture took 11 to 23 s so, and 1.2 to 3.7 s where they sleep (benchmarks/waiting_threads.py).
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        code = app(args=arguments, prog_name="opencodi", standalone_mode=False)
        sys.stdout.flush()
    except OpenCoDiError as error:
        _fail(str(error))
    except UsageError as error:
        _fail(error.format_message())
    except (KeyboardInterrupt, typer.Abort):
        code = STOPPED
    except SystemExit:  # rich leaves so when the reader of its output has gone away, as in "| head -1"
        sys.exit(0)
    except Exception as error:
        if isinstance(error, OSError) and edge.reader_is_gone(sys.stdout):
            edge.discard_stdout()
            sys.exit(0)
        if os.environ.get(edge.TRACEBACK):
            raise
        _fail(*edge.describe(error))
    if code == STOPPED:  # so Typer answers Ctrl-C, too
        edge.say_error("stopped")
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int = 2) -> NoReturn:
    """One line, whatever the message holds, then the exit code."""
    edge.say_error(f"error: {message}")
    sys.exit(code)
