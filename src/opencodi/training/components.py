"""The model folder, seen from a stage: components of earlier stages come out, this stage's go in."""

import copy
import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from ..denoisers import Adapter, AlignmentAdapter, ComposedDenoiser, FlatUNet, TemporalAdapter, UNet
from ..denoisers.configuration import own_values
from ..device import pick_device
from ..errors import ConfigurationError, TrainingError
from ..extras.environment_map import EnvironmentMap, EnvironmentMaps
from ..extras.manner_embedding import MannerEmbedding, MannerEmbeddings
from ..extras.motion_map import MotionMap, MotionMaps
from ..extras.prompt_map import PromptMap, PromptMaps
from ..modality import MODALITIES, Modality
from ..quantized import with_exact

DENOISERS = {"text_denoiser": FlatUNet, "image_denoiser": UNet, "audio_denoiser": UNet}
"""Component → class."""

MAPS = {
    name: kind
    for extra, kind in (
        (MannerEmbeddings, MannerEmbedding),
        (PromptMaps, PromptMap),
        (MotionMaps, MotionMap),
        (EnvironmentMaps, EnvironmentMap),
    )
    for name in extra.adapters
}
"""Component → class of the adapters beyond the paper, in the order in which they are attached."""


PARTIAL, OLD = ".partial", ".old"
"""Endings of a component that is being written, and of one that is being replaced."""

SCHEDULER = "scheduler"
PATHS = {"_name_or_path", "name_or_path"}


class ModelFolder:
    """The components of earlier stages, for a run that says which of them it reads.

    Args:
        path: the folder.
        reads: names of the components that may be read; None: any.
    """

    def __init__(self, path: str | Path, reads: Collection[str] | None = None):
        self.path, self.reads = Path(path), reads

    def load(self, kind: type, name: str) -> Any:
        """A component, frozen, float32, in evaluation mode, on the device that the run works on.

        Raises:
            TrainingError: if that stage has not been trained yet.
            ConfigurationError: if the run did not say that it reads this component.
        """
        if self.reads is not None and name not in self.reads:
            raise ConfigurationError(f"reads: this run needs {name}; add it to the list")
        return load_component(kind, self.path, name)

    def scheduler_config(self) -> dict[str, Any]:
        """What the folder's scheduler is made from; empty if there is none yet."""
        path = self.path / SCHEDULER / "scheduler_config.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def cache(self, name: str) -> Path:
        """Where runs keep what they would otherwise compute again."""
        return self.path / "training" / name

    def check_complete(self) -> None:
        """Look whether all components of ``reads`` are there.

        Raises:
            TrainingError: naming every one that is missing.
        """
        missing = [name for name in self.reads or () if not find_component(self.path / name)]
        if missing:
            raise TrainingError(f"{self.path / missing[0]} is missing: first train the stage that makes it")


def load_component(kind: type, model_folder: Path, name: str) -> Any:
    """A component of an earlier stage, frozen, float32, in evaluation mode, on the device that a run works on.

    Raises:
        TrainingError: if that stage has not been trained yet, or its files are damaged.
    """
    folder = model_folder / name
    if not find_component(folder):
        raise TrainingError(f"{folder} is missing: first train the stage that makes it")
    try:
        network = kind.from_pretrained(folder)
    except (SafetensorError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise TrainingError(f"{folder} cannot be read ({reason}): train its stage again, or restore it") from error
    if not isinstance(network, nn.Module):
        return network
    if isinstance(network, Adapter):
        network = with_exact(network)
    return network.float().requires_grad_(False).eval().to(pick_device())


def find_component(folder: Path) -> bool:
    """Whether the component is there; one whose writer died between two renames is put in its place first."""
    if not folder.is_dir():
        for ending in (PARTIAL, OLD):
            candidate = folder.with_name(folder.name + ending)
            if _is_whole(candidate):
                candidate.rename(folder)
                break
    return folder.is_dir()


def save_component(network: Any, folder: Path) -> None:
    """Save one component in half precision under a temporary name, then put it in place of the old one.

    Master weights stay in the run's checkpoint; the folder is what is loaded for generation in whatever precision fits.
    Nothing is removed before the new component is whole: wherever the process dies, ``find_component`` finds one.

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


def build_network(make: Any, network: Mapping[str, Any], *positional: Any) -> Any:
    """Make a network from the recipe's ``network`` values.

    Raises:
        ConfigurationError: if it takes no such value.
    """
    try:
        return make(*positional, **network)
    except TypeError as error:
        raise ConfigurationError(f"settings: network: {error}") from error


def check_nothing_is_lost(network: Any, folder: Path) -> None:
    """Look whether ``network`` has every part of the component that it would replace.

    Raises:
        TrainingError: naming the parts (first names of weights) that it lacks altogether, such as those of later stages.
    """
    if not find_component(folder) or not isinstance(network, nn.Module):
        return
    ours, stored = {key.split(".")[0] for key in network.state_dict()}, set()
    try:
        for path in folder.glob("*.safetensors"):
            with safe_open(path, "pt") as weights:
                stored |= {key.split(".")[0] for key in weights.keys()}  # noqa: SIM118
    except (SafetensorError, OSError):
        return  # nothing that could be kept
    if lost := sorted(stored - ours):
        raise TrainingError(
            f"{folder} has parts that this run does not make and would remove ({', '.join(lost)}): train elsewhere with "
            "--output, or remove that folder to begin anew"
        )


def forget_paths(folder: Path) -> None:
    """Take out of the configs below ``folder`` where their networks were loaded from: it is nobody else's business."""
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


def load_composed(
    parts: ModelFolder, modality: Modality, alignment: AlignmentAdapter | None = None
) -> ComposedDenoiser:
    """The denoiser of a modality with its temporal adapter and the maps that the folder has for it, frozen.

    Args:
        parts: of earlier stages.
        modality: for video, the temporal adapter has to be there.
        alignment: for joint training; the environment map is loaded only with one.

    Raises:
        TrainingError: if the denoiser or the temporal adapter has not been trained yet.
    """
    record = MODALITIES[modality]
    temporal = None if record.temporal is None else parts.load(TemporalAdapter, record.temporal)
    maps = [parts.load(MAPS[name], name) for name in map_names(parts.path, modality, alignment is not None)]
    return ComposedDenoiser(parts.load(DENOISERS[record.denoiser], record.denoiser), temporal, alignment, maps)


def map_names(model_folder: Path, modality: Modality, joint: bool = False) -> list[str]:
    """Names of the maps of a modality's denoiser that the folder has; the environment map in joint runs only."""
    extras = (MannerEmbeddings, PromptMaps, MotionMaps, *([EnvironmentMaps] if joint else []))
    names = [extra.adapter_of[modality] for extra in extras if modality in extra.adapter_of]
    return [name for name in names if (model_folder / name).is_dir()]


def new_map(name: str, denoiser: nn.Module, values: Mapping[str, Any]) -> Adapter:
    """A new adapter beyond the paper, such as ``image_prompt_map``, for this denoiser.

    Raises:
        ConfigurationError: if there is none of that name, or it takes no such value.
    """
    if name not in MAPS:
        raise ConfigurationError(f"adapters: {name!r} is unknown; choose from {', '.join(MAPS)}")
    try:
        return MAPS[name].for_denoiser(denoiser.config, **values)
    except TypeError as error:
        raise ConfigurationError(f"adapters: {name}: {error}") from error


def changed(network: Adapter, values: Mapping[str, Any]) -> Adapter:
    """The network with these config values and all of its weights; what they add starts as in a new network.

    Raises:
        ConfigurationError: if a value would drop a weight or change its shape.
    """
    config = own_values(network.config)
    if all(config.get(name) == value for name, value in values.items()):
        return network
    wider = type(network)(**{**config, **values}).to(network.device)
    ours, theirs = network.state_dict(), wider.state_dict()
    for name, tensor in ours.items():
        if name not in theirs or theirs[name].shape != tensor.shape:
            raise ConfigurationError(f"{', '.join(values)}: would drop or change {name}; only layers can be added")
    wider.load_state_dict(ours, strict=False)
    return wider
