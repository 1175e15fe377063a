"""The model folder, seen from a stage: components of earlier stages come out, this stage's go in."""

import copy
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def load_component(kind: type, model_folder: Path, name: str) -> Any:
    """A component of an earlier stage, frozen, float32, in evaluation mode, on the device that a run works on.

    Raises:
        TrainingError: if that stage has not been trained yet.
    """
    folder = model_folder / name
    if not folder.is_dir():
        raise TrainingError(f"{folder} is missing: first train the stage that makes it")
    network = kind.from_pretrained(folder)
    if not isinstance(network, nn.Module):
        return network
    if isinstance(network, Adapter):
        network = with_exact(network)
    return network.float().requires_grad_(False).eval().to(pick_device())


def save_component(network: Any, folder: Path) -> None:
    """Save one component in half precision under a temporary name, then put it in place of the old one.

    Master weights stay in the run's checkpoint; the folder is what is loaded for generation in whatever precision fits.
    """
    temporary = folder.with_name(folder.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    half = copy.deepcopy(network)
    half = half.half() if isinstance(half, nn.Module) else half
    half.save_pretrained(temporary)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def load_composed(
    model_folder: Path, modality: Modality, alignment: AlignmentAdapter | None = None
) -> ComposedDenoiser:
    """The denoiser of a modality with its temporal adapter and the maps that the folder has for it, frozen.

    Args:
        model_folder: where earlier stages left them.
        modality: for video, the temporal adapter has to be there.
        alignment: for joint training; the environment map is loaded only with one.

    Raises:
        TrainingError: if the denoiser or the temporal adapter has not been trained yet.
    """
    record = MODALITIES[modality]
    temporal = None if record.temporal is None else load_component(TemporalAdapter, model_folder, record.temporal)
    maps = [
        load_component(MAPS[name], model_folder, name)
        for name in map_names(model_folder, modality, alignment is not None)
    ]
    denoiser = load_component(DENOISERS[record.denoiser], model_folder, record.denoiser)
    return ComposedDenoiser(denoiser, temporal, alignment, maps)


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
