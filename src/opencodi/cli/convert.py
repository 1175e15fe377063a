"""``opencodi convert``: models published elsewhere become model folders of ours."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from .common import check_output
from .convert_folder import folder
from .convert_stable_diffusion import stable_diffusion

app = typer.Typer(help="Turn models published elsewhere into model folders.", no_args_is_help=True)
app.command(name="stable-diffusion")(stable_diffusion)
app.command(name="folder")(folder)


class Dtype(StrEnum):
    """What weights are stored in."""

    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


class Exchange(StrEnum):
    """What jointly generated modalities attend to."""

    OTHERS = "others"
    SELF = "self"


_TOKENIZER = "Its tokenizer: a folder, or a name on the Hugging Face hub."


@app.command()
def codi(
    checkpoints: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Folder of the published files (CoDi_encoders.pth, ...), or some of them."),
    ],
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="The model folder to write, or one to go on with.")],
    dtype: Annotated[Dtype, typer.Option(help="What weights are stored in.")] = Dtype.FLOAT16,
    exchange: Annotated[
        Exchange,
        typer.Option(
            help="What jointly generated outputs attend to: one another (the paper), or self (published code)."
        ),
    ] = Exchange.OTHERS,
    clip_tokenizer: Annotated[
        str, typer.Option(metavar="FOLDER|NAME", help=f"CLIP reads prompts. {_TOKENIZER}")
    ] = "openai/clip-vit-large-patch14",
    bert_tokenizer: Annotated[
        str, typer.Option(metavar="FOLDER|NAME", help=f"Optimus reads text with BERT. {_TOKENIZER}")
    ] = "bert-base-cased",
    gpt2_tokenizer: Annotated[
        str, typer.Option(metavar="FOLDER|NAME", help=f"Optimus writes text with GPT-2. {_TOKENIZER}")
    ] = "gpt2",
) -> None:
    """Convert the published CoDi (Tang et al. 2023). Started again, a stopped conversion goes on."""
    check_output(output)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from transformers.utils import logging

    from ..convert.codi import convert_codi

    logging.disable_progress_bar()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading the files", total=None)

        def show(name: str, done: int, total: int) -> None:
            bar.update(task, description=f"converting {name}", completed=done, total=total)

        record = convert_codi(
            checkpoints,
            output,
            dtype=dtype.value,
            exchange=exchange.value,
            tokenizers={"clip": clip_tokenizer, "bert": bert_tokenizer, "gpt2": gpt2_tokenizer},
            progress=show,
        )
    _print_record(record)
    typer.echo(str(output))


def _print_record(record: dict[str, Any]) -> None:
    """What was converted, and what of the files has no place in the folder, with the reasons."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for title, justify in (("name", "left"), ("parameters", "right"), ("tensors left out", "left")):
        table.add_column(title, justify=justify)
    for name, entry in record["components"].items():
        dropped = "\n".join(f"{count} x {reason}" for reason, count in entry["dropped"].items())
        table.add_row(name, f"{entry['parameters'] / 1e6:.2f} M", dropped)
    Console(soft_wrap=True).print(table)
