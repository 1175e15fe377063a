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
from ..argument_rules import collect_weights, parse_weights
from ..bounds import NUMBERS, WHOLE_NUMBERS, check_seeds, finite_number, plain_text, positive_integer
from ..errors import ArgumentError
from ..modality import MODALITIES, Modality, parse_modalities
from ..models import resolve
from .common import (
    CERTIFICATE,
    DEVICE,
    DTYPE,
    MODEL,
    NO_CREDENTIALS,
    PRIVATE_KEY,
    WATERMARK,
    Dtype,
    check_device,
    load_pipeline,
    prepare_credentials,
    show_files,
    steps_bar,
)
from .edge import shown
from .generate_lora import add_loras, parse_loras
from .staging import LAST, check_output, staged


def generate(
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results and result.json.")],
    to: Annotated[
        str | None, typer.Option(metavar="LIST", help="What to make: text, image, video, audio, or all.")
    ] = None,
    text: Annotated[list[str] | None, typer.Option(metavar="WORDS", help="A prompt in words.")] = None,
    image: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="A picture as a prompt.")] = None,
    video: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="A clip as a prompt.")] = None,
    audio: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="A sound as a prompt.")] = None,
    weight: Annotated[
        str | None, typer.Option(metavar="LIST", help="How much each input counts, such as text=1,image=0.5.")
    ] = None,
    negative: Annotated[str | None, typer.Option(metavar="WORDS", help="What to steer away from.")] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="Denoising steps; by default as many as the model says.")
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(metavar="X", help="How closely to follow the inputs; 1 is off; by default what the model says."),
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Make N of each and keep the one nearest to the inputs; by default what the model says."
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="Same seed, same results; by default a random one, which is recorded."),
    ] = None,
    number: Annotated[
        int, typer.Option(metavar="N", help="How many results; their seeds are SEED, SEED + 1 and so on.")
    ] = 1,
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
    no_credentials: NO_CREDENTIALS = False,
    certificate: CERTIFICATE = None,
    private_key: PRIVATE_KEY = None,
    batch: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Many prompts: a line of JSON each, with the names of these options as keys."
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(metavar="N", help="Items of a batch that are made together.")] = 8,
    ray: Annotated[bool, typer.Option("--ray", help="Make the batch with Ray Data, on many machines.")] = False,
    workers: Annotated[int, typer.Option(metavar="N", help="Workers of --ray; each loads the model.")] = 1,
    watermark: WATERMARK = False,
) -> None:
    """Make text, images, video and audio from any of them.

    Inputs may repeat; all are mixed into one prompt. Without any, the results are unconditional.
    """
    if batch is not None:
        single = {"--text": text, "--image": image, "--video": video, "--audio": audio, "--server": server}
        single |= {"--number": None if number == 1 else number}
        for option, value in single.items():
            if value is not None:
                raise ArgumentError(f"{option}: with --batch the lines of the file say what to make; leave it out")
        check_words(None, negative)
        check_numbers(steps, guidance, candidates, number)
        positive_integer("--batch-size", batch_size, (1, 4096))
        positive_integer("--workers", workers, (1, 4096))
        if seed is not None:
            check_seeds("--seed", seed, 1)
        if to is not None:
            parse_modalities(to, argument="--to")
        from ..batch.run import Batch
        from .batch import Loading, generate_batch

        defaults = {"to": to, "negative": negative, "steps": steps, "guidance": guidance, "seed": seed}
        defaults |= {"candidates": candidates, "weights": None if weight is None else parse_weights(weight)}
        signing = (no_credentials, certificate, private_key, watermark)
        loading = Loading(output, model, device, dtype, parse_loras(lora), plain, *signing)
        generate_batch(Batch(batch, output, defaults, batch_size), loading, ray, workers)
        return
    if to is None:
        raise ArgumentError("--to: say what to make, such as --to image")
    outputs = parse_modalities(to, argument="--to")
    given = {modality: items for modality, items in zip(Modality, (text, image, video, audio)) if items}
    weights = None if weight is None else parse_weights(weight)
    collect_weights(weights, given)
    check_words(text, negative)
    if plain and candidates is not None:
        raise ArgumentError("--candidates: is an extra, which --plain leaves out; give one of the two")
    check_numbers(steps, guidance, candidates, number)
    seed = secrets.randbelow(2**31) if seed is None else seed
    check_seeds("--seed", seed, number)
    adapters = parse_loras(lora)
    check_output(output, [*file_names(outputs, number), LAST])
    if server is not None:
        if no_credentials or certificate or private_key:
            raise ArgumentError("--server: it signs its results itself; give these options to `opencodi serve`")
        if adapters:
            raise ArgumentError("--lora: a server has its own weights; leave out --lora, or --server")
        if watermark:
            raise ArgumentError("--watermark: a server marks its results itself; give it to `opencodi serve`")
        from ..server.client import generate_remotely

        asked = {"weights": weights, "negative_prompt": negative, "num_inference_steps": steps}
        asked |= {"guidance_scale": guidance, "num_candidates": candidates, "extras": [] if plain else None}
        show_files(output, generate_remotely(server, output, given, outputs=outputs, seed=seed, number=number, **asked))
        return
    check_device(device)
    model_folder = resolve(model)
    inputs = read_inputs(given)
    from ..trust import Statement
    from ..trust.signing import forget_sidecars

    credentials = prepare_credentials(no_credentials, certificate, private_key)
    statement = Statement.of(given, negative, model_folder, seed)
    from ..trust.watermark import embed_output, watermark_key, written

    key = watermark_key() if watermark else None  # before anything is made, in case it cannot be used

    started = perf_counter()
    pipeline = load_pipeline(model, device, dtype)
    add_loras(pipeline, adapters)
    loaded = perf_counter()
    extras = () if plain else None

    import torch

    with steps_bar(f"making {', '.join(outputs)}", pipeline.num_ticks(outputs, given, steps, extras)) as advance:

        def after_step(pipeline: Any, tick: int, timesteps: Mapping[str, Any], tensors: Any) -> None:
            advance()

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
            "candidates": candidates,
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


def check_words(text: Sequence[str] | None, negative: str | None) -> None:
    """Refuse words that are no UTF-8 or too many.

    Raises:
        ArgumentError: naming the option.
    """
    for words in text or ():
        plain_text("--text", words)
    if negative is not None:
        plain_text("--negative", negative)


def check_numbers(steps: int | None, guidance: float | None, candidates: int | None, number: int) -> None:
    """Refuse numbers that are too small or too large; None is the model's own.

    Raises:
        ArgumentError: naming the option and the limit.
    """
    whole = {
        "--steps": (steps, "num_inference_steps"),
        "--candidates": (candidates, "num_candidates"),
        "--number": (number, "num_outputs_per_prompt"),
    }
    for option, (value, argument) in whole.items():
        if value is not None:
            positive_integer(option, value, WHOLE_NUMBERS[argument])
    if guidance is not None:
        finite_number("--guidance", guidance, NUMBERS["guidance_scale"])


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
