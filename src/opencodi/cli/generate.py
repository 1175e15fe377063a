"""``opencodi generate``: any inputs to any outputs, as files."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer

from .. import __version__
from ..argument_rules import collect_weights
from ..bounds import check_seeds
from ..errors import ArgumentError
from ..modality import MODALITIES, Modality, parse_modalities
from ..models import resolve
from .common import (
    DEVICE,
    DTYPE,
    MODEL,
    WATERMARK,
    Dtype,
    Signing,
    check_device,
    load_pipeline,
    show_files,
    steps_bar,
)
from .edge import shown
from .generate_lora import add_loras, parse_loras
from .generate_options import Inputs, Many, Numbers
from .groups import grouped
from .staging import LAST, check_output, staged


@grouped
def generate(
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results and result.json.")],
    to: Annotated[
        str | None, typer.Option(metavar="LIST", help="What to make: text, image, video, audio, or all.")
    ] = None,
    *,
    asked: Inputs,
    numbers: Numbers,
    plain: Annotated[
        bool, typer.Option("--plain", help="Use the paper's core alone, without the extras of the model.")
    ] = False,
    lora: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE[:X]", help="LoRA weights to add, with the weight X (1 by default); may repeat."),
    ] = None,
    model: MODEL = "stickers",
    device: DEVICE = None,
    dtype: DTYPE = Dtype.FLOAT32,
    server: Annotated[
        str | None, typer.Option(metavar="URL", help="Let a running `opencodi serve` do the work; needs no model here.")
    ] = None,
    signing: Signing,
    many: Many,
    watermark: WATERMARK = False,
) -> None:
    """Make text, images, video and audio from any of them.

    Inputs may repeat; all are mixed into one prompt. Without any, the results are unconditional.
    """
    if many.batch is not None:
        if server is not None:
            raise ArgumentError("--server: with --batch the lines of the file say what to make; leave it out")
        defaults = many.defaults(to, asked, numbers)
        from ..batch.run import Batch
        from .batch import Loading, generate_batch

        loading = Loading(output, model, device, dtype, parse_loras(lora), plain, signing, watermark)
        generate_batch(Batch(many.batch, output, defaults, many.batch_size), loading, many.ray, many.workers)
        return
    if to is None:
        raise ArgumentError("--to: say what to make, such as --to image")
    outputs = parse_modalities(to, argument="--to")
    given, weights = asked.given, asked.weights
    collect_weights(weights, given)
    asked.check_words()
    if plain and numbers.candidates is not None:
        raise ArgumentError("--candidates: is an extra, which --plain leaves out; give one of the two")
    numbers.check()
    number, negative = numbers.number, asked.negative
    seed = secrets.randbelow(2**31) if numbers.seed is None else numbers.seed
    check_seeds("--seed", seed, number)
    adapters = parse_loras(lora)
    check_output(output, [*file_names(outputs, number), LAST])
    if server is not None:
        if signing != Signing():
            raise ArgumentError("--server: it signs its results itself; give these options to `opencodi serve`")
        if adapters:
            raise ArgumentError("--lora: a server has its own weights; leave out --lora, or --server")
        if watermark:
            raise ArgumentError("--watermark: a server marks its results itself; give it to `opencodi serve`")
        from ..server.client import generate_remotely

        settings = {"weights": weights, "negative_prompt": negative, "num_inference_steps": numbers.steps}
        settings |= {"guidance_scale": numbers.guidance, "num_candidates": numbers.candidates}
        settings |= {"extras": [] if plain else None, "seed": seed, "number": number}
        show_files(output, generate_remotely(server, output, given, outputs=outputs, **settings))
        return
    check_device(device)
    model_folder = resolve(model)
    inputs = read_inputs(given)
    from ..trust import Statement
    from ..trust.signing import forget_sidecars

    credentials = signing.credentials()
    statement = Statement.of(given, negative, model_folder, seed)
    from ..trust.watermark import embed_output, watermark_key, written

    key = watermark_key() if watermark else None  # before anything is made, in case it cannot be used

    started = perf_counter()
    pipeline = load_pipeline(model, device, dtype)
    add_loras(pipeline, adapters)
    loaded = perf_counter()
    extras = () if plain else None

    import torch

    with steps_bar(f"making {', '.join(outputs)}", pipeline.num_ticks(outputs, given, numbers.steps, extras)) as advance:

        def after_step(pipeline: Any, tick: int, timesteps: Mapping[str, Any], tensors: Any) -> None:
            advance()

        result = pipeline(
            **inputs,
            outputs=outputs,
            weights=weights,
            negative_prompt=negative,
            num_inference_steps=numbers.steps,
            guidance_scale=numbers.guidance,
            num_candidates=numbers.candidates,
            extras=extras,
            num_outputs_per_prompt=number,
            generator=[torch.Generator().manual_seed(seed + place) for place in range(number)],
            callback_on_step_end=after_step,
        )
    if key is not None:
        embed_output(result, key)
    with staged(output) as folder:
        writing = perf_counter()
        settings = {
            "device": str(pipeline.device),
            "dtype": dtype.value,
            "outputs": outputs,
            "weights": weights,
            "steps": result.num_inference_steps,
            "guidance": result.guidance_scale,
            "extras": [] if plain else sorted(pipeline.extras),
            "candidates": numbers.candidates,
            "number": number,
        }
        files = result.save(folder, credentials, replace(statement, settings=settings))
        seconds = {"load": loaded - started, **result.seconds, "write": perf_counter() - writing}
        report = {
            "opencodi": __version__,
            "inputs": {m: [item if m == "text" else shown(item) for item in items] for m, items in given.items()},
            "settings": {
                "model": shown(model),
                "negative": negative,
                **settings,
                "lora": {shown(file): weight for file, weight in adapters},
            },
            "seed": seed,
            "seconds": {phase: round(duration, 3) for phase, duration in seconds.items()},
            "files": [file.name for file in files],
            "credentials": credentials.report(statement),
            "watermark": written(watermark, outputs),
        }
        (folder / LAST).write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    forget_sidecars(output, report["files"], signed=credentials.identity is not None)
    show_files(output, report["files"])


def file_names(outputs: Sequence[str], number: int = 1) -> list[str]:
    """The files that so many results of each output will be written to."""
    return [f"{modality}-{place}{MODALITIES[modality].write_suffix}" for modality in outputs for place in range(number)]


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
