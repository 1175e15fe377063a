"""Where a run is watched: TensorBoard if it is installed, and trackio or Weights & Biases if asked for."""

import html
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from ..errors import ConfigurationError
from .recipe import Recipe

HOSTED = ("trackio", "wandb")
"""Libraries with the same functions: ``init``, ``log``, ``finish``, ``Image`` …"""

PICTURES, CLIPS, SOUNDS, TEXTS = (".png",), (".gif",), (".wav",), (".txt",)


class Tracker(Protocol):
    """One place where a run is watched."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Losses and measures of a step."""

    def show(self, files: Sequence[Path], step: int) -> None:
        """Pictures, clips, sounds and texts of a validation. A file ``step-000100-dog.wav`` is called ``dog``."""

    def close(self) -> None:
        """Write what is left."""


def open_trackers(run_folder: Path, recipe: Recipe, step: int, track: str = "") -> list[Tracker]:
    """TensorBoard where it is installed, and the library named ``track``, if any.

    Args:
        run_folder: event files go here; its name is the run's.
        recipe: shown beside the losses.
        step: from which on a resumed run logs again.
        track: ``trackio``, ``wandb`` or empty.

    Raises:
        ConfigurationError: if the library is unknown or not installed.
    """
    found: list[Tracker] = []
    with suppress(ImportError):  # the log file says the same
        found.append(TensorBoard(run_folder, step))
    if track:
        found.append(Hosted(track, run_folder, recipe))
    return found


class TensorBoard:
    """Event files in ``folder``; those of steps after ``step`` are hidden, since a resumed run does them again."""

    def __init__(self, folder: Path, step: int):
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Scalars."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def show(self, files: Sequence[Path], step: int) -> None:
        """Pictures, clips that move, sounds that can be played, texts."""
        for path in files:
            name = f"samples/{_name(path)}"
            if path.suffix in PICTURES:
                with Image.open(path) as image:
                    self.writer.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")
            elif path.suffix in CLIPS:
                self._add_clip(f"clips/{_name(path)}", path.read_bytes(), step)
            elif path.suffix in SOUNDS:
                samples, rate = _read_sound(path)
                self.writer.add_audio(f"sounds/{_name(path)}", samples, step, sample_rate=rate)
            elif path.suffix in TEXTS:
                lines = path.read_text(encoding="utf-8").splitlines()
                self.writer.add_text(name, "\n".join(f"    {line}" for line in lines), step)
        self.writer.flush()

    def _add_clip(self, name: str, encoded: bytes, step: int) -> None:
        """A GIF as it is; the writer's own ``add_video`` needs moviepy."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        with Image.open(io.BytesIO(encoded)) as image:
            width, height = image.size
        shown = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=encoded)
        self.writer.file_writer.add_summary(Summary(value=[Summary.Value(tag=name, image=shown)]), step)

    def close(self) -> None:
        """Write the rest."""
        self.writer.close()


class Hosted:
    """A library with the functions of Weights & Biases.

    Args:
        library: one of ``HOSTED``.
        run_folder: its name is the run's.
        recipe: stored as the run's config.
    """

    def __init__(self, library: str, run_folder: Path, recipe: Recipe):
        if library not in HOSTED:
            raise ConfigurationError(f"--track: {library!r} is not one of {', '.join(HOSTED)}")
        try:
            self.library: Any = import_module(library)
        except ImportError as error:
            raise ConfigurationError(f"--track: {library} is not installed: pip install {library}") from error
        self.library.init(project="opencodi", name=run_folder.name, config=recipe.model_dump(mode="json"))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Scalars."""
        self.library.log(dict(values), step=step)

    def show(self, files: Sequence[Path], step: int) -> None:
        """Pictures, clips, sounds and texts, under the names that they have in TensorBoard."""
        shown = {}
        for path in files:
            if path.suffix in PICTURES:
                shown[f"samples/{_name(path)}"] = self.library.Image(str(path))
            elif path.suffix in CLIPS:
                shown[f"clips/{_name(path)}"] = self.library.Video(str(path))
            elif path.suffix in SOUNDS:
                shown[f"sounds/{_name(path)}"] = self.library.Audio(str(path))
            elif path.suffix in TEXTS:
                lines = html.escape(path.read_text(encoding="utf-8"))
                shown[f"texts/{_name(path)}"] = self.library.Html(f"<pre>{lines}</pre>")
        if shown:
            self.library.log(shown, step=step)

    def close(self) -> None:
        """Send the rest."""
        self.library.finish()


def _name(path: Path) -> str:
    """``dog`` for step-000100-dog.wav; ``all`` for step-000100.png."""
    return "-".join(path.stem.split("-")[2:]) or "all"


def _read_sound(path: Path) -> tuple[np.ndarray, int]:
    import soundfile

    samples, rate = soundfile.read(path, dtype="float32")
    return samples, rate
