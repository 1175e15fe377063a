"""A diffusers pipeline whose parts are loaded when they are first needed: opening, saving, placing, offloading."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from diffusers import DiffusionPipeline
from torch import nn

from ..device import warn_if_slow
from ..errors import ArgumentError, ConfigurationError
from ..models import INDEX, check_files, resolve
from ..models.schema import read_model_index
from . import PartAttribute, Parts
from .checks import check_dtypes, check_options, check_settings
from .fitting import check_sizes
from .placing import (
    CPU,
    DeviceMap,
    GroupOffload,
    LayerOffload,
    ModelOffload,
    Placement,
    accelerators,
    balanced,
    offload_device,
)
from .stored import StoredPart, index_entry


class PartsPipeline(DiffusionPipeline):
    """A ``DiffusionPipeline`` over ``Parts``: ``pipe.parts`` knows them, ``pipe.image_denoiser`` loads one.

    What places parts (``to``, the offloads) acts on those in memory now and on the others when they come. What needs them all
    (``components``, ``save_pretrained``) loads them all.
    """

    whole_when_offloaded: ClassVar[Sequence[str]] = ()
    """Parts that come to a device as a whole, in turns, where others come layer by layer."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = Parts()

    def register_modules(self, **parts: Any) -> None:
        """Give the pipeline parts: as in diffusers, or a ``StoredPart`` that is loaded when it is needed.

        Raises:
            ArgumentError: if a name is that of a method.
        """
        for name, part in parts.items():
            attribute = getattr(type(self), name, None)
            if attribute is None:
                attribute = PartAttribute()
                attribute.__set_name__(type(self), name)
                setattr(type(self), name, attribute)
            if not isinstance(attribute, PartAttribute):
                raise ArgumentError(
                    f"a part cannot be named {name!r}, which {type(self).__name__} has already; rename it"
                )
            self.register_to_config(**{name: index_entry(part)})
            self.parts.set(name, part)

    @property
    def components(self) -> dict[str, Any]:
        """Every part by name, loaded; None for those that the model does without."""
        return self.parts.load_all()

    @classmethod
    def _get_signature_keys(cls, obj: Any) -> tuple[list[str], list[str]]:
        """Names of parts and names of settings: those of a pipeline, or those its class names."""
        given = signature(cls.__init__).parameters.values()
        named = [each.name for each in given if each.kind not in (Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL)]
        parts = obj.parts.names if isinstance(obj, PartsPipeline) else cls._optional_components
        return sorted(parts), sorted({*named} - {"self", *parts, *cls._optional_components})

    # ------------------------------------------------------------------ opening and saving

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, **kwargs: Any) -> Self:
        """Open an installed model by name, or a model folder; its parts are loaded when they are first needed.

        Args:
            name_or_folder: ``"stickers"``, or a folder with a ``model_index.json``.
            **kwargs: ``torch_dtype`` (or ``dtype``): float32 unless given, whatever the files hold, since half precision is
                slow on most CPUs; a dictionary ``{part: dtype, "default": dtype}`` does for some. ``variant``: of the weight
                files, such as ``"fp16"``, for the parts that have it. ``device_map``: a device for all parts, a dictionary
                ``{part: device, "": device}``, or ``"balanced"`` over all accelerators (within ``max_memory``). A part passed
                by name is used instead of the folder's, None leaves it out; so do settings of the pipeline.

        Raises:
            ConfigurationError: if there is no such model, or its parts are missing, damaged or do not fit one another.
            ArgumentError: if an argument is unknown.
        """
        folder = resolve(name_or_folder)
        short = kwargs.pop("dtype", None)
        dtype = kwargs.pop("torch_dtype", None) or short or torch.float32
        warn_if_slow(dtype)
        variant, device_map, memory = (kwargs.pop(name, None) for name in ("variant", "device_map", "max_memory"))
        names, settings = cls._get_signature_keys(cls)
        # Modalities may have been added since the class was made.
        names = list(dict.fromkeys([*names, *sorted(getattr(cls, "component_names", set)())]))
        index = read_model_index(folder / INDEX, frozenset(names), frozenset(settings))
        names = list(dict.fromkeys([*names, *index.parts]))
        given = {name: kwargs.pop(name) for name in (*names, *settings) if name in kwargs}
        check_options(kwargs, [*names, *settings, "torch_dtype", "variant", "device_map"])
        check_settings(folder / INDEX, index.settings, settings)
        check_dtypes(dtype, names)
        parts, variants = {}, set()
        for name in names:
            reference = index.parts.get(name)
            if name in given:
                parts[name] = given.pop(name)
            elif reference is not None:
                used = check_files(folder / name, variant)
                variants.add(used)
                kind = dtype.get(name, dtype.get("default", torch.float32)) if isinstance(dtype, dict) else dtype
                parts[name] = StoredPart(folder / name, *reference, kind, used)
        if variant is not None and variant not in variants:
            raise ConfigurationError(f"{folder} has no weights of the variant {variant!r}; open it without variant")
        check_sizes(parts)
        pipeline = cls._assemble(parts, index.settings | given)
        pipeline.register_to_config(_name_or_path=folder.name)
        if device_map is not None:
            pipeline._map_devices(device_map, memory)
        return pipeline

    @classmethod
    def _assemble(cls, parts: Mapping[str, Any], settings: Mapping[str, Any]) -> Self:
        """A pipeline; parts that its class does not name are registered afterwards."""
        accepted = signature(cls.__init__).parameters
        others = any(each.kind == Parameter.VAR_KEYWORD for each in accepted.values())
        known = {name: part for name, part in parts.items() if others or name in accepted}
        pipeline = cls(**known, **settings)
        pipeline.register_modules(**{name: part for name, part in parts.items() if name not in known})
        return pipeline

    @classmethod
    def from_pipe(cls, pipeline: Any, **kwargs: Any) -> Self:
        """A pipeline of this class over the parts of another one, which both then have in common.

        Args:
            pipeline: any diffusers pipeline; of ours, parts still in their folder are handed on as they are.
            **kwargs: parts and settings to use instead; ``torch_dtype`` casts all parts.

        Raises:
            ArgumentError: if an argument is unknown.
        """
        dtype = kwargs.pop("torch_dtype", None) or kwargs.pop("dtype", None)
        names, settings = cls._get_signature_keys(pipeline if isinstance(pipeline, PartsPipeline) else cls)
        found = pipeline.parts.handed_on() if isinstance(pipeline, PartsPipeline) else pipeline.components
        check_options({name: kwargs[name] for name in kwargs if name not in (*names, *settings)}, [*names, *settings])
        told = {name: pipeline.config[name] for name in settings if name in pipeline.config}
        told |= {name: kwargs.pop(name) for name in settings if name in kwargs}
        made = cls._assemble({name: part for name, part in found.items() if name in names} | kwargs, told)
        return made if dtype is None else made.to(dtype)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        safe_serialization: bool = True,
        variant: str | None = None,
        max_shard_size: int | str | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """Write every part and ``model_index.json`` to a folder; what is there already is replaced part by part.

        Args:
            save_directory: the folder, made if it is not there.
            safe_serialization: must be true; we read safetensors only.
            variant: of the weight files, such as ``"fp16"`` for ``diffusion_pytorch_model.fp16.safetensors``.
            max_shard_size: of one weight file, such as ``"5GB"``.
            push_to_hub: must be false; call ``push_to_hub`` on its own.

        Raises:
            ArgumentError: if an argument asks for what we do not write.
            ConfigurationError: if a part that is still in its folder cannot be loaded.
        """
        if not safe_serialization:
            raise ArgumentError(
                "safe_serialization: only safetensors are written, since nothing else is read; leave it out"
            )
        if push_to_hub or kwargs:
            name = next(iter(kwargs), "push_to_hub")
            raise ArgumentError(f"{name}: save_pretrained only writes a folder; save first, then call push_to_hub")
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        options = {"variant": variant} | ({} if max_shard_size is None else {"max_shard_size": max_shard_size})
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as stage:
            for name in self.parts.names:
                with self.parts.whole(name) as part:
                    if part is not None:
                        part.save_pretrained(Path(stage) / name, **(options if isinstance(part, nn.Module) else {}))
                        _forget_paths(Path(stage) / name)
            self.save_config(stage)
            _forget_paths(Path(stage))
            for made in sorted(Path(stage).iterdir(), key=lambda path: path.name == INDEX):  # the index last
                if (folder / made.name).is_dir():
                    shutil.rmtree(folder / made.name)
                os.replace(made, folder / made.name)

    # ------------------------------------------------------------------ placing

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """As in diffusers, ``to(device)``, ``to(dtype)`` or ``to(device, dtype)``; parts that are loaded later follow.

        Raises:
            ArgumentError: if it is neither, the device holds no values, or parts are offloaded or mapped to devices.
        """
        kwargs.pop("silence_dtype_warnings", None)
        device, dtype = _device_and_dtype(*args, **kwargs)
        warn_if_slow(dtype, device)
        placement = self.parts.placement
        if device is not None and type(placement) is not Placement:
            if isinstance(placement, DeviceMap):
                raise ArgumentError("to: parts are mapped to devices; call reset_device_map() first")
            if device.type != "cpu":
                raise ArgumentError("to: parts are offloaded; call remove_all_hooks() first")
            device = None  # they wait there already
        self.parts.place(placement if device is None else Placement(device), dtype)
        return self

    @property
    def device(self) -> torch.device:
        """Where parts are, or will be."""
        return self.parts.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the first network in alphabetical order, loaded or not."""
        return self.parts.dtype

    @property
    def _execution_device(self) -> torch.device:
        return self.parts.placement.device if type(self.parts.placement) is not Placement else self.device

    @property
    def hf_device_map(self) -> dict[str, torch.device] | None:
        """Part → device, if the pipeline was opened with a ``device_map``."""
        placement = self.parts.placement
        return dict(placement.devices) if isinstance(placement, DeviceMap) else None

    def reset_device_map(self) -> None:
        """As in diffusers: every part to the CPU."""
        if isinstance(self.parts.placement, DeviceMap):
            self.parts.place(Placement())

    def enable_model_cpu_offload(self, gpu_id: int | None = None, device: torch.device | str | None = None) -> None:
        """As in diffusers: whole parts come to the device when they compute. Parts loaded later are offloaded too."""
        device = offload_device("enable_model_cpu_offload", gpu_id, device)
        order = self.model_cpu_offload_seq.split("->")
        self._offload(ModelOffload(device, order, self._exclude_from_cpu_offload))

    def enable_sequential_cpu_offload(
        self, gpu_id: int | None = None, device: torch.device | str | None = None
    ) -> None:
        """As in diffusers: parts come to the device layer by layer, but small ones as a whole. Parts loaded later likewise."""
        device = offload_device("enable_sequential_cpu_offload", gpu_id, device)
        self._offload(LayerOffload(device, self.whole_when_offloaded))

    def enable_group_offload(
        self,
        onload_device: torch.device | str,
        offload_device: torch.device | str = CPU,
        offload_type: str = "block_level",
        num_blocks_per_group: int | None = None,
        non_blocking: bool = False,
        use_stream: bool = False,
        record_stream: bool = False,
        low_cpu_mem_usage: bool = False,
        offload_to_disk_path: str | os.PathLike | None = None,
        exclude_modules: str | Sequence[str] | None = None,
    ) -> None:
        """As in diffusers: groups of layers come to the device; they wait on the CPU or on disk. Parts loaded later likewise.

        Each part has a folder of its own below ``offload_to_disk_path``, which goes when the part does.

        Raises:
            ArgumentError: if the options do not fit one another, or a module to exclude is none of this model's.
        """
        excluded = [exclude_modules] if isinstance(exclude_modules, str) else list(exclude_modules or ())
        self._check_names("exclude_modules", excluded)
        if offload_type == "block_level" and num_blocks_per_group is None:
            raise ArgumentError("num_blocks_per_group: say how many blocks make a group for 'block_level', such as 1")
        device = torch.device(onload_device)
        placement = GroupOffload(
            device,
            self.whole_when_offloaded,
            excluded,
            None if offload_to_disk_path is None else Path(offload_to_disk_path),
            offload_device=torch.device(offload_device),
            offload_type=offload_type,
            num_blocks_per_group=num_blocks_per_group,
            non_blocking=non_blocking,
            use_stream=use_stream,
            record_stream=record_stream,
            low_cpu_mem_usage=low_cpu_mem_usage,
        )
        self._offload(placement)

    def enable_disk_offload(self) -> None:
        """Take parts that came from a model folder out of memory as soon as a call has used them.

        The peak is then that of the largest step of a call, and every call loads its parts again.
        """
        self.parts.kept = False

    def remove_all_hooks(self) -> None:
        """As in diffusers: ends offloading; parts are on the CPU afterwards."""
        if type(self.parts.placement) is not Placement:
            self.parts.place(Placement())

    def maybe_free_model_hooks(self) -> None:
        """As in diffusers, at the end of a call: what is offloaded goes back."""
        for part in self.parts.loaded().values():
            if hasattr(part, "_reset_stateful_cache"):
                part._reset_stateful_cache()
        self.parts.placement.after_call()

    def _offload(self, placement: ModelOffload) -> None:
        if isinstance(self.parts.placement, DeviceMap):
            raise ArgumentError("parts are mapped to devices and cannot be offloaded; call reset_device_map() first")
        self.parts.place(placement)

    def _check_names(self, argument: str, names: Sequence[str]) -> None:
        for name in names:
            if name not in self.parts.names:
                raise ArgumentError(
                    f"{argument}: this model has no part {name!r}; choose from {', '.join(self.parts.names)}"
                )

    def _map_devices(self, device_map: str | Mapping[str, Any], max_memory: Mapping[Any, Any] | None) -> None:
        if device_map == "balanced":
            sizes = {name: self.parts.size(name) for name in self.parts.names if name in self.parts}
            self.parts.place(DeviceMap(balanced(sizes, accelerators(max_memory))))
        elif isinstance(device_map, Mapping):
            self._check_names("device_map", [name for name in device_map if name])
            self.parts.place(DeviceMap({name: _device(device) for name, device in device_map.items()}))
        else:
            self.to(_device(device_map))


def _device(device: Any) -> torch.device:
    """A device that can hold weights.

    Raises:
        ArgumentError: if it is none.
    """
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ArgumentError(f"device: {device!r} is none; use 'cpu' or 'cuda'") from error
    if found.type == "meta":
        raise ArgumentError("device: 'meta' holds no values; use 'cpu' or 'cuda'")
    return found


def _device_and_dtype(*args: Any, **kwargs: Any) -> tuple[torch.device | None, torch.dtype | None]:
    values = [value for value in (*args, kwargs.pop("device", None), kwargs.pop("dtype", None)) if value is not None]
    dtypes = [value for value in values if isinstance(value, torch.dtype)]
    devices = [_device(value) for value in values if not isinstance(value, torch.dtype)]
    if kwargs or len(dtypes) > 1 or len(devices) > 1:
        raise ArgumentError("to: give a device, a precision, or both, each once")
    return next(iter(devices), None), next(iter(dtypes), None)


def _forget_paths(folder: Path) -> None:
    """Take folders of the machine a part was loaded on out of its configs: only the last name of a path stays."""
    for file in folder.glob("*.json"):
        if not file.name.endswith(("config.json", INDEX)):
            continue
        config = json.loads(file.read_text(encoding="utf-8"))
        path = config.get("_name_or_path") if isinstance(config, dict) else None
        if isinstance(path, str) and os.path.isabs(path):
            config["_name_or_path"] = Path(path).name
            file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
