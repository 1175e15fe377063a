"""``opencodi export``: pictures and clips as sticker packs."""

from pathlib import Path
from typing import Annotated

import typer

from .common import Signing, check_output, show_files, steps_bar
from .groups import grouped


@grouped
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Pictures and clips, such as `opencodi generate` writes.")],
    apps: Annotated[str, typer.Option("--for", metavar="LIST", help="telegram, whatsapp, discord, or all.")],
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the packs go, a folder for each; DIR/stickers if not given.")
    ] = None,
    title: Annotated[str, typer.Option(metavar="WORDS", help="What the packs are called.")] = "OpenCoDi",
    keep_background: Annotated[
        bool, typer.Option("--keep-background", help="Leave a plain white ground; else it becomes transparent.")
    ] = False,
    *,
    signing: Signing,
) -> None:
    """Make sticker packs that Telegram, WhatsApp and Discord take.

    Each app's sizes, formats, bytes, seconds and frames are kept. A clip's sound is written beside it, since the apps
    play none. Stickers of results that this installation signed are signed, too.
    """
    from ..export.targets import parse_targets

    targets = parse_targets(apps)
    from ..export import export_packs, find_stickers

    credentials = signing.credentials()
    stickers = find_stickers(folder)
    place = output or folder / "stickers"
    check_output(place)
    with steps_bar("packing", len(targets)) as advance:
        packs = []
        for target in targets:
            packs += export_packs(stickers, target, place / target.name, title, keep_background, credentials)
            advance()
    for pack in packs:
        show_files(pack.folder, (file.name for file in pack.files))
        if pack.note:
            typer.echo(f"note: {pack.note}", err=True)
