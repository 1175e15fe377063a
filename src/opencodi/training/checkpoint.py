"""Checkpoints of a run: safetensors and JSON in one folder, which is replaced as a whole or not at all."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from ..errors import TrainingError


def save_checkpoint(
    folder: Path,
    parameters: dict[str, torch.Tensor],
    averaged: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
) -> None:
    """Write ``folder`` under a temporary name and rename it.

    Args:
        folder: the checkpoint folder; an older one is replaced after the new one is complete.
        parameters: trained weights by name.
        averaged: their moving averages by name.
        optimizer: AdamW over ``parameters`` in the same order.
        state: JSON values: step, seconds trained, recipe.
    """
    partial, old = folder.with_name(folder.name + ".partial"), folder.with_name(folder.name + ".old")
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(
        {name: value.detach().cpu().contiguous() for name, value in parameters.items()}, partial / "weights.safetensors"
    )
    save_file(
        {name: value.detach().cpu().contiguous() for name, value in averaged.items()}, partial / "ema.safetensors"
    )
    moments = optimizer.state_dict()["state"]
    flat = {
        f"{i}.{key}": value.detach().cpu().contiguous() for i, entry in moments.items() for key, value in entry.items()
    }
    save_file(flat, partial / "optimizer.safetensors")
    (partial / "state.json").write_text(json.dumps(state, indent=1))
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(
    folder: Path,
    parameters: dict[str, torch.nn.Parameter],
    averaged: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
) -> dict[str, Any]:
    """Put a checkpoint's weights, averages and optimiser moments in place; returns its ``state``.

    Raises:
        TrainingError: if there is no complete checkpoint, or it belongs to other networks (each odd name is given).
    """
    if not (folder / "state.json").is_file():
        old = folder.with_name(folder.name + ".old")  # the last run died between two renames
        if not (old / "state.json").is_file():
            raise TrainingError(f"{folder} holds no checkpoint to resume from; start without --resume")
        old.rename(folder)
    weights, ema = load_file(folder / "weights.safetensors"), load_file(folder / "ema.safetensors")
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
            parameter.copy_(weights[name])
            averaged[name].copy_(ema[name])
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in load_file(folder / "optimizer.safetensors").items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return json.loads((folder / "state.json").read_text())
