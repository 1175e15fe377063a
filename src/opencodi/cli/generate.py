"""``opencodi generate``: any inputs to any outputs, as files."""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer

from .. import __version__
from ..arguments import parse_weights
from ..modality import Modality, parse_modalities
from .common import DEVICE, MODEL, check_output, load_pipeline, show_files, staged, steps_bar


def generate(
    to: Annotated[str, typer.Option(metavar="LIST", help="What to make: text, image, video, audio, or all.")],
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results and result.json.")],
    text: Annotated[list[str] | None, typer.Option(metavar="WORDS", help="A prompt in words.")] = None,
    image: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="A prompt picture.")] = None,
    video: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="A prompt clip.")] = None,
    audio: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="A prompt sound.")] = None,
    weight: Annotated[
        str | None, typer.Option(metavar="LIST", help="How much each input counts, such as text=1,image=0.5.")
    ] = None,
    negative: Annotated[str | None, typer.Option(metavar="WORDS", help="What to steer away from.")] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Denoising steps; the model's own number if not given.")
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(metavar="X", help="How closely to follow the inputs; 1 is off; the model's own if not given."),
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Make N of each and keep the one nearest to the inputs; the model's own if not given.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Same seed, same results; drawn and recorded if not given.")
    ] = None,
    number: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many results; their seeds are SEED, SEED + 1 and so on.")
    ] = 1,
    plain: Annotated[
        bool, typer.Option("--plain", help="Use the paper's core alone, without the extras of the model.")
    ] = False,
    model: MODEL = "stickers",
    device: DEVICE = None,
) -> None:
    """Make text, images, video and audio from any of them.

    Inputs may repeat; all are mixed into one prompt. Without any, the results are unconditional.
    """
    outputs = parse_modalities(to, argument="--to")
    weights = None if weight is None else parse_weights(weight)
    given = {modality: items for modality, items in zip(Modality, (text, image, video, audio)) if items}
    check_output(output)
    inputs = read_inputs(given)
    seed = secrets.randbelow(2**31) if seed is None else seed

    started = perf_counter()
    pipeline = load_pipeline(model, device)
    loaded = perf_counter()
    extras = () if plain else None

    import torch

    with steps_bar(f"making {', '.join(outputs)}", pipeline.num_ticks(outputs, given, steps, extras)) as advance:
        result = pipeline(
            **inputs,
            outputs=outputs,
            weights=weights,
            negative_prompt=negative,
            num_inference_steps=steps,
            guidance_scale=guidance,
            num_candidates=candidates,
            extras=extras,
            num_outputs_per_prompt=number,
            generator=[torch.Generator().manual_seed(seed + place) for place in range(number)],
            callback_on_step_end=lambda *_: advance(),
        )
    with staged(output) as folder:
        writing = perf_counter()
        files = result.save(folder)
        seconds = {"load": loaded - started, **result.seconds, "write": perf_counter() - writing}
        report = {
            "opencodi": __version__,
            "inputs": {modality: [str(item) for item in items] for modality, items in given.items()},
            "settings": {
                "model": model,
                "device": str(pipeline.device),
                "outputs": outputs,
                "weights": weights,
                "negative": negative,
                "steps": result.num_inference_steps,
                "guidance": pipeline.defaults["guidance_scale"] if guidance is None else guidance,
                "extras": [] if plain else sorted(pipeline.extras),
                "candidates": candidates,
                "number": number,
            },
            "seed": seed,
            "seconds": {phase: round(duration, 3) for phase, duration in seconds.items()},
            "files": [file.name for file in files],
        }
        (folder / "result.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    show_files(output, report["files"])


def read_inputs(given: Mapping[Modality, list[Any]]) -> dict[str, tuple[Any, ...]]:
    """Words as they are, files as media objects; several of one modality become conditions of one prompt.

    Raises:
        MediaError: if a file cannot be read as this modality.
    """
    from ..media import read

    return {
        modality.value: tuple(item if isinstance(item, str) else read(modality, item) for item in items)
        for modality, items in given.items()
    }
