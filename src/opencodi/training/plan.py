"""What a run will take: parameters, memory, computing and time, from a few real steps on random data.

Networks of stages that have not been trained yet are made on random weights in a temporary folder, so a whole folder of recipes
can be planned before its first stage has run.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from ..device import pick_device
from ..models import resolve
from .averages import Averages
from .chain import FINISHED, Stage, load_stages
from .checkpoint import find_checkpoints, step_of
from .components import ModelFolder, save_component
from .loop import generator_of
from .memory import checkpoint_gradients, halve_frozen
from .options import Options
from .recipe import load_recipe
from .run import build_task, precision_of
from .stand_in import stand_in
from .task import Task

LEAST_STEPS, LEAST_SECONDS, MOST_STEPS = 3, 3.0, 40
"""Steps are timed until there are so many of them, and so much time has gone, but no more than the last."""


@dataclass(frozen=True)
class Plan:
    """What one stage takes on this machine.

    Attributes:
        name: of the stage.
        trained, frozen: numbers of parameters.
        memory: bytes on each device: weights, gradients, moments, averages and activations.
        flops: of one sample, forwards and backwards.
        rate: samples a second by the clock.
        worked: seconds that the processors worked for a sample; other programs on the machine change it less.
        samples: that are left.
        memory_parts: {what: bytes}, which ``memory`` sums up.
    """

    name: str
    trained: int
    frozen: int
    memory_parts: dict[str, int]
    flops: float
    rate: float
    worked: float
    samples: int

    @property
    def memory(self) -> int:
        """Bytes on each device."""
        return sum(self.memory_parts.values())

    @property
    def hours(self) -> float:
        """Of training, without encoding data first, validations and checkpoints."""
        return self.samples / self.rate / 3600


def print_plan(path: Path, options: Options) -> None:
    """Print what a recipe, or a folder of them, takes here.

    Raises:
        ConfigurationError: for a wrong recipe.
    """
    if path.is_dir():
        stages = load_stages(path, options.output)
        print_stages(stages, [stage for stage in stages if stage.state() != FINISHED], options)
        return
    recipe = load_recipe(path)
    if options.output is not None:
        recipe = recipe.model_copy(update={"model_folder": str(options.output)})
    stage = Stage(path, recipe)
    missing = _missing(stage, Path(recipe.model_folder))
    # What earlier stages have not made yet, the recipes beside this one make.
    stages = load_stages(path.parent, recipe.model_folder) if missing else [stage]
    print_stages(stages, [next(each for each in stages if each.name == stage.name)], options)


def print_stages(stages: Sequence[Stage], wanted: Sequence[Stage], options: Options) -> None:
    """Print a table of what the ``wanted`` ones of ``stages`` take; the others are made only where they are needed."""
    from rich.console import Console
    from rich.table import Table

    plans = plan_stages(stages, wanted, options)
    table = Table(box=None, pad_edge=False)
    for title in ("stage", "learns", "frozen", "memory", "FLOPs/sample", "samples/s", "samples", "hours"):
        table.add_column(title, justify="left" if title == "stage" else "right", no_wrap=True)
    for plan in plans:
        table.add_row(
            plan.name,
            f"{plan.trained / 1e6:.2f} M",
            f"{plan.frozen / 1e6:.2f} M",
            _bytes(plan.memory),
            f"{plan.flops:.2g}",
            f"{plan.rate:.3g}",
            f"{plan.samples:,}",
            f"{plan.hours:.2f}",
        )
    if len(plans) > 1:
        table.add_row(
            "all", "", "", "", "", "", f"{sum(p.samples for p in plans):,}", f"{sum(p.hours for p in plans):.2f}"
        )
    Console(width=120).print(table)
    print("Memory is that of a device beside data and libraries; hours are those of training alone, on this machine.")


def plan_stages(stages: Sequence[Stage], wanted: Sequence[Stage], options: Options) -> list[Plan]:
    """Measure the ``wanted`` ones of ``stages``, which are in order."""
    device = pick_device(options.device)
    names = {stage.name for stage in wanted}
    plans = []
    with tempfile.TemporaryDirectory(prefix="opencodi-plan-") as place:
        folder = Path(place)
        source = Path(stages[0].recipe.model_folder)
        for path in sorted(source.iterdir()) if source.is_dir() else ():
            if path.is_dir() and path.name != "training":
                (folder / path.name).symlink_to(path.resolve(), target_is_directory=True)
        needed = needed_stages(stages, names, folder)
        for stage in stages:
            if stage.name not in needed:
                continue
            recipe = stage.recipe.model_copy(update={"model_folder": place})
            maker = stand_in(recipe.task)
            task = build_task(recipe, str(stage.path), device, maker or options.data)
            if stage.name in names:
                plans.append(_measured(stage, task, options, device))
            for name, part in task.components().items():
                if not (folder / name).is_dir():
                    save_component(part, folder / name)
            del task
    return plans


def needed_stages(stages: Sequence[Stage], names: set[str], folder: Path) -> set[str]:
    """The wanted stages, and those that make what is missing for them."""
    needed = set(names)
    for stage in reversed(stages):
        if stage.name in needed:
            missing = _missing(stage, folder)
            needed |= {each.name for each in stages if missing & set(each.recipe.writes) - set(each.recipe.reads)}
    return needed


def _missing(stage: Stage, folder: Path) -> set[str]:
    """What a stage reads that neither the folder nor its base model has."""
    base = resolve(stage.recipe.base_model) if stage.recipe.base_model else None
    parts = ModelFolder(folder, None, base)
    return {name for name in stage.recipe.reads if not parts.has(name)}


def _measured(stage: Stage, task: Task, options: Options, device: torch.device) -> Plan:
    recipe = stage.recipe
    precision = precision_of(recipe, device)
    task.to(device).train()
    if precision == "bf16":
        halve_frozen(task)
    if options.gradient_checkpointing:
        checkpoint_gradients(task)
    parameters = task.trained_parameters()
    trained = sum(each.numel() for each in parameters.values())
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-9, fused=device.type in ("cpu", "cuda"))
    averages = Averages(parameters, recipe.ema_decay, options.ema_on_cpu)
    counter, saved = FlopCounterMode(display=False), _Saved(task)
    with counter, saved.counting():
        _step(task, recipe, optimizer, device, precision, 0)
    seconds, worked = [], []
    _step(task, recipe, optimizer, device, precision, 1)
    while len(seconds) < MOST_STEPS and (len(seconds) < LEAST_STEPS or sum(seconds) < LEAST_SECONDS):
        begun = time.perf_counter(), time.process_time()
        _step(task, recipe, optimizer, device, precision, len(seconds) + 2)
        averages.step()
        seconds.append(time.perf_counter() - begun[0])
        worked.append(time.process_time() - begun[1])
    weights = sum(each.numel() * each.element_size() for each in task.parameters())
    parts = {"weights": weights, "gradients": 4 * trained, "moments": 8 * trained}
    parts |= {"averages": 0 if options.ema_on_cpu else 4 * trained, "activations": saved.bytes}
    left = recipe.steps - _steps_done(stage)
    return Plan(
        name=stage.name,
        trained=trained,
        frozen=sum(each.numel() for each in task.parameters()) - trained,
        memory_parts=parts,
        flops=counter.get_total_flops() / recipe.batch_size,
        rate=recipe.batch_size / statistics.median(seconds),
        worked=statistics.median(worked) / recipe.batch_size,
        samples=left * recipe.batch_size * recipe.gradient_accumulation_steps,
    )


def _step(
    task: Task, recipe, optimizer: torch.optim.Optimizer, device: torch.device, precision: str, step: int
) -> None:
    batch = task.sample_batch(np.random.default_rng((recipe.seed, step)), recipe.batch_size)
    batch = {name: value.to(device) for name, value in batch.items()}
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
        losses = task(batch, generator_of(recipe.seed, step, device))
    losses["loss"].backward()
    nn.utils.clip_grad_norm_(task.trained_parameters().values(), recipe.max_gradient_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if device.type == "cuda":
        torch.cuda.synchronize()


class _Saved:
    """Bytes that the backward pass of ``task`` waits for, beside its weights."""

    def __init__(self, task: Task):
        self.known = {each.untyped_storage().data_ptr() for each in (*task.parameters(), *task.buffers())}
        self.sizes: dict[int, int] = {}

    def counting(self) -> saved_tensors_hooks:
        """The context in which tensors are counted."""
        return saved_tensors_hooks(self._note, lambda tensor: tensor)

    def _note(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.known:
            self.sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    @property
    def bytes(self) -> int:
        """Of all storages, each counted once."""
        return sum(self.sizes.values())


def _steps_done(stage: Stage) -> int:
    found = find_checkpoints(stage.run_folder)
    return step_of(found[0]) if found else 0


def _bytes(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
