"""``opencodi serve``: a model behind HTTP."""

import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ArgumentError
from ..models import resolve
from .common import (
    CERTIFICATE,
    DEVICE,
    DTYPE,
    MODEL,
    NO_CREDENTIALS,
    PRIVATE_KEY,
    TRUST,
    WATERMARK,
    Dtype,
    check_device,
    load_pipeline,
)

if TYPE_CHECKING:
    from ..server.settings import Settings


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
    no_credentials: NO_CREDENTIALS = False,
    certificate: CERTIFICATE = None,
    private_key: PRIVATE_KEY = None,
    trust: TRUST = None,
    ray: Annotated[bool, typer.Option("--ray", help="Run the model in replicas on Ray Serve.")] = False,
    replicas: Annotated[
        str | None, typer.Option(metavar="N|LEAST-MOST", help="With --ray: how many replicas; 1 if not given.")
    ] = None,
    watermark: WATERMARK = False,
) -> None:
    """Serve a model over HTTP, in the shape of OpenAI's API and with any inputs to any outputs.

    The page /docs describes and tries all of it. Ctrl+C finishes the jobs that were taken, then stops.
    """
    least, most = _replicas(replicas, ray)
    threads = threads or max(1, len(_cores()) // most)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read by OpenMP when torch is loaded
    try:
        from ..server.app import build_app
        from ..server.run import limit_memory, listen
        from ..server.run import serve as run
        from ..server.settings import Keys, check_address, make_settings
    except ModuleNotFoundError as error:
        raise _missing("serve", error, "server") from error
    given = {
        "host": host,
        "port": port,
        "max_queue": max_queue,
        "max_batch": max_batch,
        "keep_seconds": keep,
        "aliases": alias or None,
        "public_url": public_url,
        "log_prompts": log_prompts or None,
        "credentials": False if no_credentials else None,
        "certificate": certificate,
        "private_key": private_key,
        "trust": trust,
        "watermark": watermark or None,
    }
    check_device(device)
    folder = resolve(model)
    chosen = make_settings(settings, **given)
    known = Keys(keys)
    check_address(chosen, known)
    _check_certificates(chosen)
    listening = listen(chosen)
    address = chosen.base_url(listening.getsockname()[1])
    if ray:
        try:
            from ..server.ray_engine import RayEngine
            from ..server.replicas import Model, start_replicas, stop_replicas
        except ModuleNotFoundError as error:
            raise _missing("--ray", error, "server,ray") from error
        try:
            parts = Model(folder, device, dtype.value, plain, threads, memory)
            handle = start_replicas(parts, chosen, least, most)
            engine = partial(RayEngine, handle, at_once=2 * most * chosen.max_batch)
            app = build_app(None, chosen, known, folder.name, folder=folder, engine=engine)
            typer.echo(f"serving {folder.name} at {address} on {most} replicas at most", err=True)
            run(app, chosen, listening)
        finally:
            stop_replicas()
        return
    if memory is not None:
        limit_memory(memory)
    pipeline = load_pipeline(model, device, dtype, plain=plain)
    app = build_app(pipeline, chosen, known, folder.name, threads, folder)
    typer.echo(f"serving {folder.name} at {address}", err=True)
    run(app, chosen, listening)


def _check_certificates(settings: "Settings") -> None:
    """Refuse files of certificates and keys that cannot be used, before the model is loaded.

    Raises:
        ArgumentError: naming the file.
    """
    from ..trust import prepare
    from ..trust.identity import read_authorities

    prepare(settings.credentials, settings.certificate, settings.private_key)
    if settings.trust is not None:
        read_authorities(settings.trust)


def _replicas(given: str | None, ray: bool) -> tuple[int, int]:
    """The least and the most of ``N`` or ``LEAST-MOST``."""
    if given is None:
        return 1, 1
    if not ray:
        raise ArgumentError("--replicas: needs --ray, give both or neither")
    found = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", given)
    least, most = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= least <= most:
        raise ArgumentError(f"--replicas: must be a number such as 2, or two such as 1-4, not {given!r}")
    return least, most


def _missing(what: str, error: ModuleNotFoundError, extras: str) -> ArgumentError:
    return ArgumentError(f"{what}: needs {error.name}; install it with: pip install 'opencodi[{extras}]'")


def _cores() -> set[int]:
    """Those that this process may use."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
