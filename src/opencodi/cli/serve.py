"""``opencodi serve``: a model behind HTTP."""

import os
from pathlib import Path
from typing import Annotated

import typer

from ..errors import ArgumentError
from ..models import resolve
from .common import DEVICE, DTYPE, MODEL, WATERMARK, Dtype, check_device, load_pipeline


def serve(
    model: MODEL = "stickers",
    device: DEVICE = None,
    dtype: DTYPE = Dtype.FLOAT32,
    plain: Annotated[
        bool, typer.Option("--plain", help="Use the paper's core alone, without the extras of the model.")
    ] = False,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Where to listen; others than 127.0.0.1 need --keys.")
    ] = None,
    port: Annotated[int | None, typer.Option(metavar="N", min=0, max=65535, help="8000 if not given.")] = None,
    keys: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keys of those who may ask, one a line: NAME KEY.")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Limits and times as YAML; docs/server.md lists them.")
    ] = None,
    max_queue: Annotated[int | None, typer.Option(metavar="N", help="Jobs that may wait; more are refused.")] = None,
    max_batch: Annotated[int | None, typer.Option(metavar="N", help="Results made in one run; 1 turns it off.")] = None,
    keep: Annotated[float | None, typer.Option(metavar="SECONDS", help="How long results are kept.")] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Of torch; as many as there are cores if not given.")
    ] = None,
    memory: Annotated[float | None, typer.Option(metavar="GIB", help="Jobs that need more fail alone (Linux).")] = None,
    alias: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A further model name that clients may ask for.")
    ] = None,
    public_url: Annotated[
        str | None, typer.Option(metavar="URL", help="How clients reach this server, if not by its address.")
    ] = None,
    log_prompts: Annotated[bool, typer.Option("--log-prompts", help="Write prompts into the log.")] = False,
    watermark: WATERMARK = False,
) -> None:
    """Serve a model over HTTP, in the shape of OpenAI's API and with any inputs to any outputs.

    The page /docs describes and tries all of it. Ctrl+C finishes the jobs that were taken, then stops.
    """
    threads = threads or len(_cores())
    # Read by OpenMP when torch is loaded. Threads that spin while they wait keep the cores from those that work: on two busy
    # cores a picture takes 20 s so, 0.2 s where they sleep instead, and 0.8 s with one thread.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        from ..server.app import build_app
        from ..server.run import limit_memory, listen
        from ..server.run import serve as run
        from ..server.settings import Keys, check_address, make_settings
    except ModuleNotFoundError as error:
        raise ArgumentError(f"serve: needs {error.name}; install it with: pip install 'opencodi[server]'") from error
    given = {
        "host": host,
        "port": port,
        "max_queue": max_queue,
        "max_batch": max_batch,
        "keep_seconds": keep,
        "aliases": alias or None,
        "public_url": public_url,
        "log_prompts": log_prompts or None,
        "watermark": watermark or None,
    }
    check_device(device)
    folder = resolve(model)
    chosen = make_settings(settings, **given)
    known = Keys(keys)
    check_address(chosen, known)
    listening = listen(chosen)
    if memory is not None:
        limit_memory(memory)
    pipeline = load_pipeline(model, device, dtype, plain=plain)
    app = build_app(pipeline, chosen, known, folder.name, threads)
    typer.echo(f"serving {folder.name} at {chosen.base_url(listening.getsockname()[1])}", err=True)
    run(app, chosen, listening)


def _cores() -> set[int]:
    """Those that this process may use."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
