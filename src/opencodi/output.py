"""What the pipeline returns: lists per modality, and files people can open."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from .errors import ArgumentError
from .media import write
from .media.files import staged
from .modality import MODALITIES

if TYPE_CHECKING:
    from .trust import Credentials, Statement


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
        model: the name of its folder, if it came from one.
        num_inference_steps, guidance_scale: of every modality that was denoised, hidden ones included.
    """

    def __init__(self, results: Mapping[str, Any] | None = None):
        for name in MODALITIES:
            setattr(self, name, (results or {}).get(name))
        self.seconds: dict[str, float] = {}
        self.model: str | None = None
        self.num_inference_steps: dict[str, int] = {}
        self.guidance_scale: dict[str, float] = {}

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

    def save(
        self,
        folder: str | Path,
        credentials: "Credentials | bool" = True,
        statement: "Statement | None" = None,
    ) -> list[Path]:
        """Write every result as ``text-0.txt``, ``image-0.png``, ``video-0.mp4``, ``audio-0.wav`` and so on.

        Each says in C2PA credentials that a model made it: in itself or, as texts do, in a sidecar ``text-0.c2pa``. Either
        all files appear or none does.

        Args:
            folder: where to; made if missing. Files of the same names are replaced.
            credentials: who signs, as ``opencodi.trust.prepare`` returns it; True: this installation, False: nobody.
            statement: what the credentials say; by default model, steps and guidance.

        Returns:
            The files written, in the order of the modalities, without sidecars.

        Raises:
            ArgumentError: if the results are arrays or latents, or the certificate that the environment names cannot be used.
            NotFinite: if a sound holds samples that are not numbers.
            SystemFailure, MediaError: if a file cannot be written.
        """
        made = {modality: self[modality] for modality in MODALITIES if self[modality] is not None}
        for modality, items in made.items():
            if not all(isinstance(item, MODALITIES[modality].media_type()) for item in items):
                raise ArgumentError(
                    f"{modality}: only media can be saved as files, not arrays or latents; call with output_type='pil'"
                )
        from .trust import Statement, prepare
        from .trust.signing import forget_sidecars

        if isinstance(credentials, bool):
            signs = credentials
            credentials = prepare(signs)
            if signs and credentials.identity is None:
                warnings.warn(f"no credentials are written: {credentials.reason}", stacklevel=2)
        if statement is None:
            settings = {"steps": self.num_inference_steps, "guidance": self.guidance_scale}
            statement = Statement(self.model, settings=settings)
        names = []
        with staged(folder) as stage:
            for modality, items in made.items():
                for number, item in enumerate(items):
                    names.append(f"{modality}-{number}{MODALITIES[modality].write_suffix}")
                    write(modality, item, stage / names[-1])
                    credentials.sign(stage / names[-1], statement.for_result(number))
        forget_sidecars(Path(folder), names, signed=credentials.identity is not None)
        return [Path(folder) / name for name in names]


@contextmanager
def timed(clock: dict[str, float], phase: str) -> Iterator[None]:
    """Put the seconds of what happens inside into ``clock[phase]``."""
    started = perf_counter()
    yield
    clock[phase] = perf_counter() - started
