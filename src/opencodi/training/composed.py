"""What denoisers are composed of: classes by component, the maps that a run reads, and those that it adds."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from ..denoisers import Adapter, FlatUNet, UNet
from ..denoisers.configuration import own_values
from ..errors import ConfigurationError
from ..extras.environment_map import EnvironmentMap, EnvironmentMaps
from ..extras.manner_embedding import MannerEmbedding, MannerEmbeddings
from ..extras.motion_map import MotionMap, MotionMaps
from ..extras.prompt_map import PromptMap, PromptMaps
from ..modality import Modality
from .components import ModelFolder, build_network

DENOISERS = {"text_denoiser": FlatUNet, "image_denoiser": UNet, "audio_denoiser": UNet}
"""Component → class."""

ALONE = {MannerEmbeddings: MannerEmbedding, PromptMaps: PromptMap, MotionMaps: MotionMap}
"""Extra → class of its adapters, for extras that serve a denoiser which runs alone, in the order in which they are attached."""

JOINT = {**ALONE, EnvironmentMaps: EnvironmentMap}
"""The same for joint generation."""

MAPS = {name: kind for extra, kind in JOINT.items() for name in extra.adapters}
"""Component → class of the adapters beyond the paper, in the order in which they are attached."""


def load_maps(parts: ModelFolder, modality: Modality, joint: bool = False) -> dict[str, Adapter]:
    """{component: map} of those maps of a modality's denoiser that the run reads; the environment map only if ``joint``."""
    names = [extra.adapter_of.get(modality, "") for extra in (JOINT if joint else ALONE)]
    return {name: parts.load(MAPS[name], name) for name in names if name and parts.has(name)}


def in_order(components: Mapping[str, nn.Module]) -> list[nn.Module]:
    """The maps among these components, in the order in which they are attached."""
    return [components[name] for name in MAPS if name in components]


def new_map(name: str, denoiser: nn.Module, values: Mapping[str, Any] | None) -> Adapter:
    """A new adapter beyond the paper, such as ``image_prompt_map``, for this denoiser.

    Raises:
        ConfigurationError: if there is none of that name, or it takes no such value.
    """
    if name not in MAPS:
        raise ConfigurationError(f"adapters: {name!r} is unknown; choose from {', '.join(MAPS)}")
    return build_network(MAPS[name].for_denoiser, values or {}, denoiser.config, where=f"adapters: {name}")


def changed(network: Adapter, values: Mapping[str, Any]) -> Adapter:
    """The network with these config values and all of its weights; what they add starts as in a new network.

    Raises:
        ConfigurationError: if a value would drop a weight or change its shape.
    """
    config = own_values(network.config)
    if all(config.get(name) == value for name, value in values.items()):
        return network
    wider = build_network(type(network), {**config, **values}).to(network.device)
    ours, theirs = network.state_dict(), wider.state_dict()
    for name, tensor in ours.items():
        if name not in theirs or theirs[name].shape != tensor.shape:
            raise ConfigurationError(f"{', '.join(values)}: would drop or change {name}; only layers can be added")
    wider.load_state_dict(ours, strict=False)
    return wider
