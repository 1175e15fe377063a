"""The model folder of a run: reading components of earlier stages, and saving those of this stage."""

import copy
import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from ..denoisers import Adapter
from ..device import pick_device
from ..errors import ConfigurationError, TrainingError
from ..models import INDEX
from ..parts.stored import StoredPart
from ..quantized import with_exact

PARTIAL, OLD = ".partial", ".old"
"""Endings of a component that is being written, and of one that is being replaced."""

SCHEDULER = "scheduler"
PATHS = {"_name_or_path", "name_or_path"}


class ModelFolder:
    """The components of earlier stages, for a run that says which of them it reads.

    Args:
        path: the folder.
        reads: names of the components that may be read; None: any.
        base: a finished model's folder, which has the components that the folder lacks; nothing is written there.
    """

    def __init__(self, path: str | Path, reads: Collection[str] | None = None, base: Path | None = None):
        self.path, self.reads, self.base = Path(path), reads, base

    def load(self, kind: type, name: str) -> Any:
        """A component, frozen, float32, in evaluation mode, on the device that the run works on.

        Raises:
            TrainingError: if that stage has not been trained yet.
            ConfigurationError: if the run did not say that it reads this component.
        """
        if self.reads is not None and name not in self.reads:
            raise ConfigurationError(f"reads: this run needs {name}; add it to the list")
        return load_component(kind, self.holder(name), name)

    def holder(self, name: str) -> Path:
        """The model folder that has this component: this one, or else the base."""
        return self.path if self.base is None or find_component(self.path / name) else self.base

    def has(self, name: str) -> bool:
        """Whether the run may read this component, and the folder has it."""
        return (self.reads is None or name in self.reads) and find_component(self.holder(name) / name)

    def scheduler_config(self) -> dict[str, Any]:
        """The config of the folder's scheduler; empty if there is none yet."""
        path = self.holder(SCHEDULER) / SCHEDULER / "scheduler_config.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def cache(self, name: str) -> Path:
        """Where runs keep what they would otherwise compute again."""
        return self.path / "training" / name

    def check_complete(self) -> None:
        """Check that all components of ``reads`` are there.

        Raises:
            TrainingError: if one is missing; the message names the first.
        """
        missing = [name for name in self.reads or () if not find_component(self.holder(name) / name)]
        if missing:
            raise TrainingError(f"{self.holder(missing[0]) / missing[0]} is missing: first train the stage that makes it")


def load_component(kind: type, model_folder: Path, name: str) -> Any:
    """A component of an earlier stage, frozen, float32, in evaluation mode, on the device that a run works on.

    Raises:
        TrainingError: if that stage has not been trained yet, or its files are damaged.
    """
    folder = model_folder / name
    if not find_component(folder):
        raise TrainingError(f"{folder} is missing: first train the stage that makes it")
    try:
        network = stored_class(model_folder, name, kind).from_pretrained(folder)
    except (SafetensorError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise TrainingError(f"{folder} cannot be read ({reason}): train its stage again, or restore it") from error
    if not isinstance(network, nn.Module):
        return network
    if isinstance(network, Adapter):
        network = with_exact(network)
    return network.float().requires_grad_(False).eval().to(pick_device())


def stored_class(model_folder: Path, name: str, usual: type) -> type:
    """The class of a component: that of the model's index if it has one, such as a converted model's, else the usual one."""
    index = model_folder / INDEX
    told = json.loads(index.read_text(encoding="utf-8")).get(name) if index.is_file() else None
    if not (isinstance(told, list) and len(told) == 2 and all(told)):
        return usual
    return StoredPart(model_folder / name, *told).kind


def find_component(folder: Path) -> bool:
    """Whether the component is there. If its writer died between two renames, the whole copy is put in its place first."""
    if not folder.is_dir():
        for ending in (PARTIAL, OLD):
            candidate = folder.with_name(folder.name + ending)
            if _is_whole(candidate):
                candidate.rename(folder)
                break
    return folder.is_dir()


def save_component(network: Any, folder: Path) -> None:
    """Save one component in half precision under a temporary name, then put it in place of the old one.

    Master weights stay in the run's checkpoint. Nothing is removed before the new component is whole: wherever the process
    dies, ``find_component`` finds one.

    Raises:
        TrainingError: if the disk is full, or cannot be written to.
    """
    partial = folder.with_name(folder.name + PARTIAL)
    find_component(folder)
    shutil.rmtree(partial, ignore_errors=True)
    half = copy.deepcopy(network)
    half = half.half() if isinstance(half, nn.Module) else half
    try:
        half.save_pretrained(partial)
        forget_paths(partial)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise TrainingError(
            f"{folder} cannot be written ({_reason(error)}): free some space and --resume; the checkpoint is whole"
        ) from error
    put_in_place(partial, folder)


def put_in_place(partial: Path, folder: Path) -> None:
    """Rename a folder that is whole to ``folder``; what was there before is removed last."""
    old = folder.with_name(folder.name + OLD)
    if folder.is_dir():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def build_network(make: Any, values: Mapping[str, Any], *positional: Any, where: str = "settings: network") -> Any:
    """Make a network from a recipe's values.

    Args:
        make: the class, or a function that makes one.
        values: keyword arguments, from the recipe.
        *positional: further arguments, which come first.
        where: where the values are in the recipe, for the message.

    Raises:
        ConfigurationError: if it takes no such value.
    """
    try:
        return make(*positional, **values)
    except TypeError as error:
        raise ConfigurationError(f"{where}: {error}; correct it") from error


def forget_paths(folder: Path) -> None:
    """Remove the paths from which networks were loaded from the configs below ``folder``: they stay private."""
    for path in folder.rglob("*.json"):
        values = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(values, dict) and PATHS & values.keys():
            kept = {key: value for key, value in values.items() if key not in PATHS}
            path.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def _is_whole(folder: Path) -> bool:
    """Whether a folder holds all of a component: JSON that can be read, and weights that end where they say."""
    if not folder.is_dir() or not any(folder.glob("*.json")):
        return False
    try:
        for path in folder.glob("*.json"):
            json.loads(path.read_text(encoding="utf-8"))
        for path in folder.glob("*.safetensors"):
            with safe_open(path, "pt"):
                pass
    except (ValueError, OSError, SafetensorError):
        return False
    needs_weights = (folder / "config.json").is_file()
    return not needs_weights or any(folder.glob("*.safetensors"))


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).splitlines()[0]
