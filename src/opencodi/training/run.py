"""From a recipe file to a finished run: recipe, data, task, accelerator, loop."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from safetensors import SafetensorError

from ..collections import find_collection
from ..device import pick_device, working_on
from ..errors import ConfigurationError, TrainingError
from ..models import resolve
from .checkpoint import KEEP, find_checkpoints
from .components import ModelFolder, load_component
from .composed import MAPS
from .loop import train
from .recipe import Recipe, checked, load_recipe
from .task import Task
from .tasks import find_task


def run_recipe(
    path: str | Path,
    *,
    minutes: float | None = None,
    resume: bool = False,
    output: str | Path | None = None,
    data: str | Path | None = None,
    device: str | None = None,
    workers: int = 0,
    keep: int = KEEP,
) -> dict[str, float]:
    """Train as a recipe says.

    The trained components land in the recipe's ``model_folder``; logs, sample pictures and checkpoints in
    ``<model_folder>/training/<recipe name>``.

    Args:
        path: the YAML file.
        minutes: stop after this long; the run can be resumed.
        resume: continue the same run from its last healthy checkpoint.
        output: model folder to use instead of the recipe's.
        data: folder of shards; by default ``OPENCODI_DATA``.
        device: cuda, mps or cpu; by default the best there is.
        workers: processes that draw batches beside the training, for a GPU that would wait for them.
        keep: how many of the last healthy checkpoints stay.

    Returns:
        the last validation's measures.

    Raises:
        ConfigurationError: for a wrong recipe.
        TrainingError: if data or earlier components are missing or damaged, the disk is full, or the run cannot go on.
    """
    recipe = load_recipe(path)
    if output is not None:
        recipe = recipe.model_copy(update={"model_folder": str(output)})
    run_folder = Path(recipe.model_folder) / "training" / Path(path).stem
    try:
        return _run(recipe, str(path), run_folder, minutes, resume, data, device, workers, keep)
    except OSError as error:
        place = error.filename or run_folder
        raise TrainingError(f"{place}: {error.strerror or error}; mend that and start again with --resume") from error
    except SafetensorError as error:
        reason = str(error).splitlines()[0]
        raise TrainingError(f"{recipe.model_folder}: {reason}; mend that and start again with --resume") from error


def _run(
    recipe: Recipe,
    where: str,
    run_folder: Path,
    minutes: float | None,
    resume: bool,
    data: str | Path | None,
    device: str | None,
    workers: int,
    keep: int,
) -> dict[str, float]:
    picked = pick_device(device)
    precision = _precision(picked) if recipe.mixed_precision == "auto" else recipe.mixed_precision
    accelerator = Accelerator(mixed_precision=precision, cpu=picked.type == "cpu")
    try:
        collection = find_collection(recipe.collection)
        kind = find_task(recipe.task, collection.TASKS)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from error
    source = collection.DATA[recipe.task]
    for key in sorted(recipe.settings.keys() & source.model_fields.keys() - kind.Settings.model_fields.keys()):
        raise ConfigurationError(f"{where}: settings: {key} says what data there is; move it under data")
    settings = checked(kind.Settings, recipe.settings, f"{where}: settings")
    wanted = checked(source, recipe.data, f"{where}: data")
    base = resolve(recipe.base_model) if recipe.base_model else None
    folder, parts = collection.find_data(data), ModelFolder(recipe.model_folder, recipe.reads, base)
    found = find_checkpoints(run_folder)
    if found and not resume:
        raise TrainingError(
            f"{run_folder / found[0].name} is a run's already: --resume continues it, --output starts one elsewhere"
        )
    parts.check_complete()
    try:
        with working_on(picked):
            given = wanted.load(folder, parts, settings)
            set_seed(recipe.seed)  # initial weights; everything later has its own generator
            task = kind(settings, given, parts)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from error
    if recipe.initial_weights and not resume:
        start_from(task, Path(recipe.initial_weights), recipe.fresh_weights)
    _check_writes(task, recipe, where)
    if accelerator.is_main_process:
        count = sum(parameter.numel() for parameter in task.trained_parameters().values())
        print(f"{recipe.task}: {count / 1e6:.2f} M parameters to train on {accelerator.device}, precision {precision}")
        run_folder.mkdir(parents=True, exist_ok=True)
        (run_folder / "recipe.json").write_text(json.dumps(recipe.model_dump(), indent=1))
    return train(
        task,
        recipe,
        run_folder,
        resume=resume,
        minutes=minutes,
        workers=workers,
        keep=keep,
        accelerator=accelerator,
    )


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


def _precision(device: torch.device) -> str:
    """bf16 where it is multiplied natively: elsewhere a CPU emulates it, many times slower than float32."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if device.type == "cpu":
        return "bf16" if torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported() else "no"
    return "no"
