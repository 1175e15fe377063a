"""``opencodi reconstruct``: one file through the autoencoder and back."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ArgumentError
from ..modality import MODALITIES, Modality, parse_modalities
from ..models import resolve
from .common import DEVICE, DTYPE, MODEL, Dtype, check_device, load_pipeline, show_files, spinner
from .edge import printing, shown
from .generate import file_names
from .staging import check_output, staged

if TYPE_CHECKING:
    from ..pipeline import AnyToAnyPipeline


def reconstruct(
    file: Annotated[Path, typer.Argument(help="A text, picture, clip or sound.")],
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the decoded file.")],
    kind: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="text, image, video or audio; by default the file's ending decides."),
    ] = None,
    model: MODEL = "stickers",
    device: DEVICE = None,
    dtype: DTYPE = Dtype.FLOAT32,
) -> None:
    """Encode a file, decode it again, and print how much is lost. No result of the model can be better than this."""
    modality = modality_of(file) if kind is None else only_one(parse_modalities(kind, argument="--as"))
    check_device(device)
    resolve(model)
    check_output(output, file_names([modality]))
    from ..media import read

    original = read(modality, file)
    pipeline = load_pipeline(model, device, dtype)
    result, loss = there_and_back(pipeline, modality, original)
    with staged(output) as folder:
        names = [path.name for path in result.save(folder, credentials=False)]  # no model made these: the user did
    with printing():
        typer.echo(loss)
    show_files(output, names)


def modality_of(file: Path) -> Modality:
    """The modality that a file name's ending stands for; where several read it, the first, so a ``.gif`` is an image.

    Raises:
        ArgumentError: if no modality reads such files.
    """
    for modality, info in MODALITIES.items():
        if file.suffix.lower() in info.read_suffixes:
            return modality
    known = ", ".join(dict.fromkeys(suffix for info in MODALITIES.values() for suffix in info.read_suffixes))
    raise ArgumentError(f"{shown(file)}: the ending {file.suffix!r} is none of {known}; say what the file is with --as")


def only_one(modalities: list[Modality]) -> Modality:
    """The single modality of a list.

    Raises:
        ArgumentError: if there are several.
    """
    if len(modalities) > 1:
        raise ArgumentError("--as: name one modality")
    return modalities[0]


def there_and_back(pipeline: "AnyToAnyPipeline", modality: Modality, original: Any) -> tuple[Any, str]:
    """Encode and decode one media object.

    Returns:
        The result as ``AnyToAnyOutput``, and one line that says how far it is from the original.

    Raises:
        ArgumentError: if the model has no autoencoder for this modality.
    """
    import torch

    from ..latents import codecs
    from ..output import AnyToAnyOutput

    parts = {name: getattr(pipeline, name) for name in MODALITIES[modality].codec_parts.values()}
    codec = codecs(parts).get(modality)
    if codec is None:
        raise ArgumentError(
            f"this model has no {MODALITIES[modality].autoencoder}, needed to reconstruct {modality}; use another --model"
        )
    with spinner(f"reconstructing the {modality}"), torch.no_grad():
        latents = codec.encode([original])
        (back,) = codec.decode(latents)
    return AnyToAnyOutput({modality: [back]}), LOSSES[modality](original, back, codec)


def compare_texts(original: str, back: str, codec: Any) -> str:
    """Both sentences."""
    return f"read: {original}\nback: {back}"


def compare_images(original: Any, back: Any, codec: Any) -> str:
    """Peak signal-to-noise ratio at the model's size."""
    import numpy as np

    from ..media import fit_square

    return psnr_line(np.asarray(fit_square(original, back.height)), np.asarray(back))


def compare_videos(original: Any, back: Any, codec: Any) -> str:
    """Peak signal-to-noise ratio over the frames the model saw, at its size."""
    from ..media import fit_square_frames, sample_frames

    seen = fit_square_frames(sample_frames(original, len(back.frames), back.fps), back.frames.shape[1])
    return psnr_line(seen.frames, back.frames)


def compare_sounds(original: Any, back: Any, codec: Any) -> str:
    """Mean distance of log-mel spectrograms, both at the loudness the model hears."""
    mel = [codec.autoencoder.mel(codec.waveform([sound]).to(codec.autoencoder.device)) for sound in (original, back)]
    decibels = 20 / math.log(10) * (mel[0] - mel[1]).abs().mean().item()
    return f"log-mel distance: {decibels:.2f} dB"


def psnr_line(original: Any, back: Any) -> str:
    """Peak signal-to-noise ratio of two uint8 arrays of one shape."""
    import numpy as np

    error = np.mean((original.astype(float) - back.astype(float)) ** 2)
    return "PSNR: infinite" if error == 0 else f"PSNR: {10 * np.log10(255**2 / error):.2f} dB"


LOSSES: dict[Modality, Callable[[Any, Any, Any], str]] = {
    Modality.TEXT: compare_texts,
    Modality.IMAGE: compare_images,
    Modality.VIDEO: compare_videos,
    Modality.AUDIO: compare_sounds,
}
