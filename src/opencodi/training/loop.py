"""The one training loop: resume → batch → losses → step → report, validate, checkpoint → export.

Every random choice of a step is drawn from (seed, step), so a resumed run sees the same batches and the same noise as one
that was never interrupted, and nothing random needs to be stored. With several processes each does its share of every batch
(``processes``); the first one writes.
"""

import json
import math
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from diffusers.optimization import get_scheduler

from ..errors import TrainingError
from .averages import Averages
from .batches import loader
from .checkpoint import (
    find_best,
    load_averaged,
    load_checkpoint,
    reject_checkpoint,
    rewrite_state,
    save_checkpoint,
    set_unhealthy_aside,
    step_of,
)
from .components import save_component
from .memory import checkpoint_gradients, halve_frozen
from .options import Options
from .processes import (
    agreed,
    check_divides,
    mean_over_processes,
    on_first,
    shard,
    together,
    unsharded,
    whole_batch,
    whole_network,
)
from .progress import Report
from .recipe import Recipe, comparable
from .task import Task
from .timing import Deadline

Result = TypeVar("Result")


def train(
    task: Task, recipe: Recipe, run_folder: Path, *, options: Options | None = None, accelerator: Accelerator
) -> dict[str, float]:
    """Train ``task`` as ``recipe`` says and export its components into ``recipe.model_folder``.

    Args:
        task: the stage; parameters with ``requires_grad`` learn.
        recipe: the run's values.
        run_folder: logs, sample pictures and checkpoints go here.
        options: resuming, time, memory.
        accelerator: device, precision and processes.

    Returns:
        the last validation's measures; empty on all processes but the first.

    Raises:
        TrainingError: if a loss is not finite, or the checkpoint belongs to another run.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, after the step under way and a checkpoint.
    """
    return Run(task, recipe, run_folder, options or Options(), accelerator).train()


class Run:
    """A task in training: its weights, optimizer and averages, and how far it is.

    Args:
        task, recipe, run_folder, options, accelerator: as for ``train``.
    """

    def __init__(self, task: Task, recipe: Recipe, run_folder: Path, options: Options, accelerator: Accelerator):
        self.task, self.recipe, self.folder = task, recipe, run_folder
        self.options, self.accelerator = options, accelerator
        if not task.trained_parameters():
            raise TrainingError(f"{recipe.task}: nothing is left to train; check the recipe's settings")
        check_divides(recipe.batch_size, accelerator.num_processes)
        device = accelerator.device
        task.to(device)
        if not options.resume:
            task.begin(generator_of(recipe.seed, 2**31, device))
        if accelerator.mixed_precision == "bf16":
            halve_frozen(task)
        if options.gradient_checkpointing and not checkpoint_gradients(task):
            raise TrainingError(f"{recipe.task}: has no blocks whose activations could be computed again")
        if options.shard:
            shard(task, accelerator)
        self.parameters = task.trained_parameters()
        optimizer = torch.optim.AdamW(
            self.parameters.values(),
            lr=recipe.learning_rate,
            betas=recipe.adam_betas,
            weight_decay=recipe.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )
        # The weights of the first process reach all others here.
        self.network = task if options.shard else accelerator.prepare(task)
        self.optimizer = accelerator.prepare(optimizer)
        self.averages = Averages(self.parameters, recipe.ema_decay, options.ema_on_cpu)
        self.state = {"step": 0, "seconds": 0.0, "recipe": recipe.model_dump(mode="json")}
        if options.resume:
            self._resume()
        for group in self.optimizer.param_groups:
            group["initial_lr"] = recipe.learning_rate  # the schedule counts from here also when it resumes
        self.schedule = get_scheduler(
            recipe.learning_rate_schedule,
            getattr(self.optimizer, "optimizer", self.optimizer),
            num_warmup_steps=recipe.warmup_steps,
            num_training_steps=recipe.steps,
            last_epoch=self.step - 1,
        )
        self.batches = iter(loader(task, recipe, self.step, options.workers, accelerator))

    @property
    def step(self) -> int:
        """Optimiser steps done."""
        return self.state["step"]

    def _resume(self) -> None:
        on_first(self.accelerator, lambda: set_unhealthy_aside(self.folder))
        found = load_checkpoint(self.folder, self.parameters, self.averages.tensors, self.optimizer)
        if not comparable(found.get("recipe", {}), self.recipe) or find_best(self.folder) is None:
            found.pop("best", None)
        self.state = {**found, "recipe": self.state["recipe"]}
        self.averages.resume(self.step)

    def train(self) -> dict[str, float]:
        """All steps that are left, or as many as there is time for; then a checkpoint, a validation and the export."""
        recipe, options, accelerator = self.recipe, self.options, self.accelerator
        begun, seconds_before, last_checkpoint = time.monotonic(), self.state["seconds"], time.monotonic()
        deadline, saved = Deadline(options.minutes, options.started), self.step
        measures: dict[str, float] = {}

        def checkpoint_now() -> None:
            self.state["seconds"] = seconds_before + time.monotonic() - begun
            with deadline.measuring("checkpoint"):
                save_checkpoint(
                    self.folder,
                    self.parameters,
                    self.averages.tensors,
                    self.optimizer,
                    self.state,
                    options.keep,
                    accelerator,
                )

        with ExitStack() as stack:
            report = stack.enter_context(self._report())
            interrupted = stack.enter_context(interrupts())
            self.task.train()
            if deadline.limited and not agreed(accelerator, deadline.passed())[0]:
                with deadline.measuring("closing"):  # so that it is known how long the end will take
                    self._validate(report)
                    self._closing_measurements()
            while self.step < recipe.steps:
                due = self.step > saved and time.monotonic() - last_checkpoint > 60 * recipe.checkpoint_minutes
                stop, write = agreed(accelerator, interrupted.is_set() or deadline.passed(), due)
                if write:
                    checkpoint_now()
                    saved, last_checkpoint = self.step, time.monotonic()
                if stop:
                    break
                with deadline.measuring("step"):
                    losses = self._step(checkpoint_now)
                self.state["step"] += 1
                report.step(self.step, losses, recipe.batch_size * recipe.gradient_accumulation_steps)
                if self.step % recipe.validate_every == 0 and self.step < recipe.steps:
                    with deadline.measuring("closing"):
                        measures = self._validate(report)
                    if self._is_best(measures):
                        checkpoint_now()
                        saved, last_checkpoint = self.step, time.monotonic()
            checkpoint_now()
            if agreed(accelerator, interrupted.is_set())[0]:
                raise KeyboardInterrupt
            measures = self._validate(report) or measures
            if self._is_best(measures):
                on_first(accelerator, lambda: rewrite_state(self.folder, self.state, options.keep))
            self._export(measures)
        return measures

    def _is_best(self, measures: dict[str, float]) -> bool:
        """Whether no validation before this one was as good, on all processes; then the state says so."""
        score = self.task.score(measures)
        best = self.state.get("best")
        is_best = score is not None and math.isfinite(score) and (best is None or score > best["score"])
        if is_best:
            self.state["best"] = {"step": self.step, "score": score, "measures": measures}
        return agreed(self.accelerator, is_best)[0]

    @contextmanager
    def _report(self) -> Iterator[Report]:
        first = self.accelerator.is_main_process
        if first:
            (self.folder / "samples").mkdir(parents=True, exist_ok=True)
        with Report(self.recipe, self.folder, self.step, quiet=not first, track=self.options.track) as report:
            yield report

    def _validate(self, report: Report) -> dict[str, float]:
        """Measure and show the averaged weights."""
        recipe, device = self.recipe, self.accelerator.device
        samples = self.folder / "samples"

        def validate() -> dict[str, float]:
            self.task.eval()
            with torch.no_grad(), self.accelerator.autocast(), tempfile.TemporaryDirectory() as elsewhere:
                found = self.task.validate(generator_of(recipe.seed, 2**31 - 1, device))
                folder = samples if self.accelerator.is_main_process else Path(elsewhere)
                self.task.sample(folder / f"step-{self.step:06d}.png", generator_of(recipe.seed, 2**31 - 1, device))
            self.task.train()
            return found

        with self.averages.in_place():
            found = self._once(validate)
        if not self.accelerator.is_main_process:
            return {}
        report.validation(self.step, found, samples / f"step-{self.step:06d}.png")
        return found

    def _once(self, function: Callable[[], Result]) -> Result | None:
        """On the first process alone, or on all where the weights are sharded among them."""
        if not self.options.shard:
            return on_first(self.accelerator, function)
        with unsharded(self.task):
            return together(self.accelerator, function)

    def _closing_measurements(self) -> None:
        self.task.eval()
        with self.averages.in_place(), torch.no_grad():
            self._once(self.task.finish)
        self.task.train()

    def _export(self, measures: dict[str, float]) -> None:
        """Write the averaged weights into the model folder, and ``summary.json`` last: it says that the stage is finished."""
        best, exported = find_best(self.folder), self.step
        if self.options.export == "best" and best is not None and step_of(best) != self.step:
            load_averaged(best, self.parameters)
            exported, measures = step_of(best), {**measures, **self.state.get("best", {}).get("measures", {})}
        else:
            self.averages.put_in_place()
        self.task.eval()
        with torch.no_grad():
            self._once(self.task.finish)
        folder = Path(self.recipe.model_folder)
        if self.options.shard:
            parts = {name: whole_network(part) for name, part in self.task.components().items()}
            on_first(self.accelerator, lambda: [save_component(part, folder / name) for name, part in parts.items()])
        else:
            on_first(self.accelerator, lambda: self.task.export(folder))
        summary = {"step": self.step, "exported_step": exported, "seconds": round(self.state["seconds"]), **measures}
        summary |= {"peak_memory_mb": _peak_memory(self.accelerator.device), "recipe": self.state["recipe"]}
        on_first(self.accelerator, lambda: write_json(self.folder / "summary.json", summary))

    def _step(self, save: Callable[[], None]) -> dict[str, float]:
        """One optimiser step over ``gradient_accumulation_steps`` batches; returns the mean losses of all processes.

        If the data of a step cannot be read, ``save`` is called first.
        """
        total: dict[str, float] = {}
        recipe, accelerator = self.recipe, self.accelerator
        for part in range(recipe.gradient_accumulation_steps):
            batch = self._next_batch(save)
            seed = (recipe.seed, self.step, part)
            _seed_dropout(*seed, accelerator.process_index)
            generator = generator_of(*seed, 0, accelerator.device)
            last = part == recipe.gradient_accumulation_steps - 1
            with ExitStack() as stack:
                if not last and not self.options.shard:
                    stack.enter_context(accelerator.no_sync(self.network))
                with accelerator.autocast(), whole_batch(accelerator, generator):
                    losses = self.network(batch, generator)
                values = {name: value.item() for name, value in losses.items()}
                values = mean_over_processes(accelerator, values)
                if not math.isfinite(values["loss"]):
                    self._stop_at_loss(values["loss"])
                accelerator.backward(losses["loss"] / recipe.gradient_accumulation_steps)
            for name, value in values.items():
                total[name] = total.get(name, 0.0) + value / recipe.gradient_accumulation_steps
        norm = accelerator.clip_grad_norm_(self.parameters.values(), recipe.max_gradient_norm)
        total["gradient_norm"] = float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
        total["learning_rate"] = self.schedule.get_last_lr()[0]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.schedule.step()
        self.averages.step()
        return total

    def _next_batch(self, save: Callable[[], None]) -> dict[str, torch.Tensor]:
        """This process's share. If it cannot be read on some process, what was learned is kept."""
        error = batch = None
        try:
            batch = next(self.batches)
        except Exception as caught:
            error = caught
        if agreed(self.accelerator, error is not None)[0]:
            save()
            if error is None:
                raise TrainingError("another process cannot read its data, see its message; a checkpoint is written")
            raise error
        return {name: value.to(self.accelerator.device, non_blocking=True) for name, value in batch.items()}

    def _stop_at_loss(self, loss: float) -> None:
        words = on_first(self.accelerator, lambda: reject_checkpoint(self.folder, self.step))
        raise TrainingError(
            f"{self.recipe.task}: the loss is {loss} at step {self.step}; {words or 'see the first process'}"
        )


def write_json(path: Path, values: dict) -> None:
    """Write a JSON file under a temporary name, then put it in place."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(values, indent=1))
    partial.replace(path)


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


def _seed_dropout(*seed: int) -> None:
    """Dropout draws from torch's own generator; another on each process, the same whenever the step is done again."""
    torch.manual_seed(_mixed(seed))


def _mixed(seed: tuple[int, ...]) -> int:
    return int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator_of(*seed_and_device) -> torch.Generator:
    """(numbers…, device) → a generator on the device that these numbers seed."""
    *seed, device = seed_and_device
    return torch.Generator(device).manual_seed(_mixed(tuple(seed)))


def _peak_memory(device: torch.device) -> int:
    """Most memory in MB that this process ever used: of the GPU, or of the machine."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6)
    if os.name != "posix":
        return 0
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(used / 1e6 if sys.platform == "darwin" else used / 1e3)
