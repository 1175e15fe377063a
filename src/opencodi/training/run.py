"""From a recipe file to a finished run: recipe, data, task, accelerator, loop."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from accelerate.utils import set_seed
from safetensors import SafetensorError

from ..collections import find_collection
from ..device import pick_device, working_on
from ..errors import ConfigurationError, OpenCoDiError, TrainingError
from ..models import resolve
from .checkpoint import find_checkpoints, read_recipe
from .components import ModelFolder, load_component
from .composed import MAPS
from .loop import train, write_json
from .options import Options
from .processes import make_accelerator, on_first
from .recipe import Recipe, changes_since, checked, load_recipe
from .task import Task
from .tasks import find_task

LOST = ("gloo", "Gloo", "NCCL", "Connection closed by peer", "Connection reset", "process group")
"""What torch says when a process of a group is gone."""


def run_recipe(path: str | Path, **options: Any) -> dict[str, float]:
    """Train as a recipe says.

    The trained components land in the recipe's ``model_folder``; logs, sample pictures and checkpoints in
    ``<model_folder>/training/<recipe name>``. Under ``torchrun`` all processes train together.

    Args:
        path: the YAML file.
        **options: the fields of ``Options``.

    Returns:
        the last validation's measures; empty on all processes but the first.

    Raises:
        ConfigurationError: for a wrong recipe.
        TrainingError: if data or earlier components are missing or damaged, the disk is full, or the run cannot go on.
    """
    given = Options(**options)
    recipe = load_recipe(path)
    if given.output is not None:
        recipe = recipe.model_copy(update={"model_folder": str(given.output)})
    with one_sentence(recipe, path):
        return _run(recipe, str(path), given)


def folder_of(recipe: Recipe, path: str | Path) -> Path:
    """Where a run keeps its log, samples and checkpoints."""
    return Path(recipe.model_folder) / "training" / Path(path).stem


@contextmanager
def one_sentence(recipe: Recipe, path: str | Path) -> Iterator[None]:
    """Around a run: whatever the system refuses is one sentence that says how to go on.

    Raises:
        TrainingError: for a full disk, a file that is gone, or processes that lost one another.
    """
    try:
        yield
    except OSError as error:
        place = error.filename or folder_of(recipe, path)
        raise TrainingError(f"{place}: {error.strerror or error}; mend that and start again with --resume") from error
    except SafetensorError as error:
        reason = str(error).splitlines()[0]
        raise TrainingError(f"{recipe.model_folder}: {reason}; mend that and start again with --resume") from error
    except RuntimeError as error:
        if isinstance(error, OpenCoDiError) or not torch.distributed.is_initialized():
            raise
        if not any(word in str(error) for word in LOST):
            raise
        reason = str(error).splitlines()[0]
        raise TrainingError(
            f"process {torch.distributed.get_rank()} lost the others ({reason}); start all again with --resume"
        ) from error


def _run(recipe: Recipe, where: str, options: Options) -> dict[str, float]:
    run_folder = folder_of(recipe, where)
    _check_folder(run_folder, recipe, options)
    picked = pick_device(options.device)
    precision = precision_of(recipe, picked)
    accelerator = make_accelerator(picked, precision)
    task = build_task(recipe, where, accelerator.device, options.data)
    if recipe.initial_weights and not options.resume:
        start_from(task, Path(recipe.initial_weights), recipe.fresh_weights)

    def begin() -> None:
        count = sum(parameter.numel() for parameter in task.trained_parameters().values())
        processes = f", {accelerator.num_processes} processes" if accelerator.num_processes > 1 else ""
        print(
            f"{recipe.task}: {count / 1e6:.2f} M parameters to train on {accelerator.device}, precision {precision}"
            f"{processes}"
        )
        run_folder.mkdir(parents=True, exist_ok=True)
        write_json(run_folder / "recipe.json", recipe.model_dump(mode="json"))

    on_first(accelerator, begin)
    return train(task, recipe, run_folder, options=options, accelerator=accelerator)


def _check_folder(run_folder: Path, recipe: Recipe, options: Options) -> None:
    """Raise TrainingError if a run would overwrite another, or would go on as another than it began."""
    found = find_checkpoints(run_folder)
    if found and not options.resume:
        raise TrainingError(
            f"{run_folder / found[0].name} is a run's already: --resume continues it, --output starts one elsewhere"
        )
    changes = changes_since(read_recipe(run_folder), recipe) if found else []
    if changes and not options.override:
        raise TrainingError(
            f"{run_folder} was begun with another recipe: {'; '.join(changes)}; resume with the recipe that made it "
            "(recipe.json beside the checkpoint), or accept the change with --override"
        )
    if changes and int(os.environ.get("RANK", "0")) == 0:
        print(f"resuming with another recipe: {'; '.join(changes)}", file=sys.stderr)


def build_task(
    recipe: Recipe, where: str, device: torch.device, data: str | Path | Callable[..., Any] | None
) -> Task:
    """The stage of a recipe with its networks, on random weights.

    Args:
        recipe: checked here as far as it concerns the stage and the collection.
        where: the recipe's path, for messages.
        device: what is encoded first is encoded there.
        data: the folder of shards, None for the collection's own, or a function that stands in: checked data values, parts and
            settings → data.

    Raises:
        ConfigurationError: for a wrong value in the recipe.
        TrainingError: if data or earlier components are missing.
    """
    try:
        collection = find_collection(recipe.collection)
        kind = find_task(recipe.task, collection.TASKS)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from error
    if recipe.task not in collection.DATA:
        known = ", ".join(collection.DATA)
        raise ConfigurationError(f"{where}: task: collection {recipe.collection} has none of that name; it has {known}")
    source = collection.DATA[recipe.task]
    for key in sorted(recipe.settings.keys() & source.model_fields.keys() - kind.Settings.model_fields.keys()):
        raise ConfigurationError(f"{where}: settings: {key} says what data there is; move it under data")
    settings = checked(kind.Settings, recipe.settings, f"{where}: settings")
    wanted = checked(source, recipe.data, f"{where}: data")
    folder = None if callable(data) else collection.find_data(data)
    base = resolve(recipe.base_model) if recipe.base_model else None
    parts = ModelFolder(recipe.model_folder, recipe.reads, base)
    parts.check_complete()
    try:
        with working_on(device):
            given = data(wanted, parts, settings) if callable(data) else wanted.load(folder, parts, settings)
            set_seed(recipe.seed)  # initial weights; everything later has its own generator
            task = kind(settings, given, parts)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from error
    _check_writes(task, recipe, where)
    return task


def start_from(task: Task, folder: Path, fresh_weights: Sequence[str] = ()) -> None:
    """Give every network that ``task`` trains the weights it has in the model folder ``folder``.

    Weights stay fresh if their names (``image_prompt_map.linear_1.weight``) begin with one of ``fresh_weights``. So does an
    adapter beyond the paper that the folder lacks.

    Raises:
        TrainingError: if a network is missing there or has other weights (the first is named), or if no weight's name begins
            so.
    """
    unused = set(fresh_weights)
    for name, network in task.components().items():
        is_new = name in MAPS and not (folder / name).is_dir()
        if is_new or not isinstance(network, torch.nn.Module):
            continue
        stored, own = load_component(type(network), folder, name).state_dict(), network.state_dict()
        named = {key: f"{name}.{key}" for key in [*own, *(stored.keys() - own.keys())]}
        unused -= {start for start in unused if any(each.startswith(start) for each in named.values())}
        kept = [key for key in named if not named[key].startswith(tuple(fresh_weights))]
        for key in kept:
            if key not in own or key not in stored or stored[key].shape != own[key].shape:
                raise TrainingError(
                    f"initial_weights: {folder / name} does not fit this recipe: {key} differs; leave it empty, or name "
                    f"{named[key]} among fresh_weights"
                )
        network.load_state_dict(own | {key: stored[key] for key in kept})
    for start in sorted(unused):
        raise TrainingError(f"fresh_weights: no weight's name begins with {start!r}; correct it or leave it out")


def _check_writes(task: Task, recipe: Recipe, where: str) -> None:
    """Raise ConfigurationError unless the recipe says what the task writes."""
    made = sorted(task.components())
    if made != sorted(recipe.writes):
        raise ConfigurationError(f"{where}: writes: this run makes {', '.join(made)}; write [{', '.join(made)}]")


def precision_of(recipe: Recipe, device: torch.device) -> str:
    """What a recipe computes in on this device. ``auto`` is bf16 where it is multiplied natively: elsewhere a CPU emulates it,
    many times slower than float32.
    """
    if recipe.mixed_precision != "auto":
        return recipe.mixed_precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if device.type == "cpu":
        return "bf16" if torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported() else "no"
    return "no"
