"""``opencodi verify``: what can be said of where files come from."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import __version__
from ..errors import OpenCoDiError
from .common import TRUST
from .edge import printing, say_error, shown

if TYPE_CHECKING:
    from ..trust import Verification

BAD_INPUT = 2
_SIGNERS = {"own": "this installation", "trusted": "trusted", "unknown": "unknown"}
_WIDE = 4_200
"""Characters: more than the table's other columns and the longest path."""
_GRAVEST_FIRST = (BAD_INPUT, 4, 5, 6, 3)


def verify(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Files of any kind.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")] = False,
    trust: TRUST = None,
) -> None:
    """Say where files come from: who signed them, whether they changed since, and whether they carry a watermark.

    Exit codes: 0 made by a model, says a signer known here or a watermark; 3 cannot tell; 4 changed after it was signed;
    5 signed by somebody unknown; 6 signed by somebody known who does not say that a model made it; 2 bad input. Of several
    files the gravest counts: 2, then 4, 5, 6, 3. No code means that a file is real.
    """
    from ..trust import verify as verify_file
    from ..trust.identity import read_authorities

    trusted = b"" if trust is None else read_authorities(trust)
    found, failed = [], False
    for path in files:
        try:
            found.append((shown(path), verify_file(path, trust=trusted)))
        except OpenCoDiError as error:
            say_error(f"error: {error}")
            failed = True
    with printing(required=True):
        if as_json:
            listed = [verification.as_dict() | {"file": name} for name, verification in found]
            print(json.dumps({"opencodi": __version__, "files": listed}, indent=2, ensure_ascii=False))
        elif found:
            _print_table(found)
    codes = {verification.exit_code for _, verification in found} | ({BAD_INPUT} if failed else set())
    raise typer.Exit(next((code for code in _GRAVEST_FIRST if code in codes), 0))


def _print_table(found: list[tuple[str, "Verification"]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in ("verdict", "credentials", "signer", "watermark", "file"):
        table.add_column(title, no_wrap=True)
    for name, verification in found:
        credentials, mark = verification.credentials, verification.watermark
        state = "none" if credentials is None else f"{credentials.integrity}, {credentials.where}"
        intact = credentials is not None and credentials.integrity == "intact"
        signer = _SIGNERS[credentials.known_as] if intact else ""
        marked = "found" if mark.found else "not found" if mark.checked else "not checked"
        table.add_row(*map(Text, (verification.verdict.value, state, signer, marked, name)))
    Console(width=_WIDE).print(table)  # a long name may wrap, and is never cut
    console = Console(soft_wrap=True)
    console.print()
    for name, verification in found:
        console.print(Text(f"{name}: {verification.sentence}"))
