"""Low-rank adapters of a pipeline's denoisers: loaded by name, mixed by weights, fused, and taken out again.

The work is peft's, through diffusers' ``PeftAdapterMixin`` of the denoisers and ``LoraBaseMixin`` here. peft is used only
once an adapter is loaded.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_base import LoraBaseMixin
from safetensors import SafetensorError, safe_open
from torch import nn

from ..errors import ArgumentError, ConfigurationError
from .pipeline import PartsPipeline

WEIGHTS = "pytorch_lora_weights.safetensors"
ADAPTER_METADATA = "lora_adapter_metadata"
"""The file and the key of its metadata that diffusers uses, too."""


class LoraPipeline(LoraBaseMixin, PartsPipeline):
    """Low-rank adapters for a ``PartsPipeline``; ``set_adapters``, ``delete_adapters`` and others as in diffusers."""

    @property
    def _lora_loadable_modules(self) -> list[str]:
        """The parts that have adapters now: nothing is loaded to look for them."""
        return [name for name, part in self.parts.loaded().items() if getattr(part, "peft_config", None)]

    def load_lora_weights(self, file_or_folder: str | Path, adapter_name: str | None = None) -> str:
        """Load an adapter beside those that are loaded; all are active then, each with the weight 1 until ``set_adapters``.

        Args:
            file_or_folder: a safetensors file, or a folder with a ``pytorch_lora_weights.safetensors``. The names of its
                weights begin with the part that they belong to, such as ``image_denoiser``.
            adapter_name: what to call it; by default the name of the file, or of the folder.

        Returns:
            its name.

        Raises:
            ArgumentError: if there is no such file, the name is taken, or ``peft`` is not installed.
            ConfigurationError: if the file is damaged or was made for another model; nothing is loaded then.
        """
        path = Path(file_or_folder)
        name = adapter_name or path.stem.removesuffix("_lora").replace(".", "_") or "lora"
        if path.is_dir():
            path = path / WEIGHTS
        if not path.is_file():
            raise ArgumentError(f"{path}: there is no such file of LoRA weights; give the file, or its folder")
        if find_spec("peft") is None:
            raise ArgumentError(f"{path}: LoRA weights need peft: pip install 'opencodi[lora]'")
        taken = {each for names in self.get_list_adapters().values() for each in names}
        if name in taken:
            raise ArgumentError(f"adapter_name: an adapter named {name!r} is loaded already; give this one another name")
        weights, told = _read(path)
        for part, tensors in weights.items():
            self._check_fits(path, part, tensors)
        before = self.get_active_adapters()
        for part, tensors in weights.items():
            self.parts.set(part, self.parts.get(part))  # it stays in memory: its folder has no adapter
            with self.parts.whole(part) as network:
                tensors = {key: value.to(network.device, network.dtype) for key, value in tensors.items()}
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", "Already found a `peft_config`")  # several are what we want
                    network.load_lora_adapter(tensors, prefix=None, adapter_name=name, metadata=told.get(part))
                network.requires_grad_(False).eval()
        self.set_adapters([*before, name], [*self._scales(before), 1.0])
        return name

    def set_adapters(
        self,
        adapter_names: str | Sequence[str],
        adapter_weights: float | Mapping[str, float] | Sequence[Any] | None = None,
    ) -> None:
        """As in diffusers: these adapters are active, each with its weight (1 where not given), and no others.

        Raises:
            ArgumentError: if no adapter has such a name, or there are more or fewer weights than names.
        """
        names = [adapter_names] if isinstance(adapter_names, str) else list(adapter_names)
        weights = adapter_weights if isinstance(adapter_weights, float | int | Mapping) else adapter_weights or 1.0
        weights = [weights] * len(names) if not isinstance(weights, Sequence) else list(weights)
        known = sorted({name for each in self.get_list_adapters().values() for name in each})
        for name in names:
            if name not in known:
                raise ArgumentError(f"adapter_names: no adapter is named {name!r}; loaded: {', '.join(known) or 'none'}")
        if len(names) != len(weights):
            raise ArgumentError(f"adapter_weights: {len(weights)} weights for {len(names)} adapters; give one for each")
        super().set_adapters(names, weights)

    def fuse_lora(
        self, components: Sequence[str] | None = None, lora_scale: float = 1.0, adapter_names: list[str] | None = None
    ) -> None:
        """As in diffusers: add the active adapters, or those named, to the weights of the denoisers, which then cost nothing.

        ``unfuse_lora`` takes them out again; after ``unload_lora_weights`` they are there for good.

        Raises:
            ArgumentError: if no adapter is loaded.
        """
        chosen = list(components or self._lora_loadable_modules)
        if not chosen:
            raise ArgumentError("fuse_lora: no adapter is loaded; call load_lora_weights first")
        super().fuse_lora(chosen, lora_scale, adapter_names=adapter_names)

    def unfuse_lora(self, components: Sequence[str] | None = None) -> None:
        """As in diffusers: take fused adapters out of the weights again."""
        chosen = list(components or self._lora_loadable_modules)
        if chosen:
            super().unfuse_lora(chosen)

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> None:
        """As in ``PartsPipeline``.

        Raises:
            ArgumentError: if an adapter is loaded: a model folder has none.
        """
        for name in self._lora_loadable_modules:
            raise ArgumentError(
                f"save_pretrained: {name} has LoRA weights; call fuse_lora() to keep them, and unload_lora_weights() first"
            )
        super().save_pretrained(save_directory, *args, **kwargs)

    def _scales(self, names: Sequence[str]) -> list[float]:
        """The weights that these adapters have now."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        parts = (self.parts.get(name) for name in self._lora_loadable_modules)
        layers = [layer for part in parts for layer in part.modules() if isinstance(layer, BaseTunerLayer)]
        found = {}
        for layer in layers:
            for name in set(names) & layer.scaling.keys():
                plain = layer.lora_alpha[name] / layer.r[name]
                found.setdefault(name, layer.scaling[name] / plain)
        return [found.get(name, 1.0) for name in names]

    def _check_fits(self, path: Path, part: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """Refuse weights of another model before anything is changed."""
        skeleton = self.parts.skeleton(part) if part in self.parts else None
        if not hasattr(skeleton, "load_lora_adapter"):
            raise ConfigurationError(f"{path}: has weights for {part!r}, which this model does not have; open its own model")
        layers = {_plain(name): each for name, each in skeleton.named_modules() if isinstance(each, nn.Linear | nn.Conv2d)}
        for key, tensor in tensors.items():
            place, _, half = key.rpartition(".lora_")
            layer = layers.get(place)
            if layer is None or half not in ("A.weight", "B.weight"):
                raise ConfigurationError(f"{path}: {part} of this model has no {key}; the file was made for another model")
            own = tuple(layer.weight.shape)
            fits = tensor.shape[1:] == own[1:] if half == "A.weight" else tensor.shape[:1] == own[:1]
            if tensor.ndim != len(own) or not fits:
                raise ConfigurationError(
                    f"{path}: {part}.{key} is {list(tensor.shape)}, which does not fit weights of {list(own)} here; the file "
                    "was made for another model"
                )


def _plain(name: str) -> str:
    """The name that a layer has without adapters."""
    return name.removesuffix(".base_layer")


def _read(path: Path) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, dict[str, Any]]]:
    """({part: {name: weight}}, {part: what its adapter is}) of a file."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            told = json.loads((file.metadata() or {}).get(ADAPTER_METADATA, "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError(f"{path}: cannot be read as safetensors ({reason}); make it again") from error
    weights: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ConfigurationError(f"{path}: {key} holds values that are not finite; make it again")
        part, _, name = key.partition(".")
        weights.setdefault(part, {})[name] = tensor
    if not weights:
        raise ConfigurationError(f"{path}: holds no weights; make it again")
    config: dict[str, dict[str, Any]] = {}
    for key, value in told.items() if isinstance(told, dict) else ():
        part, _, name = key.partition(".")
        config.setdefault(part, {})[name] = value
    return weights, config
