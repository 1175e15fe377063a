"""``opencodi convert stable-diffusion``: bring your own image diffuser."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import ArgumentError
from .common import show_files, spinner
from .edge import importing, printing, shown
from .staging import check_output, staged


def stable_diffusion(
    checkpoint: Annotated[
        Path, typer.Option(metavar="FOLDER", help="A Stable Diffusion 1.x model saved by diffusers (unet/, vae/).")
    ],
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="A new folder for the converted model.")],
) -> None:
    """Convert the UNet and the VAE of a Stable Diffusion 1.x model.

    The result can be trained further for video and for joint generation.
    """
    check_output(output)
    if output.is_dir() and any(output.iterdir()):
        raise ArgumentError(f"--output: {shown(output)} is not empty; give a new folder")
    if not checkpoint.is_dir():
        raise ArgumentError(f"--checkpoint: {shown(checkpoint)} is not a folder; give one saved by diffusers")
    with spinner("converting"), importing():
        from diffusers.utils import logging

        from ..convert.stable_diffusion import from_stable_diffusion, prompt_parts

        logging.set_verbosity_error()  # what matters is checked and said here
        pipeline = from_stable_diffusion(checkpoint)
        with staged(output) as folder:
            pipeline.save_pretrained(folder, max_shard_size="2GB")
    made = [name for name, part in pipeline.components.items() if part is not None]
    show_files(output, sorted([*made, "model_index.json"]))
    if skipped := prompt_parts(checkpoint):
        with printing():
            typer.echo(
                f"not converted: {', '.join(skipped)}; prompt encoders have to share one space and come from a CoDi folder"
            )
