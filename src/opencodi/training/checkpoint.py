"""Checkpoints of a run: safetensors and JSON in one folder each, the newest in ``checkpoint``, older ones beside it.

``checkpoint-000200`` is that of step 200. accelerate's ``save_state`` pickles optimizers, so these are written here. The state
of each says which checkpoint was the best until then, so a checkpoint and what is known of the best appear in one rename.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..errors import TrainingError
from .processes import all_finite, like, put, together, whole

NEWEST, PARTIAL, OLD, UNHEALTHY = "checkpoint", "checkpoint.partial", "checkpoint.old", "unhealthy"
STATE, WEIGHTS, AVERAGED, OPTIMIZER = "state.json", "weights.safetensors", "ema.safetensors", "optimizer.safetensors"

KEEP = 3
"""How many healthy checkpoints a run keeps by default."""


def find_checkpoints(run_folder: Path) -> list[Path]:
    """The checkpoints of a run, the newest first; also one that was left when a run died while it replaced it."""
    found = {
        path: step_of(path)
        for path in run_folder.glob(f"{NEWEST}*")
        if path.name != PARTIAL and (path / STATE).is_file()
    }
    return sorted(found, key=lambda path: (found[path], path.name == NEWEST), reverse=True)


def save_checkpoint(
    run_folder: Path,
    parameters: dict[str, torch.Tensor],
    averaged: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
    keep: int = KEEP,
    accelerator: Accelerator | None = None,
) -> None:
    """Write a checkpoint under a temporary name; then it becomes the newest, and all but the last ``keep`` and the best are
    removed.

    Args:
        run_folder: where the run's checkpoints are.
        parameters: trained weights by name.
        averaged: their moving averages by name.
        optimizer: AdamW over ``parameters`` in the same order.
        state: JSON values: step, seconds trained, recipe, and the best (its step, score and measures) if there is one.
        keep: at least 1.
        accelerator: of a run of several processes, all of which call this; the first one writes.

    Raises:
        TrainingError: if a weight is not finite, or the disk is full; the checkpoints before stay.
    """

    def check() -> None:
        for name, value in (*parameters.items(), *averaged.items()):
            if not all_finite([value]):
                raise TrainingError(
                    f"{name} is not finite at step {state['step']}, so it is not saved; {healthy_words(run_folder)}"
                )

    moments = optimizer.state_dict()["state"]
    files = {
        WEIGHTS: parameters,
        AVERAGED: averaged,
        OPTIMIZER: {f"{i}.{key}": value for i, entry in moments.items() for key, value in entry.items()},
    }
    first = accelerator is None or accelerator.is_main_process
    partial = run_folder / PARTIAL

    def begin() -> None:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)

    def write(file: str, tensors: dict[str, torch.Tensor]) -> None:
        save_file({key: value.cpu().contiguous() for key, value in tensors.items()}, partial / file)

    with _stopping_at_full_disk(run_folder):
        _in_turn(accelerator, check)
        _in_turn(accelerator, begin if first else _nothing)
        for file, tensors in files.items():
            # Sharded tensors are put together by all processes, one file after the other.
            complete = {key: whole(value) for key, value in tensors.items()}
            _in_turn(accelerator, lambda file=file, values=complete: write(file, values) if first else None)
        _in_turn(accelerator, lambda: _put_in_place(run_folder, state, keep) if first else None)


def _nothing() -> None:
    return None


def _in_turn(accelerator: Accelerator | None, function: Callable[[], None]) -> None:
    function() if accelerator is None else together(accelerator, function)


@contextmanager
def _stopping_at_full_disk(run_folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        shutil.rmtree(run_folder / PARTIAL, ignore_errors=True)
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise TrainingError(
            f"{run_folder / NEWEST} cannot be written ({reason}): free some space; {healthy_words(run_folder)}"
        ) from error


def _put_in_place(run_folder: Path, state: dict[str, Any], keep: int) -> None:
    partial, newest = run_folder / PARTIAL, run_folder / NEWEST
    (partial / STATE).write_text(json.dumps(state, indent=1))
    again = False
    if (newest / STATE).is_file():
        again = step_of(newest) == state["step"]
        before = run_folder / (OLD if again else f"{NEWEST}-{step_of(newest):06d}")
        shutil.rmtree(before, ignore_errors=True)
        newest.rename(before)
    partial.rename(newest)
    if again:
        shutil.rmtree(before, ignore_errors=True)
    _remove_old(run_folder, state, keep)


def _remove_old(run_folder: Path, state: dict[str, Any], keep: int) -> None:
    """Leave the last ``keep`` checkpoints, and the best of ``state``."""
    best = state.get("best", {}).get("step")
    for path in find_checkpoints(run_folder)[max(1, keep) :]:
        if step_of(path) != best:
            shutil.rmtree(path, ignore_errors=True)


def rewrite_state(run_folder: Path, state: dict[str, Any], keep: int) -> None:
    """Replace what the newest checkpoint, which is of the same step, says of the run; the best before may be removed.

    Raises:
        TrainingError: if the disk is full; what was there stays.
    """
    newest = run_folder / NEWEST
    with _stopping_at_full_disk(run_folder):
        partial = newest / f"{STATE}.partial"
        partial.write_text(json.dumps(state, indent=1))
        partial.replace(newest / STATE)
        _remove_old(run_folder, state, keep)


def find_best(run_folder: Path) -> Path | None:
    """The best checkpoint as the newest one names it; None if nothing was measured, or it is gone."""
    found = find_checkpoints(run_folder)
    best = _state_of(found[0]).get("best", {}).get("step") if found else None
    return next((path for path in found if step_of(path) == best), None)


def load_averaged(folder: Path, parameters: dict[str, torch.nn.Parameter]) -> None:
    """The averages of a checkpoint become the weights.

    Raises:
        TrainingError: if they are missing or damaged.
    """
    for name, value in _read(folder / AVERAGED).items():
        put(parameters[name], value)


def read_recipe(run_folder: Path) -> dict[str, Any]:
    """The recipe of the last checkpoint that has one; empty if there is no checkpoint."""
    return next((_state_of(path).get("recipe", {}) for path in find_checkpoints(run_folder)), {})


def load_checkpoint(
    run_folder: Path,
    parameters: dict[str, torch.nn.Parameter],
    averaged: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
) -> dict[str, Any]:
    """Put the weights, averages and optimiser moments of the newest checkpoint in place; returns its ``state``.

    Raises:
        TrainingError: if there is no checkpoint, a file of it is missing or damaged, or it belongs to other networks (an odd
            name is given).
    """
    found = find_checkpoints(run_folder)
    if not found:
        raise TrainingError(f"{run_folder / NEWEST} holds no checkpoint to resume from; start without --resume")
    folder = found[0]
    weights, ema = _read(folder / WEIGHTS), _read(folder / AVERAGED)
    for name in weights.keys() ^ parameters.keys():
        raise TrainingError(
            f"{folder} does not fit this recipe: {name} is only in one of the two; resume with the recipe that made it"
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            if weights[name].shape != parameter.shape:
                shapes = f"{list(weights[name].shape)} instead of {list(parameter.shape)}"
                raise TrainingError(
                    f"{folder} does not fit this recipe: {name} is {shapes}; resume with the recipe that made it"
                )
            put(parameter, weights[name])
            put(averaged[name], ema[name])
    moments: dict[int, dict[str, torch.Tensor]] = {}
    weight_of = dict(enumerate(parameters.values()))
    for key, value in _read(folder / OPTIMIZER).items():
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = like(weight_of[int(index)], value)
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return _state_of(folder)


def set_unhealthy_aside(run_folder: Path) -> None:
    """Rename the newest checkpoints whose weights are not finite, so that the newest of all is healthy; says which it is.

    Raises:
        TrainingError: if no checkpoint is healthy, or a file of one is missing or damaged.
    """
    found = find_checkpoints(run_folder)
    for folder in found:
        if all_finite(_read(folder / WEIGHTS).values()) and all_finite(_read(folder / AVERAGED).values()):
            break
        set_aside(folder)
    else:
        if found:
            raise TrainingError(f"{run_folder}: no checkpoint has finite weights; start anew with --output elsewhere")
        return
    if folder is not found[0]:
        print(f"{found[0].name} is not healthy and was set aside; resuming from {folder.name}, step {step_of(folder)}")


def reject_checkpoint(run_folder: Path, step: int) -> str:
    """What to do when the loss at ``step`` is not finite, for the message.

    A checkpoint of that very step leads to that loss again, so it is set aside: ``--resume`` takes the one before it.
    """
    for path in find_checkpoints(run_folder):
        if step_of(path) == step:
            set_aside(path)
    return healthy_words(run_folder)


def set_aside(folder: Path) -> None:
    """Rename a checkpoint that must not be resumed from, so that it can still be looked at."""
    aside = folder.with_name(f"{UNHEALTHY}-{step_of(folder):06d}")
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)


def healthy_words(run_folder: Path) -> str:
    """Where ``--resume`` would go on, for messages."""
    found = find_checkpoints(run_folder)
    if not found:
        return "there is no healthy checkpoint: lower learning_rate and start again"
    step = step_of(found[0])
    return f"{found[0]} of step {step} is whole: --resume goes on from there, if need be with a lower learning_rate"


def _read(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise TrainingError(
            f"{path} is missing: remove {path.parent} to resume from an older checkpoint, or restore it"
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise TrainingError(
            f"{path} is damaged ({str(error).splitlines()[0]}): remove {path.parent} to resume from an older checkpoint, or "
            "restore it"
        ) from error


def _state_of(folder: Path) -> dict[str, Any]:
    path = folder / STATE
    try:
        state = json.loads(path.read_text())
        return {**state, "step": int(state["step"])}
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{path} is damaged: remove {folder} to resume from an older checkpoint, or restore it"
        ) from error


def step_of(folder: Path) -> int:
    """The step of a checkpoint."""
    return _state_of(folder)["step"]
