"""What a training stage is: a module whose forward pass maps a batch to losses. The loop owns everything else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .components import save_component
from .processes import process_share
from .recipe import Values


class Task(nn.Module):
    """Base of every stage.

    A task holds the networks it needs as submodules. Whatever has ``requires_grad`` is trained, averaged and checkpointed by
    the loop; the rest is frozen. Constructed as ``Task(settings, data, parts)``: its values, what it learns from (it opens no
    files itself) and the components of earlier stages (a ``ModelFolder``).

    Attributes:
        Settings: the values a recipe may give under ``settings``.
    """

    Settings: type[Values]

    def begin(self, generator: torch.Generator) -> None:
        """Called once before the first step of a run, with its initial weights in place; not when a run resumes.

        It runs in full precision: autocast keeps copies of weights, which training inside it would leave behind. For a stage
        to override; here it does nothing.
        """

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> dict[str, torch.Tensor]:
        """Draw a training batch on the CPU. All choices come from ``rng``, so a step's batch depends only on its number."""
        raise TypeError(f"{type(self).__name__} draws no batches")

    def sample_share(
        self, rng: np.random.Generator, batch_size: int, process: int, processes: int
    ) -> dict[str, torch.Tensor]:
        """What one of ``processes`` works on of the batch that ``rng`` gives: its rows, ``batch_size / processes`` of them.

        Here each process draws the whole batch, so that it is the same however many there are. A stage whose batches are dear
        to draw may draw its own rows alone.
        """
        return process_share(self.sample_batch(rng, batch_size), process, processes)

    def forward(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Losses of a batch; ``loss`` is what is minimised, the others are reported. Noise comes from ``generator``."""
        raise TypeError(f"{type(self).__name__} computes no losses")

    def validate(self, generator: torch.Generator) -> dict[str, float]:
        """Losses and measures on the validation split, with the averaged weights in place."""
        return {}

    def score(self, measures: Mapping[str, float]) -> float | None:
        """How good the networks are that ``validate`` found these measures of: the larger, the better. None: not known.

        Of one run, the checkpoint with the largest is the best. For a stage to override; here it is the loss, negated.
        """
        return -measures["loss"] if "loss" in measures else None

    def sample(self, path: Path, generator: torch.Generator) -> None:
        """Write a picture (PNG) at ``path`` that shows what the networks have learned so far.

        For a stage to override; here, and where there is nothing to see, it writes none.
        """

    def finish(self) -> None:
        """Called once before ``export``, with the averaged weights in place: measure what goes into the configs.

        For a stage to override; here it does nothing.
        """

    def export(self, folder: Path) -> None:
        """Write the trained components into ``folder``, one sub-folder each, with the averaged weights in place."""
        for name, network in self.components().items():
            save_component(network, folder / name)

    def components(self) -> dict[str, Any]:
        """The components this stage trains: {name in the pipeline: network}."""
        return {}

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """{name: parameter} of everything that learns."""
        return {name: value for name, value in self.named_parameters() if value.requires_grad}

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.parameters()).device
