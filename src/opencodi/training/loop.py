"""The one training loop: resume → batch → losses → step → report, validate, checkpoint → export.

Every random choice of a step is drawn from (seed, step), so a resumed run sees the same batches and the same noise as one
that was never interrupted, and nothing random needs to be stored.
"""

import json
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from torch.utils.data import DataLoader, Dataset

from ..data.epochs import BatchRandom
from ..errors import TrainingError
from .checkpoint import KEEP, load_checkpoint, reject_checkpoint, save_checkpoint
from .progress import Report
from .recipe import Recipe
from .task import Task


def train(
    task: Task,
    recipe: Recipe,
    run_folder: Path,
    *,
    resume: bool = False,
    minutes: float | None = None,
    workers: int = 0,
    keep: int = KEEP,
    accelerator: Accelerator,
) -> dict[str, float]:
    """Train ``task`` as ``recipe`` says and export its components into ``recipe.model_folder``.

    Args:
        task: the stage; parameters with ``requires_grad`` learn.
        recipe: the run's values.
        run_folder: logs, sample pictures and checkpoints go here.
        resume: continue from the last healthy checkpoint in ``run_folder``.
        minutes: stop after this long (a checkpoint and an export are written then, too).
        workers: processes that draw the next batches meanwhile; 0: they are drawn in turn, by this one.
        keep: how many of the last healthy checkpoints stay.
        accelerator: device, precision and gradient accumulation.

    Returns:
        the last validation's measures.

    Raises:
        TrainingError: if a loss is not finite, or the checkpoint belongs to another run.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, after the step under way and a checkpoint.
    """
    parameters = task.trained_parameters()
    if not parameters:
        raise TrainingError(f"{recipe.task}: nothing is left to train; check the recipe's settings")
    device = accelerator.device
    task.to(device)
    if not resume:
        task.begin(_generator(recipe.seed, 2**31, device))
    optimizer = torch.optim.AdamW(
        parameters.values(),
        lr=recipe.learning_rate,
        betas=recipe.adam_betas,
        weight_decay=recipe.weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )
    ema = EMAModel(parameters.values(), decay=recipe.ema_decay, use_ema_warmup=True, power=0.75)
    averaged = dict(zip(parameters, ema.shadow_params))
    state = {"step": 0, "seconds": 0.0, "recipe": recipe.model_dump()}
    if resume:
        state = {**load_checkpoint(run_folder, parameters, averaged, optimizer), "recipe": state["recipe"]}
        ema.optimization_step = state["step"]
    for group in optimizer.param_groups:
        group["initial_lr"] = recipe.learning_rate  # the schedule counts from here also when it resumes
    schedule = get_scheduler(
        recipe.learning_rate_schedule,
        optimizer,
        num_warmup_steps=recipe.warmup_steps,
        num_training_steps=recipe.steps,
        last_epoch=state["step"] - 1,
    )
    batches = iter(_loader(task, recipe, state["step"], workers, accelerator))
    network, optimizer = accelerator.prepare(task, optimizer)

    started, seconds_before, last_checkpoint = time.monotonic(), state["seconds"], time.monotonic()
    measures: dict[str, float] = {}
    report = Report(recipe, run_folder, state["step"], quiet=not accelerator.is_main_process)

    def checkpoint_now() -> None:
        state["seconds"] = seconds_before + time.monotonic() - started
        save_checkpoint(run_folder, parameters, averaged, optimizer, state, keep)

    def validate_now() -> dict[str, float]:
        ema.store(parameters.values())
        ema.copy_to(parameters.values())
        task.eval()
        with torch.no_grad(), accelerator.autocast():
            found = task.validate(_generator(recipe.seed, 2**31 - 1, device))
            task.sample(
                run_folder / "samples" / f"step-{state['step']:06d}.png", _generator(recipe.seed, 2**31 - 1, device)
            )
        task.train()
        ema.restore(parameters.values())
        report.validation(state["step"], found)
        return found

    (run_folder / "samples").mkdir(parents=True, exist_ok=True)
    task.train()
    with report, interrupts() as interrupted:
        while state["step"] < recipe.steps and not interrupted.is_set():
            out_of_time = minutes is not None and time.monotonic() - started > 60 * minutes
            if out_of_time:
                break
            losses = _step(network, optimizer, parameters, recipe, state["step"], accelerator, batches, run_folder)
            schedule.step()
            ema.step(parameters.values())
            state["step"] += 1
            report.step(state["step"], losses, recipe.batch_size * recipe.gradient_accumulation_steps)
            if state["step"] % recipe.validate_every == 0 and state["step"] < recipe.steps:
                measures = validate_now()
            if accelerator.is_main_process and time.monotonic() - last_checkpoint > 60 * recipe.checkpoint_minutes:
                checkpoint_now()
                last_checkpoint = time.monotonic()
        if accelerator.is_main_process:
            checkpoint_now()
            if interrupted.is_set():
                raise KeyboardInterrupt
            measures = validate_now() or measures
            ema.copy_to(parameters.values())
            task.eval()
            with torch.no_grad():
                task.finish()
            task.export(Path(recipe.model_folder))
            summary = {"step": state["step"], "seconds": round(state["seconds"]), **measures}
            (run_folder / "summary.json").write_text(json.dumps({**summary, "recipe": state["recipe"]}, indent=1))
    return measures


@contextmanager
def interrupts() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets instead of ending the process, so that a step is never cut in two."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # only there may signals be handled
        yield event
        return
    before = {number: signal.signal(number, lambda *_: event.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _step(
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    parameters: dict[str, torch.nn.Parameter],
    recipe: Recipe,
    step: int,
    accelerator: Accelerator,
    batches: Iterator[dict[str, torch.Tensor]],
    run_folder: Path,
) -> dict[str, float]:
    """One optimiser step over ``gradient_accumulation_steps`` batches; returns the mean losses."""
    total: dict[str, float] = {}
    parts = recipe.gradient_accumulation_steps
    for part in range(parts):
        seed = (recipe.seed, step, part, accelerator.process_index)
        batch = {name: value.to(accelerator.device, non_blocking=True) for name, value in next(batches).items()}
        with accelerator.autocast():
            losses = network(batch, _generator(*seed, accelerator.device))
        if not math.isfinite(losses["loss"].item()):
            raise TrainingError(
                f"{recipe.task}: the loss is {losses['loss'].item()} at step {step}; {reject_checkpoint(run_folder, step)}"
            )
        accelerator.backward(losses["loss"] / parts)
        for name, value in losses.items():
            total[name] = total.get(name, 0.0) + value.item() / parts
    total["gradient_norm"] = float(accelerator.clip_grad_norm_(parameters.values(), recipe.max_gradient_norm))
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total


class _Batches(Dataset):
    """Every batch of a run by its number: those of a step's parts follow one another."""

    def __init__(self, task: Task, recipe: Recipe, process: int):
        self.task, self.recipe, self.process = task, recipe, process

    def __len__(self) -> int:
        return self.recipe.steps * self.recipe.gradient_accumulation_steps

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        step, part = divmod(number, self.recipe.gradient_accumulation_steps)
        rng = BatchRandom(number, (self.recipe.seed, step, part, self.process))
        return self.task.sample_batch(rng, self.recipe.batch_size)


def _loader(task: Task, recipe: Recipe, step: int, workers: int, accelerator: Accelerator) -> DataLoader:
    """The batches from ``step`` on, in order."""
    batches = _Batches(task, recipe, accelerator.process_index)
    return DataLoader(
        batches,
        batch_size=None,
        sampler=range(step * recipe.gradient_accumulation_steps, len(batches)),
        num_workers=workers,
        pin_memory=accelerator.device.type == "cuda",
        # Data sets are large and in memory: a fork shares them.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
    )


def _generator(*seed_and_device) -> torch.Generator:
    *seed, device = seed_and_device
    mixed = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> np.uint64(1)
    return torch.Generator(device).manual_seed(int(mixed))
