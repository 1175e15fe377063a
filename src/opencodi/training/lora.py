"""Low-rank adapters (Hu et al. 2021) of a denoiser, through ``peft``: making them, and the file that they are saved in."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import ConfigurationError, TrainingError
from ..parts.lora import ADAPTER_METADATA, WEIGHTS
from .recipe import Count, Values


class LoraValues(Values):
    """What a low-rank adapter is.

    Attributes:
        rank: of each pair of matrices.
        alpha: what they add is scaled by ``alpha / rank``.
        targets: endings of the names of the layers that get one, such as ``to_v``; empty: every linear layer and
            convolution.
    """

    rank: Count = 16
    alpha: float = 16.0
    targets: tuple[str, ...] = ()


def add_lora(network: nn.Module, component: str, values: LoraValues) -> None:
    """Give a frozen denoiser a new low-rank adapter, which changes nothing yet and is all of it that learns.

    Raises:
        TrainingError: if ``peft`` is not installed.
        ConfigurationError: if no layer has such a name.
    """
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise TrainingError("low-rank adapters need peft: pip install 'opencodi[lora]'") from error
    layers = [name for name, each in network.named_modules() if isinstance(each, nn.Linear | nn.Conv2d)]
    if values.targets:
        layers = [name for name in layers if name.endswith(values.targets)]
    if not layers:
        raise ConfigurationError(f"lora: targets: {component} has no layer named so; leave it empty for every layer")
    network.requires_grad_(False)
    network.add_adapter(LoraConfig(r=values.rank, lora_alpha=values.alpha, target_modules=layers))


class LoraFile:
    """The adapter of a denoiser as a component that a run writes: ``save_pretrained`` writes diffusers' LoRA file.

    Args:
        network: that has it.
        component: its name in the pipeline, with which the names of the weights begin.
    """

    def __init__(self, network: Any, component: str):
        self.network, self.component = network, component

    def __deepcopy__(self, memo: dict[int, Any]) -> "LoraFile":
        return self  # nothing is changed while it is written

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``pytorch_lora_weights.safetensors`` into a folder."""
        from peft.utils import get_peft_model_state_dict
        from safetensors.torch import save_file

        weights = get_peft_model_state_dict(self.network, adapter_name="default")
        config = self.network.peft_config["default"]
        told = {"r": config.r, "lora_alpha": config.lora_alpha, "target_modules": sorted(_names(weights))}
        Path(folder).mkdir(parents=True, exist_ok=True)
        save_file(
            {f"{self.component}.{name}": value.detach().half().cpu().contiguous() for name, value in weights.items()},
            Path(folder) / WEIGHTS,
            metadata={"format": "pt", ADAPTER_METADATA: json.dumps({f"{self.component}.{k}": v for k, v in told.items()})},
        )


def _names(weights: Sequence[str]) -> set[str]:
    return {name.rpartition(".lora_")[0] for name in weights}
