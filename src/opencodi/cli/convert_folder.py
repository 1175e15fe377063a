"""``opencodi convert folder``: model folders of earlier versions."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import ArgumentError
from .common import check_output, show_files, spinner


def folder(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A model folder of an earlier version.")],
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="A new folder for the model as it is now.")],
) -> None:
    """Write a model folder of an earlier version as folders are now: time, alignment and maps are components. Same results."""
    if not old.is_dir():
        raise ArgumentError(f"OLD: {old} is not a folder; give a model folder")
    check_output(output)
    with spinner("converting"):
        from ..convert.older_folders import convert_folder

        made = convert_folder(old, output)
    show_files(output, sorted([*made, "model_index.json"]))
