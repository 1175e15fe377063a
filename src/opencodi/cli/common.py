"""What the commands share: options, loading, and progress on standard error."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ArgumentError
from .edge import importing, printing, say_error, shown
from .staging import check_output, staged

if TYPE_CHECKING:
    from ..pipeline import AnyToAnyPipeline
    from ..trust import Credentials

__all__ = [
    "CERTIFICATE",
    "DEVICE",
    "DTYPE",
    "MODEL",
    "NO_CREDENTIALS",
    "PRIVATE_KEY",
    "TRUST",
    "WATERMARK",
    "Dtype",
    "Signing",
    "check_device",
    "check_output",
    "load_pipeline",
    "prepare_credentials",
    "show_files",
    "spinner",
    "staged",
    "steps_bar",
]


class Dtype(StrEnum):
    """The precision of weights."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


MODEL = Annotated[str, typer.Option(metavar="NAME|FOLDER", help="An installed model, or a model folder.")]
DEVICE = Annotated[
    str | None, typer.Option(metavar="NAME", help="cuda, mps or cpu; the best available if not given.")
]
DTYPE = Annotated[
    Dtype, typer.Option(help="Precision to compute in. Half precision saves memory; most CPUs are slow at it.")
]
NO_CREDENTIALS = Annotated[
    bool, typer.Option("--no-credentials", help="Do not write into the results that a model made them.")
]
CERTIFICATE = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Your certificate (PEM) that signs credentials; else one made here.")
]
TRUST = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Certificates (PEM) of authorities whose signers you believe, too.")
]
PRIVATE_KEY = Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key (PEM).")]

WATERMARK = Annotated[
    bool,
    typer.Option(
        "--watermark/--no-watermark",
        help="Mark pictures, clips and sounds with a secret key of yours; docs/watermark.md.",
    ),
]


@dataclass(frozen=True)
class Signing:
    """How results say that a model made them; the options of a command, see ``groups.grouped``."""

    no_credentials: NO_CREDENTIALS = False
    certificate: CERTIFICATE = None
    private_key: PRIVATE_KEY = None

    def credentials(self) -> "Credentials":
        """See ``prepare_credentials``."""
        return prepare_credentials(self.no_credentials, self.certificate, self.private_key)


DEVICES = ("cpu", "cuda", "mps", "xpu", "hpu", "npu")
"""Kinds of devices that torch knows and that hold tensors."""


def check_device(device: str | None) -> None:
    """Refuse a device that does not exist as far as can be told without loading torch; ``load_pipeline`` asks torch.

    Raises:
        ArgumentError: if the name is not one such as ``cpu`` or ``cuda:1``, or the installed torch was built without it.
    """
    if device is None:
        return
    if not re.fullmatch(rf"({'|'.join(DEVICES)})(:\d{{1,3}})?", device):
        raise ArgumentError(f"device: {device!r} cannot be used; give one of {', '.join(DEVICES[:3])}, such as cuda:1")
    kind = device.partition(":")[0]
    if (kind == "mps" and sys.platform != "darwin") or (kind == "cuda" and not _torch_has_cuda()):
        raise ArgumentError(f"device: {device!r} cannot be used on this machine; try 'cpu'")


def _torch_has_cuda() -> bool:
    """Whether the installed torch was built for NVIDIA's or AMD's GPUs, as its version file says; True if it does not say."""
    spec = find_spec("torch")
    version = Path(spec.origin).with_name("version.py") if spec and spec.origin else None
    if version is None or not version.is_file():
        return True
    built = run_path(str(version))
    return any(built.get(name) is not None for name in ("cuda", "hip")) or "cuda" not in built


def load_pipeline(
    model: str, device: str | None, dtype: Dtype = Dtype.FLOAT32, plain: bool = False
) -> "AnyToAnyPipeline":
    """The model, ready on its device; ``plain``: without its extras.

    Raises:
        ConfigurationError: if there is no such model.
        ArgumentError: if there is no such device.
    """
    from ..models import resolve

    check_device(device)
    folder = resolve(model)
    with spinner("loading the model"), importing():
        import torch

        from ..device import pick_device, warn_if_slow

        picked = pick_device(device)  # first, since it may refuse, and the libraries below take long to import
        warn_if_slow(getattr(torch, dtype.value), picked)

        # The libraries report while they load; the command line has its own messages.
        from diffusers.utils import logging as diffusers_logging
        from transformers.utils import logging as transformers_logging

        from ..pipeline import AnyToAnyPipeline

        diffusers_logging.disable_progress_bar()
        transformers_logging.disable_progress_bar()
        settings = {"extras": {}} if plain else {}
        pipeline = AnyToAnyPipeline.from_pretrained(folder, torch_dtype=getattr(torch, dtype.value), **settings)
        pipeline.to(picked)
        pipeline.set_progress_bar_config(disable=True)
    return pipeline


def prepare_credentials(no_credentials: bool, certificate: Path | None, private_key: Path | None) -> "Credentials":
    """What signs results. If nothing can, although it should, a line on standard error says so, and the work goes on.

    Raises:
        ArgumentError: if the user's own certificate or key cannot be used.
    """
    from ..trust import prepare
    from ..trust.signing import SWITCHED_OFF

    credentials = prepare(not no_credentials, certificate, private_key)
    if credentials.reason not in (None, SWITCHED_OFF):
        say_error(f"warning: no credentials are written: {credentials.reason}")
    return credentials


@contextmanager
def spinner(label: str) -> Iterator[None]:
    """Show on a terminal's standard error that work is going on."""
    from rich.console import Console

    console = Console(stderr=True)
    with console.status(label):
        yield


@contextmanager
def steps_bar(label: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress bar on a terminal's standard error; calling what it yields moves it by one step."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=total)
        yield lambda: bar.advance(task)


def show_files(folder: Path, names: Iterable[str]) -> None:
    """Print where the results are, one path a line."""
    with printing():
        for name in names:
            print(shown(folder / name))
