"""What `mkdocs build` adds to the pages of docs/: pages that lie elsewhere in the repository, and the list of commands."""

import posixpath
import re
from enum import StrEnum
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from typer.main import get_command

from opencodi.cli import app

ROOT = Path(__file__).parents[2]
ELSEWHERE = {
    "model-card.md": "src/opencodi/models/stickers/README.md",
    "recipes.md": "recipes/stickers/README.md",
    "peers.md": "benchmarks/peers/README.md",
}
"""Page of the site → file of the repository. On a forge each of them is read where it lies."""
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\((?!https?:|#)([^)\s#]*)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that do not lie in docs/."""
    for page, source in ELSEWHERE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)))
    files.append(File.generated(config, "commands.md", content=commands()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between files of the repository into links between pages; a file that is no page is only named."""
    uri = page.file.src_uri
    here = posixpath.dirname(ELSEWHERE.get(uri, f"docs/{uri}"))
    pages = {source: place for place, source in ELSEWHERE.items()}

    def relink(found: re.Match) -> str:
        picture, words, target, heading = found.groups()
        path = posixpath.normpath(posixpath.join(here, target))
        place = pages.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if place is None:
            if not (ROOT / path).exists():
                return found[0]  # mkdocs says what is wrong with it
            return words
        return f"{picture}[{words}]({posixpath.relpath(place, posixpath.dirname(uri) or '.')}{heading or ''})"

    return LINK.sub(relink, markdown)


def commands() -> str:
    """Every command with its arguments and options, as the command line itself has them."""
    page = ["# Commands", "Made from the command line itself. [Command line](command-line.md) has examples."]

    def describe(name: str, command: Any) -> None:
        if getattr(command, "hidden", False):
            return
        page.extend([f"## `{name}`", plain(command.help)])
        for below, each in getattr(command, "commands", {}).items():
            describe(f"{name} {below}", each)
        rows = [row(parameter) for parameter in command.params if parameter.name != "help"]
        if rows:
            page.append("\n".join(["| option | what | default |", "|---|---|---|", *rows]))

    describe("opencodi", get_command(app))
    return "\n\n".join(page) + "\n"


def row(parameter: Any) -> str:
    """One option or argument as a row of a table."""
    choices = "|".join(type(parameter.default)) if isinstance(parameter.default, StrEnum) else ""
    takes = parameter.metavar or choices or parameter.name.upper()
    is_option = parameter.param_type_name == "option"
    value = f" {takes}" if takes and not getattr(parameter, "is_flag", False) else ""
    names = (
        [f"`{name}{value}`" for name in (*parameter.opts, *parameter.secondary_opts)] if is_option else [f"`{takes}`"]
    )
    default = getattr(parameter.default, "value", parameter.default)
    has_default = isinstance(default, str | int | float) and not isinstance(default, bool)
    need = "required" if parameter.required else f"`{default}`" if has_default else ""
    return f"| {', '.join(names)} | {plain(parameter.help)} | {need} |"


def plain(text: str | None) -> str:
    """Help as Markdown: each paragraph on a line of its own, without what only a terminal understands."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", (text or "").strip()).replace("<", "&lt;")
