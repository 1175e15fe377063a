"""Model folders: a part is read when something first needs it, so that a call holds no more than it uses."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import torch
from accelerate import cpu_offload, init_empty_weights
from accelerate.hooks import remove_hook_from_module
from diffusers import DiffusionPipeline, ModelMixin
from torch import nn

from .errors import ArgumentError, ConfigurationError
from .modality import Modality
from .models import check_files, read_index, resolve

LIBRARIES = ("opencodi", "diffusers", "transformers")
"""Where the classes of parts may come from; a model folder must not make us import anything else."""


@dataclass(frozen=True)
class StoredPart:
    """A part of a model that is still in its folder.

    Attributes:
        folder: of this part.
        module, class_name: its class, as ``model_index.json`` names it.
        dtype: precision of its weights once loaded, whatever the files hold.
    """

    folder: Path
    module: str
    class_name: str
    dtype: torch.dtype

    @property
    def kind(self) -> type:
        """The class.

        Raises:
            ConfigurationError: if there is none, or it is none of ours or our libraries'.
        """
        if self.module.partition(".")[0] not in LIBRARIES:
            raise ConfigurationError(
                f"{self.folder}: its class is from {self.module}, but parts come from {', '.join(LIBRARIES)} only"
            )
        try:
            return getattr(import_module(self.module), self.class_name)
        except (ImportError, AttributeError) as error:
            raise ConfigurationError(f"{self.folder}: there is no class {self.module}.{self.class_name}") from error

    def load(self, **changes: Any) -> Any:
        """The part on the CPU, in evaluation mode; its weights are mapped from the files and never held twice.

        Args:
            **changes: config values that leave sub-layers out, such as ``alignment=False``.

        Raises:
            ConfigurationError: if a file is missing or damaged, or lacks weights.
        """
        kind, options, info = self.kind, {"local_files_only": True}, {}
        if issubclass(kind, nn.Module):
            # Our libraries agree on everything but the name of the precision.
            name = "torch_dtype" if issubclass(kind, ModelMixin) else "dtype"
            options |= {name: self.dtype, "use_safetensors": True, "output_loading_info": True}
        try:
            part = kind.from_pretrained(str(self.folder), **options, **changes)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise ConfigurationError(f"model part {self.folder} cannot be loaded: {error}") from error
        if isinstance(part, tuple):
            part, info = part
        if isinstance(part, ModelMixin):
            if info["missing_keys"]:
                raise ConfigurationError(f"{self.folder}: its files lack the weights {sorted(info['missing_keys'])[0]}")
            # Saved again, a model must not carry the path it was loaded from.
            part.register_to_config(_name_or_path=f"{self.folder.parent.name}/{self.folder.name}")
        return part

    def skeleton(self) -> ModelMixin | None:
        """The network without weights, for its config and shapes; None where this is no diffusers model."""
        kind = self.kind
        if not issubclass(kind, ModelMixin):
            return None
        with init_empty_weights():
            return kind.from_config(self.config)

    @property
    def config(self) -> dict[str, Any]:
        """What ``config.json`` holds."""
        return json.loads((self.folder / "config.json").read_text(encoding="utf-8"))


class PartsByModality(Mapping):
    """Modality → part of a pipeline, for the parts it has; looking one up loads it."""

    def __init__(self, pipeline: "LazyPipeline", names: Mapping[Modality, str]):
        self._pipeline = pipeline
        self._names = {modality: name for modality, name in names.items() if pipeline.has(name)}

    def __getitem__(self, modality: Modality) -> Any:
        return getattr(self._pipeline, self._names[modality])

    def __iter__(self) -> Iterator[Modality]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class LazyPipeline(DiffusionPipeline):
    """A ``DiffusionPipeline`` that takes a ``StoredPart`` in place of any component.

    ``pipe.image_denoiser`` reads the whole part, and so does all of diffusers that asks for it (``components``,
    ``save_pretrained``). What only places parts (``to``, the offloads) acts on those in memory and, when they come, on the
    others. A call may hold a part without sub-layers it does not need, see ``held``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._stored: dict[str, StoredPart] = {}
        self._reduced: dict[str, ModelMixin] = {}
        self._in_memory_only = False
        self._device = torch.device("cpu")
        self._offload: dict[str, Any] | None = None
        self._keeps_parts = True

    # ------------------------------------------------------------------ loading

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, **kwargs: Any) -> Self:
        """Open an installed model by name, or a model folder; its parts are read when they are first needed.

        Args:
            name_or_folder: ``"stickers"``, or a folder with a ``model_index.json``.
            **kwargs: ``torch_dtype`` (or ``dtype``) is float32 unless given, whatever the files hold: half precision is
                slow on most CPUs; a dictionary ``{part: dtype, "default": dtype}`` does for some. A component passed is
                used instead of the folder's; one passed as ``None`` is left out. Anything else that diffusers takes
                (``device_map``, ``variant``, ``quantization_config``, …) makes it load everything at once.

        Raises:
            ConfigurationError: if there is no such model, or a part of it is missing or damaged.
        """
        folder = resolve(name_or_folder)
        short = kwargs.pop("dtype", None)
        dtype = kwargs.pop("torch_dtype", None) or short or torch.float32
        names, settings = cls._get_signature_keys(cls)
        given = {name: kwargs.pop(name) for name in (*names, *settings) if name in kwargs}
        index = read_index(folder)
        stored = {}
        for name in names:
            module, class_name = index.get(name) or (None, None)
            if module is not None and name not in given:
                check_files(folder / name)
                precision = dtype.get(name, dtype.get("default", torch.float32)) if isinstance(dtype, dict) else dtype
                stored[name] = StoredPart(folder / name, module, class_name, precision)
        if kwargs:
            pipeline = cls._load_at_once(folder, stored, dtype=dtype, **given, **kwargs)
        else:
            pipeline = cls(**stored, **{name: index[name] for name in settings if name in index} | given)
        pipeline.register_to_config(_name_or_path=folder.name)
        return pipeline

    @classmethod
    def _load_at_once(cls, folder: Path, stored: Mapping[str, StoredPart], **kwargs: Any) -> Self:
        """As diffusers does, which knows our classes by their modules once these are imported.

        How to load them it finds out by looking for its base class among the names of that module.
        """
        for part in stored.values():
            if part.kind.__module__.startswith(f"{__package__}."):
                vars(import_module(part.module)).setdefault("ModelMixin", ModelMixin)
        try:
            pipeline = super().from_pretrained(str(folder), use_safetensors=True, local_files_only=True, **kwargs)
        except (OSError, ValueError, KeyError, AttributeError, RuntimeError) as error:
            raise ConfigurationError(f"model {folder} cannot be loaded: {error}") from error
        for name in stored:
            component = getattr(pipeline, name)
            if isinstance(component, ModelMixin):
                component.register_to_config(_name_or_path=f"{folder.name}/{name}")
        return pipeline

    def register_modules(self, **components: Any) -> None:
        """As in diffusers, and parts that are still in their folder."""
        for name, component in components.items():
            if isinstance(component, StoredPart):
                self.register_to_config(**{name: (component.module, component.class_name)})
                self._stored[name] = component
            else:
                super().register_modules(**{name: component})

    def __getattr__(self, name: str) -> Any:
        if name not in self.__dict__.get("_stored", {}):
            return super().__getattr__(name)
        return self._reduced.get(name) if self._in_memory_only else self._load(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if self.__dict__.get("_stored", {}).pop(name, None) is not None:
            self._reduced.pop(name, None)
            self.__dict__.setdefault(name, None)  # diffusers registers the class of what replaces an attribute
        super().__setattr__(name, value)

    def has(self, name: str) -> bool:
        """Whether this model has a part of that name, in memory or in its folder."""
        return name in self._stored or self.__dict__.get(name) is not None

    def held(self, name: str, **features: bool) -> Any:
        """A part for the time of a call, without sub-layers that the call does not need.

        Args:
            name: of the part.
            **features: config values of the part (``alignment``, ``temporal``) and whether they are needed. A part
                that comes from the folder is read without those that are not; it is read again once they are.
        """
        if name in self.__dict__:
            return self.__dict__[name]
        stored, held = self._stored[name].config, self._reduced.get(name)
        # What is in memory already stays: calls in turn must not read a part again and again.
        wanted = {
            each: needed or bool(held and held.config[each]) for each, needed in features.items() if stored.get(each)
        }
        if held is not None and all(held.config[each] for each, needed in wanted.items() if needed):
            return held
        del held  # or it would be in memory beside its successor
        return self._load(name, **{each: False for each, needed in wanted.items() if not needed})

    def part_config(self, name: str) -> Mapping[str, Any]:
        """The config of a part, without reading its weights."""
        if name in self._stored and name not in self.__dict__:
            return self._stored[name].config
        return getattr(self, name).config

    def skeleton(self, name: str) -> Any:
        """A part for its config and shapes: itself if it is in memory, else without weights; None without one."""
        if name in self._stored and name not in self.__dict__:
            return self._reduced.get(name) or self._stored[name].skeleton()
        return getattr(self, name)

    def unload(self, *names: str) -> None:
        """Take parts out of memory; when next needed they are read from the model folder again, as they are there.

        Args:
            names: of parts; without any, all that came from a folder.

        Raises:
            ArgumentError: if a part is not from a folder, or was loaded at once with all others.
        """
        for name in names:
            if name not in self._stored:
                raise ArgumentError(
                    f"unload: {name!r} cannot be read from a model folder again; set the attribute to None"
                )
        self._release(*(names or self._stored))
        self._apply_offload()

    def _load(self, name: str, **changes: Any) -> Any:
        self._release(name)  # before its successor comes: never two of them
        part = self._stored[name].load(**changes)
        if changes:
            self._reduced[name] = part
        else:
            self.__dict__[name] = part
        if self._offload is None and isinstance(part, nn.Module):
            part.to(self._device)
        self._apply_offload()
        return part

    def _release(self, *names: str) -> None:
        held = [name for name in names if name in self.__dict__ or name in self._reduced]
        if held and self._offload is not None:
            with self._only_in_memory():
                super().remove_all_hooks()  # they hold on to the parts
        for name in held:
            self.__dict__.pop(name, None)
            self._reduced.pop(name, None)

    # ------------------------------------------------------------------ placing

    @contextmanager
    def _only_in_memory(self) -> Iterator[None]:
        """Within it, parts that are not in memory read as None: for diffusers' methods that go through all of them."""
        before, self._in_memory_only = self._in_memory_only, True
        try:
            yield
        finally:
            self._in_memory_only = before

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """As in diffusers; parts that are not in memory yet come in that precision and to that device."""
        given = [value for value in (*args, kwargs.get("device"), kwargs.get("dtype")) if value is not None]
        with self._only_in_memory():
            super().to(*args, **kwargs)
        for value in given:
            if isinstance(value, torch.dtype):
                self._stored = {name: replace(part, dtype=value) for name, part in self._stored.items()}
            else:
                self._device = torch.device(value)
        return self

    @property
    def device(self) -> torch.device:
        """Where parts are, or will be."""
        with self._only_in_memory():
            in_memory = any(isinstance(part, nn.Module) for part in self.components.values())
            return super().device if in_memory else self._device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the parts in memory, or of those to come."""
        with self._only_in_memory():
            in_memory = any(isinstance(part, nn.Module) for part in self.components.values())
            return super().dtype if in_memory or not self._stored else next(iter(self._stored.values())).dtype

    @property
    def _execution_device(self) -> torch.device:
        if self._offload is not None:
            return self._offload_device
        with self._only_in_memory():
            return super()._execution_device

    def enable_model_cpu_offload(self, gpu_id: int | None = None, device: torch.device | str | None = None) -> None:
        """As in diffusers; parts read later are offloaded too."""
        self._start_offload(layerwise=False, gpu_id=gpu_id, device=device)

    def enable_sequential_cpu_offload(
        self, gpu_id: int | None = None, device: torch.device | str | None = None
    ) -> None:
        """Prompt encoders and denoisers come to the device layer by layer, other parts one at a time; parts read later
        likewise."""
        self._start_offload(layerwise=True, gpu_id=gpu_id, device=device)

    def enable_disk_offload(self) -> None:
        """Take parts that came from a model folder out of memory as soon as a call has used them.

        The peak is then that of the largest step of a call, and every call reads its parts again.
        """
        self._keeps_parts = False

    def _done_with(self, *names: str) -> None:
        """A call needs these no more."""
        if not self._keeps_parts:
            self._release(*(name for name in names if name in self._stored))
            self._apply_offload()

    def _start_offload(self, layerwise: bool, **options: Any) -> None:
        kind = type(self)
        # In turns, and never: those that come layer by layer are in neither.
        self.model_cpu_offload_seq = kind._whole_with_sequential_offload if layerwise else kind.model_cpu_offload_seq
        self._exclude_from_cpu_offload = [] if layerwise else kind._exclude_from_cpu_offload
        with self._only_in_memory():
            super().enable_model_cpu_offload(**options)
            if self._offload_device.type == "cpu":  # accelerate takes cpu:0, as diffusers calls it, for another place
                self._offload_device = torch.device("cpu")
            in_turns = self.model_cpu_offload_seq.split("->")
            for name, part in self.components.items() if layerwise else ():
                if isinstance(part, nn.Module) and name not in in_turns:
                    remove_hook_from_module(part)
                    # torch's own attention reads a layer's weights without calling the layer.
                    cpu_offload(part, self._offload_device, preload_module_classes=["MultiheadAttention"])
        self._offload = {"layerwise": layerwise, **options}

    def _apply_offload(self) -> None:
        if self._offload is not None:
            self._start_offload(**self._offload)

    def remove_all_hooks(self) -> None:
        """As in diffusers: ends offloading."""
        with self._only_in_memory():
            super().remove_all_hooks()
        self._offload = None

    def maybe_free_model_hooks(self) -> None:
        """As in diffusers, at the end of a call: what is offloaded goes back."""
        if self._offload is not None:
            self._apply_offload()
        else:
            with self._only_in_memory():
                super().maybe_free_model_hooks()
