"""The options of ``opencodi generate`` that belong together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ..argument_rules import parse_weights
from ..bounds import NUMBERS, WHOLE_NUMBERS, check_seeds, finite_number, plain_text, positive_integer
from ..errors import ArgumentError
from ..modality import Modality, parse_modalities


@dataclass(frozen=True)
class Inputs:
    """What to make it from."""

    text: Annotated[list[str] | None, typer.Option(metavar="WORDS", help="A prompt in words.")] = None
    image: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="A picture as a prompt.")] = None
    video: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="A clip as a prompt.")] = None
    audio: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="A sound as a prompt.")] = None
    weight: Annotated[
        str | None, typer.Option(metavar="LIST", help="How much each input counts, such as text=1,image=0.5.")
    ] = None
    negative: Annotated[str | None, typer.Option(metavar="WORDS", help="What to steer away from.")] = None

    @property
    def given(self) -> dict[Modality, list[Any]]:
        """Words and files by modality."""
        each = zip(Modality, (self.text, self.image, self.video, self.audio))
        return {modality: items for modality, items in each if items}

    @property
    def weights(self) -> dict[str, Any] | None:
        """``weight`` read."""
        return None if self.weight is None else parse_weights(self.weight)

    def check_words(self) -> None:
        """Refuse words that are no UTF-8 or too many.

        Raises:
            ArgumentError: naming the option.
        """
        for words in self.text or ():
            plain_text("--text", words)
        if self.negative is not None:
            plain_text("--negative", self.negative)


@dataclass(frozen=True)
class Numbers:
    """How it is made."""

    steps: Annotated[
        int | None, typer.Option(metavar="N", help="Denoising steps; by default as many as the model says.")
    ] = None
    guidance: Annotated[
        float | None,
        typer.Option(metavar="X", help="How closely to follow the inputs; 1 is off; by default what the model says."),
    ] = None
    candidates: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Make N of each and keep the one nearest to the inputs; by default what the model says."
        ),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="Same seed, same results; by default a random one, which is recorded."),
    ] = None
    number: Annotated[
        int, typer.Option(metavar="N", help="How many results; their seeds are SEED, SEED + 1 and so on.")
    ] = 1

    def check(self) -> None:
        """Refuse numbers that are too small or too large; None is the model's own.

        Raises:
            ArgumentError: naming the option and the limit.
        """
        whole = {
            "--steps": (self.steps, "num_inference_steps"),
            "--candidates": (self.candidates, "num_candidates"),
            "--number": (self.number, "num_outputs_per_prompt"),
        }
        for option, (value, argument) in whole.items():
            if value is not None:
                positive_integer(option, value, WHOLE_NUMBERS[argument])
        if self.guidance is not None:
            finite_number("--guidance", self.guidance, NUMBERS["guidance_scale"])


@dataclass(frozen=True)
class Many:
    """Many prompts from a file."""

    batch: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Many prompts: a line of JSON each, with the names of these options as keys."
        ),
    ] = None
    batch_size: Annotated[int, typer.Option(metavar="N", help="Items of a batch that are made together.")] = 8
    ray: Annotated[bool, typer.Option("--ray", help="Make the batch with Ray Data, on many machines.")] = False
    workers: Annotated[int, typer.Option(metavar="N", help="Workers of --ray; each loads the model.")] = 1

    def defaults(self, to: str | None, asked: Inputs, numbers: Numbers) -> dict[str, Any]:
        """What lines of the file mean that do not say it.

        Raises:
            ArgumentError: if an option is given that is for a single prompt, or a value is out of range.
        """
        single = {f"--{modality}": items for modality, items in asked.given.items()}
        single |= {} if numbers.number == 1 else {"--number": numbers.number}
        for option in single:
            raise ArgumentError(f"{option}: with --batch the lines of the file say what to make; leave it out")
        asked.check_words()
        numbers.check()
        positive_integer("--batch-size", self.batch_size, (1, 4096))
        positive_integer("--workers", self.workers, (1, 4096))
        if numbers.seed is not None:
            check_seeds("--seed", numbers.seed, 1)
        if to is not None:
            parse_modalities(to, argument="--to")
        found = {"to": to, "negative": asked.negative, "weights": asked.weights, "seed": numbers.seed}
        return found | {"steps": numbers.steps, "guidance": numbers.guidance, "candidates": numbers.candidates}
