"""``opencodi generate --batch``: many prompts from a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from ..batch.making import Maker
from ..batch.run import RESULTS, Batch, make_here, make_with_ray, record
from ..errors import ArgumentError
from ..models import resolve
from .common import Dtype, Signing, check_device, load_pipeline, steps_bar
from .edge import printing, shown
from .generate_lora import add_loras
from .staging import check_output

SOME_FAILED = 3
"""Exit code: the run went through, and some items failed."""


@dataclass(frozen=True)
class Loading:
    """How the model is opened and who signs what it makes, here or in another process."""

    folder: Path
    model: str
    device: str | None
    dtype: Dtype
    adapters: Sequence[tuple[Path, float]] = ()
    plain: bool = False
    signing: Signing = field(default_factory=Signing)
    watermark: bool = False

    def check(self) -> None:
        """Refuse what cannot be used before anything is made, and make the keys that are missing."""
        check_device(self.device)
        resolve(self.model)
        self._marks()

    def __call__(self) -> Maker:
        pipeline = load_pipeline(self.model, self.device, self.dtype)
        add_loras(pipeline, self.adapters)
        return Maker(pipeline, self.folder, () if self.plain else None, *self._marks())

    def _marks(self) -> tuple[Any, bytes | None]:
        from ..trust.keys import watermark_key

        return self.signing.credentials(), watermark_key() if self.watermark else None


def generate_batch(batch: Batch, loading: Loading, ray: bool, workers: int) -> None:
    """Make a prompts file; print what failed, and leave with ``SOME_FAILED`` if anything did.

    Raises:
        ArgumentError: if the file is not there, or the folder cannot be written to.
    """
    if not batch.prompts.is_file():
        raise ArgumentError(
            f"--batch: {shown(batch.prompts)}: there is no such file; give one with a line of JSON per item"
        )
    check_output(batch.folder, [RESULTS])
    loading.check()
    with printing(), steps_bar("items", sum(1 for _ in batch.pending())) as advance:

        def told(line: Mapping[str, Any]) -> None:
            advance()
            if "error" in line:
                print(f"{line['id']}: failed: {line['error']}", flush=True)

        made = make_with_ray(batch, loading, workers) if ray else _here(batch, loading)
        counts = record(batch, made, told)
    with printing():
        print(f"{counts['done']} done, {counts['failed']} failed; see {shown(batch.folder / RESULTS)}")
    if counts["failed"]:
        raise typer.Exit(SOME_FAILED)


def _here(batch: Batch, loading: Loading) -> Any:
    is_any = any(item.error is None for item in batch.pending())
    yield from make_here(batch, loading() if is_any else Maker(None, batch.folder))
