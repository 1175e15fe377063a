"""How a run is carried out on a machine: what changes its speed, memory and place, but nothing of what is learned."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .checkpoint import KEEP


@dataclass(frozen=True)
class Options:
    """What ``run_recipe`` takes beside a recipe.

    Attributes:
        minutes: wall-clock time of all of it, from ``started`` to the last file; the run can be resumed.
        started: when the time began to count, as ``time.monotonic()`` gives it.
        resume: continue the same run from its last healthy checkpoint.
        override: resume although the recipe has changed since the checkpoint.
        output: model folder to use instead of the recipe's.
        data: folder of shards; by default ``OPENCODI_DATA``.
        device: cuda, mps or cpu; by default the best there is.
        workers: processes that draw batches beside the training, for a GPU that would wait for them.
        keep: how many of the last healthy checkpoints stay, beside the best.
        export: ``last`` or ``best``: of which step the averaged weights are exported at the end.
        gradient_checkpointing: compute activations again in the backward pass instead of keeping them.
        ema_on_cpu: keep the averaged weights in the memory of the CPU.
        shard: split weights, gradients, moments and averages over the processes (FSDP2).
        track: also report to this library: ``trackio`` or ``wandb``; empty: none.
    """

    minutes: float | None = None
    started: float = field(default_factory=time.monotonic)
    resume: bool = False
    override: bool = False
    output: str | Path | None = None
    data: str | Path | None = None
    device: str | None = None
    workers: int = 0
    keep: int = KEEP
    export: Literal["last", "best"] = "last"
    gradient_checkpointing: bool = False
    ema_on_cpu: bool = False
    shard: bool = False
    track: str = ""
