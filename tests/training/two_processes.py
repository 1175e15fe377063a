"""What ``test_processes`` starts twice with torchrun: every stage once, and whatever may happen to one process of a run.

    torchrun --nproc-per-node 2 -m tests.training.two_processes FOLDER

Each process writes what it saw to ``FOLDER/seen-RANK.json``.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from accelerate import PartialState

from opencodi.cli import main
from opencodi.errors import OpenCoDiError
from opencodi.training import loop
from opencodi.training.options import Options
from opencodi.training.processes import make_accelerator
from opencodi.training.run import run_recipe
from opencodi.training.tasks import diffusers

from .test_processes import STAGES, Line, line_recipe
from .tiny_recipes import DATA


def outcome(function) -> str:
    try:
        function()
    except (OpenCoDiError, KeyboardInterrupt, OSError) as error:
        return f"{type(error).__name__}: {error}"
    return "done"


class Troubled(Line):
    """At its third step something happens to the second process alone."""

    def __init__(self, trouble):
        super().__init__()
        self.trouble, self.steps = trouble, 0

    def sample_share(self, rng, batch_size, process, processes):
        if self.trouble == "data" and process == 1 and self.steps == 2:
            raise FileNotFoundError(2, "No such file or directory", "shard-7.tar")
        return super().sample_share(rng, batch_size, process, processes)

    def forward(self, batch, generator):
        losses = super().forward(batch, generator)
        self.steps += self.training
        if self.steps == 3 and PartialState().process_index == 1:
            if self.trouble == "nan":
                return {"loss": losses["loss"] * float("nan")}
            if self.trouble == "signal":
                os.kill(os.getpid(), signal.SIGTERM)
        return losses


def run_line(folder: Path, task: Line, **options) -> None:
    accelerator = make_accelerator(torch.device("cpu"), "no")
    loop.train(task, line_recipe(folder), folder / "run", options=Options(**options), accelerator=accelerator)


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    diffusers.SAMPLE_STEPS, diffusers.COLUMNS = 2, 4
    seen = {}
    for name in STAGES:
        recipe = folder / name / f"{name}.yaml"
        command = ["train", str(folder / name / f"{name}.yaml"), "--data", str(DATA), "--device", "cpu"]
        try:
            main(command)
        except SystemExit as ended:
            seen[name] = ended.code
    resumed = folder / "resumed" / "text_autoencoder.yaml"
    seen["resumed"] = outcome(lambda: run_recipe(resumed, data=DATA, device="cpu", resume=True, override=True))
    sharded = folder / "sharded" / "text_diffuser.yaml"
    options = {"shard": True, "ema_on_cpu": False, "gradient_checkpointing": True}
    seen["sharded"] = outcome(lambda: run_recipe(sharded, data=DATA, device="cpu", **options))
    for trouble in ("nan", "signal", "data"):
        seen[trouble] = outcome(lambda each=trouble: run_line(folder / each, Troubled(each)))
    seen["minutes"] = outcome(lambda: run_line(folder / "minutes", Line(), minutes=1e-9))
    seen["line"] = outcome(lambda: run_line(folder / "line", Line()))
    (folder / f"seen-{rank}.json").write_text(json.dumps(seen))
