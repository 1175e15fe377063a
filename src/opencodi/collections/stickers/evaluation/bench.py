"""What every measure works with: the model, the judges, real items, seeds, and what has been made so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

import numpy as np
import torch

from ....media import Media
from ....modality import Modality
from ....pipeline import AnyToAnyPipeline
from ..judges.networks import Judges
from .budget import Budget
from .collection import Collection

BATCH = 8
BATCH_WITH_CLIPS = 2


class Progress(Protocol):
    """Tells how far an evaluation is."""

    def begin(self, label: str, total: int) -> None:
        """A measure starts that will make about ``total`` samples."""

    def advance(self, count: int) -> None:
        """So many more are made."""


class Silent:
    """Progress that nobody watches."""

    def begin(self, label: str, total: int) -> None: ...

    def advance(self, count: int) -> None: ...


@dataclass(frozen=True)
class Shown:
    """An example for the report.

    Attributes:
        section: the measure it belongs to.
        caption: what one sees.
        given, made: media by modality; ``given`` may hold several of one modality.
    """

    section: str
    caption: str
    given: Sequence[tuple[Modality, Media]]
    made: Sequence[tuple[Modality, Media]]


@dataclass
class Bench:
    """One evaluation.

    Attributes:
        pipeline: the model.
        judges: trained on real data only.
        collection: real items.
        budget: how many samples to take.
        seed: all randomness comes from it.
        model_folder: to time loading; None skips that.
        progress: told about every sample.
        shown: examples for the report.
        made: everything made for the any-to-any table, by output modality, for the distances.
    """

    pipeline: AnyToAnyPipeline
    judges: Judges
    collection: Collection
    budget: Budget
    seed: int = 0
    model_folder: Path | None = None
    progress: Progress = field(default_factory=Silent)
    shown: list[Shown] = field(default_factory=list)
    made: dict[Modality, list[Media]] = field(default_factory=lambda: {modality: [] for modality in Modality})

    def rng(self, purpose: str) -> np.random.Generator:
        """Random choices of one purpose, independent of every other."""
        return np.random.default_rng([self.seed, crc32(purpose.encode())])

    def generators(self, purpose: str, count: int) -> list[torch.Generator]:
        """One generator per sample. The same purpose gives the same ones, so what differs is what was asked."""
        words = np.random.SeedSequence([self.seed, crc32(purpose.encode())]).generate_state(count, np.uint64)
        return [torch.Generator().manual_seed(int(word)) for word in words]

    def make(
        self,
        purpose: str,
        prompts: Mapping[Modality, Sequence[Any]],
        outputs: Sequence[Modality],
        count: int | None = None,
        **options: Any,
    ) -> dict[Modality, list[Media]]:
        """Generate one sample per prompt, with the model's own steps and guidance.

        Args:
            purpose: names the seeds (see ``generators``).
            prompts: lists by input modality, equally long; empty: ``count`` samples of nothing.
            outputs: made together.
            count: how many samples, if there are no prompts.
            **options: of the pipeline.
        """
        total = len(next(iter(prompts.values()))) if prompts else int(count or 0)
        generators = self.generators(purpose, total)
        made: dict[Modality, list[Media]] = {modality: [] for modality in outputs}
        batch = BATCH_WITH_CLIPS if Modality.VIDEO in outputs else BATCH
        for start in range(0, total, batch):
            stop = min(start + batch, total)
            result = self.pipeline(
                **{str(modality): list(items[start:stop]) for modality, items in prompts.items()},
                outputs=list(outputs),
                generator=generators[start:stop],
                **({} if prompts else {"num_outputs_per_prompt": stop - start}),
                **options,
            )
            for modality in outputs:
                made[modality] += result[modality]
            self.progress.advance(stop - start)
        return made

    def show(
        self,
        section: str,
        caption: str,
        given: Sequence[tuple[Modality, Media]],
        made: Sequence[tuple[Modality, Media]],
    ) -> None:
        """Keep an example for the report."""
        self.shown.append(Shown(section, caption, given, made))
