"""What the pipeline returns: lists per modality, and files people can open."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from .errors import ArgumentError
from .media import write
from .modality import MODALITIES


class AnyToAnyOutput:
    """Results per modality; ``None`` where a modality was not asked for.

    Each list is ordered by prompt, then by output of that prompt. With ``output_type="np"`` each but text is one array of
    them all instead; with ``"latent"`` each is the batch of denoised latents, ``[batch, ...]`` as the modality's codec
    decodes them.

    Args:
        results: modality → results.

    Attributes:
        text: sentences, ``list[str]``.
        image: RGB pictures, ``list[PIL.Image.Image]``.
        video: clips, ``list[Video]``; a clip made together with audio carries it as its sound track.
        audio: sounds, ``list[Audio]``.
        seconds: how long each phase of the call took, reading its parts included: ``encode``, ``denoise`` and ``decode``.
        num_inference_steps: steps of every modality that was denoised, hidden ones included.
    """

    def __init__(self, results: Mapping[str, Any] | None = None):
        for name in MODALITIES:
            setattr(self, name, (results or {}).get(name))
        self.seconds: dict[str, float] = {}
        self.num_inference_steps: dict[str, int] = {}

    @classmethod
    def from_media(cls, media: Mapping[str, list[Any]]) -> "AnyToAnyOutput":
        """Collect decoded media; clips made together with sounds get them as sound tracks."""
        output = cls(media)
        if output.video is not None and output.audio is not None:
            output.video = [replace(clip, audio=sound) for clip, sound in zip(output.video, output.audio)]
        return output

    def __getitem__(self, modality: str) -> Any:
        """``output["image"]`` is ``output.image``.

        Raises:
            ArgumentError: if there is no such modality.
        """
        if modality not in MODALITIES:
            raise ArgumentError(f"output: there is no modality {modality!r}; choose from {', '.join(MODALITIES)}")
        return getattr(self, modality)

    def to_tuple(self) -> tuple[Any, ...]:
        """The lists (or ``None``) in the fixed order: text, image, video, audio."""
        return tuple(self[modality] for modality in MODALITIES)

    def save(self, folder: str | Path) -> list[Path]:
        """Write every result as ``text-0.txt``, ``image-0.png``, ``video-0.mp4``, ``audio-0.wav`` and so on.

        Args:
            folder: where to; made if missing. Files of the same names are replaced.

        Returns:
            The files written, in the order of the modalities.

        Raises:
            ArgumentError: if the results are arrays or latents.
            MediaError: if a file cannot be written.
        """
        made = {modality: self[modality] for modality in MODALITIES if self[modality] is not None}
        for modality, items in made.items():
            if not all(isinstance(item, MODALITIES[modality].media_type()) for item in items):
                raise ArgumentError(
                    f"{modality}: only media can be saved as files, not arrays or latents; call with output_type='pil'"
                )
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for modality, items in made.items():
            for number, item in enumerate(items):
                files.append(folder / f"{modality}-{number}{MODALITIES[modality].write_suffix}")
                write(modality, item, files[-1])
        return files


@contextmanager
def timed(clock: dict[str, float], phase: str) -> Iterator[None]:
    """Put the seconds of what happens inside into ``clock[phase]``."""
    started = perf_counter()
    yield
    clock[phase] = perf_counter() - started
