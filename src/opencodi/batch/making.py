"""Making items: several that one call can make together, each written to a folder of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from ..media import read
from ..modality import MODALITIES
from ..output import AnyToAnyOutput
from ..trust import Credentials, Statement
from .items import Item

DONE, FAILED = "done", "failed"
WORDS = (*MODALITIES, "negative", "seed")
"""Keys of a request that are no settings: inputs, which credentials hold as digests only, and the seed."""


@dataclass
class Maker:
    """Makes items with one model.

    Attributes:
        pipeline: an ``AnyToAnyPipeline``.
        folder: results of an item go to its folder in there.
        extras: names of extras; ``()`` for the paper's core alone, None for those of the model.
        credentials: who signs, see ``AnyToAnyOutput.save``.
        watermark: the key that marks results, or None.
    """

    pipeline: Any
    folder: Path
    extras: Sequence[str] | None = None
    credentials: Credentials | bool = True
    watermark: bytes | None = None

    def make(self, items: Sequence[Item]) -> list[dict[str, Any]]:
        """A line of ``results.jsonl`` for each item, all of one ``kind``. An item that fails leaves no files."""
        try:
            return self._together(items)
        except Exception as error:
            if len(items) == 1:
                return [failure(items[0], _reason(error))]
        return [line for item in items for line in self.make([item])]

    def _together(self, items: Sequence[Item]) -> list[dict[str, Any]]:
        import torch

        started = perf_counter()
        first = items[0]
        inputs = {
            modality: [tuple(_media(modality, each) for each in item.inputs[modality]) for item in items]
            for modality in first.inputs
        }
        # Without any input nothing says how many there are: noise for all of them does.
        repeats = {} if inputs else {"num_outputs_per_prompt": len(items)}
        negative = [item.request.get("negative") for item in items]
        if not inputs:
            negative = negative[:1]
        made = self.pipeline(
            **inputs,
            **repeats,
            outputs=list(first.outputs),
            weights=first.request.get("weights"),
            negative_prompt=None if negative[0] is None else negative,
            num_inference_steps=first.request.get("steps"),
            guidance_scale=first.request.get("guidance"),
            num_candidates=first.request.get("candidates"),
            extras=self.extras,
            generator=[torch.Generator().manual_seed(item.request["seed"]) for item in items],
        )
        if self.watermark is not None:
            from ..trust.watermark import embed_output

            embed_output(made, self.watermark)
        lines, seconds = [], (perf_counter() - started) / len(items)
        for place, item in enumerate(items):
            own = AnyToAnyOutput({modality: made[modality][place : place + 1] for modality in item.outputs})
            settings = {key: value for key, value in item.request.items() if key not in WORDS}
            statement = Statement.of(item.inputs, item.request.get("negative"), seed=item.request["seed"], settings=settings)
            saved = own.save(self.folder / item.id, self.credentials, statement)
            files = [f"{item.id}/{file.name}" for file in saved]
            lines.append(
                {
                    "id": item.id,
                    "status": DONE,
                    "files": files,
                    "seconds": round(seconds, 3),
                    "request": dict(item.request),
                }
            )
        return lines


def failure(item: Item, reason: str) -> dict[str, Any]:
    """The line of an item that failed."""
    return {"id": item.id, "status": FAILED, "error": reason, "request": dict(item.request)}


def _media(modality: str, given: Any) -> Any:
    return read(modality, given) if isinstance(given, Path) else given


def _reason(error: Exception) -> str:
    return " ".join(f"{error}".split()) or type(error).__name__
