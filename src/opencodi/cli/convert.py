"""``opencodi convert``: turn models published elsewhere into model folders."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ArgumentError
from .common import Dtype
from .convert_folder import folder
from .convert_stable_diffusion import stable_diffusion
from .edge import importing, printing, shown
from .staging import check_output

app = typer.Typer(help="Turn models published elsewhere into model folders.", no_args_is_help=True)
app.command(name="stable-diffusion")(stable_diffusion)
app.command(name="folder")(folder)


class Exchange(StrEnum):
    """What jointly generated modalities attend to."""

    OTHERS = "others"
    SELF = "self"


_TOKENIZER = "a folder, or a name on the Hugging Face hub."


@app.command()
def codi(
    checkpoints: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Folder with all or some of the published files (CoDi_encoders.pth, ...)."),
    ],
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="The model folder to write, or one to continue.")],
    dtype: Annotated[Dtype, typer.Option(help="Precision to store the weights in.")] = Dtype.FLOAT16,
    exchange: Annotated[
        Exchange,
        typer.Option(
            help="What jointly generated outputs attend to: others (the paper) or self (the published code)."
        ),
    ] = Exchange.OTHERS,
    clip_tokenizer: Annotated[
        str, typer.Option(metavar="FOLDER|NAME", help=f"Tokenizer of CLIP, which reads prompts: {_TOKENIZER}")
    ] = "openai/clip-vit-large-patch14",
    bert_tokenizer: Annotated[
        str, typer.Option(metavar="FOLDER|NAME", help=f"Tokenizer of BERT, with which Optimus reads text: {_TOKENIZER}")
    ] = "bert-base-cased",
    gpt2_tokenizer: Annotated[
        str, typer.Option(metavar="FOLDER|NAME", help=f"Tokenizer of GPT-2, with which Optimus writes text: {_TOKENIZER}")
    ] = "gpt2",
) -> None:
    """Convert the published CoDi (Tang et al. 2023). If it is stopped, the same command continues."""
    if not checkpoints.exists():
        raise ArgumentError(f"--checkpoints: there is no folder {shown(checkpoints)}; check its name")
    check_output(output)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    with importing():
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
    with printing():
        _print_record(record)
        typer.echo(shown(output))


def _print_record(record: dict[str, Any]) -> None:
    """Print what was converted, and which tensors were left out and why."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for title, justify in (("name", "left"), ("parameters", "right"), ("tensors left out", "left")):
        table.add_column(title, justify=justify)
    for name, entry in record["components"].items():
        dropped = "\n".join(f"{count} x {reason}" for reason, count in entry["dropped"].items())
        table.add_row(name, f"{entry['parameters'] / 1e6:.2f} M", dropped)
    Console(soft_wrap=True).print(table)
