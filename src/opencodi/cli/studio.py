"""``opencodi studio``: the page in the browser."""

from typing import Annotated

import typer

from ..errors import ArgumentError
from .common import DEVICE, MODEL, WATERMARK, Signing, check_device
from .edge import importing
from .groups import grouped


@grouped
def studio(
    model: MODEL = "stickers",
    device: DEVICE = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=1, max=65535, help="On which port.")] = 7860,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = False,
    *,
    signing: Signing,
    watermark: WATERMARK = False,
) -> None:
    """Open the studio: a page in the browser, which works without a network."""
    check_device(device)
    try:
        with importing():
            from ..studio import launch
    except ModuleNotFoundError as error:
        raise ArgumentError(
            f"studio: the package {error.name} is not installed; run pip install 'opencodi[studio]'"
        ) from error

    credentials = signing.credentials()
    try:
        address, wait = launch(model, device, host, port, open_browser, credentials, watermark)
    except OSError as error:
        raise ArgumentError(f"--port: {port} cannot be used on {host}; choose another") from error
    typer.echo(f"The studio is at {address.rstrip('/')} (Ctrl+C stops it)", err=True)
    wait()
