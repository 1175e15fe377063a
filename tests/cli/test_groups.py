"""Options that belong together are one object in Python and single options on the command line."""

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from opencodi.cli.groups import grouped


@dataclass(frozen=True)
class Size:
    width: Annotated[int, typer.Option(metavar="N", help="In pixels.")]
    height: Annotated[int, typer.Option(metavar="N", help="In pixels.")] = 4


def command():
    seen = []
    app = typer.Typer()

    @app.command()
    @grouped
    def draw(name: Annotated[str, typer.Argument()], *, size: Size, loud: bool = False) -> None:
        """Draw."""
        seen.append((name, size, loud))

    return app, seen


def test_fields_are_options_with_their_own_defaults():
    app, seen = command()
    assert CliRunner().invoke(app, ["cat", "--width", "3", "--loud"]).exit_code == 0
    assert CliRunner().invoke(app, ["dog", "--height", "5", "--width", "6"]).exit_code == 0
    assert seen == [("cat", Size(3), True), ("dog", Size(6, 5), False)]


def test_a_field_without_a_default_is_required():
    app, seen = command()
    assert CliRunner().invoke(app, ["cat"]).exit_code == 2
    assert not seen


def test_the_help_shows_them_where_the_object_stands():
    text = CliRunner().invoke(command()[0], ["--help"]).output
    assert text.index("--width") < text.index("--height") < text.index("--loud")
