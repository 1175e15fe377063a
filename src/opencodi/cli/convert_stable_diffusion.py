"""``opencodi convert stable-diffusion``: bring your own image diffuser."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import ArgumentError
from .common import check_output, show_files, spinner, staged


def stable_diffusion(
    checkpoint: Annotated[
        Path, typer.Option(metavar="FOLDER", help="A Stable Diffusion 1.x model saved by diffusers (unet/, vae/).")
    ],
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="A new folder for the converted model.")],
) -> None:
    """Take over the UNet and the VAE of a Stable Diffusion 1.x model, ready to be trained for video and joint generation."""
    check_output(output)
    if output.is_dir() and any(output.iterdir()):
        raise ArgumentError(f"--output: {output} is not empty; give a new folder")
    with spinner("converting"):
        from diffusers.utils import logging

        from ..convert.stable_diffusion import from_stable_diffusion, prompt_parts

        logging.set_verbosity_error()  # what matters is checked and said here
        pipeline = from_stable_diffusion(checkpoint)
        with staged(output) as folder:
            pipeline.save_pretrained(folder, max_shard_size="2GB")
    made = [name for name, part in pipeline.components.items() if part is not None]
    show_files(output, sorted([*made, "model_index.json"]))
    if skipped := prompt_parts(checkpoint):
        typer.echo(f"not converted: {', '.join(skipped)}; prompt encoders share one space and come from a CoDi folder")
