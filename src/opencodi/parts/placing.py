"""Where the parts of a model are: on one device, spread over several, or offloaded and brought when they compute.

Each way places one part at a time, so that it does not matter when a part is loaded. Hooks are accelerate's and diffusers'
own, see ``diffusers.DiffusionPipeline.enable_model_cpu_offload`` and its neighbours.
"""

import shutil
import tempfile
import weakref
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import cpu_offload, cpu_offload_with_hook, dispatch_model
from accelerate.hooks import remove_hook_from_module
from accelerate.utils import get_max_memory
from diffusers.hooks import apply_group_offloading
from diffusers.utils.torch_utils import get_device
from torch import nn

from ..errors import ArgumentError
from .stored import align_weights

CPU = torch.device("cpu")
_GROUP_OFFLOADING = "group_offloading"
_UNCALLED = (nn.MultiheadAttention, nn.TransformerEncoderLayer)


class Placement:
    """Everything on one device.

    Args:
        device: that device.
    """

    shared = True
    """Whether several threads may compute at once: hooks that move weights serve one call at a time."""

    def __init__(self, device: torch.device = CPU):
        self.device = device

    def place(self, name: str, part: nn.Module) -> None:
        """Bring a part that is in memory to where it belongs."""
        part.to(self.device)

    def remove(self, name: str, part: nn.Module) -> None:
        """Undo ``place``: the whole part is in memory, without hooks."""

    def forget(self, name: str) -> None:
        """A part has left memory."""

    def after_call(self) -> None:
        """A call has ended: what it brought to the device goes back."""


class DeviceMap(Placement):
    """Parts on several devices; a part's inputs come to it.

    Args:
        devices: part → device; ``""`` stands for parts that are not named.
    """

    def __init__(self, devices: Mapping[str, torch.device]):
        self.devices = dict(devices)
        used = [*self.devices.values()]
        super().__init__(next((device for device in used if device.type != "cpu"), CPU))

    def place(self, name: str, part: nn.Module) -> None:
        device = self.devices.get(name, self.devices.get("", CPU))
        dispatch_model(part, {"": device}, force_hooks=True)

    def remove(self, name: str, part: nn.Module) -> None:
        remove_hook_from_module(part, recurse=True)
        part.to(CPU)


class ModelOffload(Placement):
    """Whole parts come to the device when they compute, and go back when the next one does.

    Args:
        device: where they compute.
        order: in which parts take turns; a part that is not in it stays on the device until the call ends.
        staying: parts that stay on the device for good.
    """

    shared = False

    def __init__(self, device: torch.device, order: Sequence[str], staying: Collection[str] = ()):
        super().__init__(device)
        self._order, self._staying, self._hooks = order, staying, {}

    def place(self, name: str, part: nn.Module) -> None:
        if name in self._staying:
            part.to(self.device)
            return
        _, self._hooks[name] = cpu_offload_with_hook(part.to(CPU), self.device)
        self._link()

    def remove(self, name: str, part: nn.Module) -> None:
        if name in self._hooks:
            remove_hook_from_module(part, recurse=True)
        self.forget(name)
        part.to(CPU)

    def forget(self, name: str) -> None:
        self._hooks.pop(name, None)  # it holds on to the part
        self._link()

    def after_call(self) -> None:
        for hook in self._hooks.values():
            hook.offload()

    def _link(self) -> None:
        """Each part sends the one before it back."""
        before = None
        for name in self._order:
            if (hook := self._hooks.get(name)) is not None:
                hook.hook.prev_module_hook, before = before, hook


class LayerOffload(ModelOffload):
    """Parts come to the device layer by layer.

    Args:
        device: where they compute.
        whole: parts that come as a whole, in turns, since they read weights without calling the layers that hold them.
    """

    def place(self, name: str, part: nn.Module) -> None:
        if name in self._order:
            super().place(name, part)
        else:
            # torch's own attention reads a layer's weights without calling the layer.
            cpu_offload(part.to(CPU), self.device, preload_module_classes=["MultiheadAttention"])

    def remove(self, name: str, part: nn.Module) -> None:
        remove_hook_from_module(part, recurse=True)
        super().remove(name, part)


class GroupOffload(ModelOffload):
    """Parts come to the device group by group of their layers, as ``diffusers.hooks.apply_group_offloading`` does it.

    Parts with torch's own attention come as a whole: it reads weights without calling the layers that hold them. Hooks of
    blocks watch ``forward`` alone, but our own classes compute in other methods too (``encode``, ``decode``): their groups
    are single layers whatever ``offload_type`` says.

    Args:
        device: where they compute.
        whole: parts that come as a whole, in turns.
        excluded: parts that stay on the device.
        disk: a folder for the weights of what waits; None: they wait in memory.
        **options: of ``apply_group_offloading``.
    """

    def __init__(
        self, device: torch.device, whole: Sequence[str], excluded: Collection[str], disk: Path | None, **options: Any
    ):
        super().__init__(device, whole, excluded)
        self._disk, self._options, self._folders = disk, options, {}

    def place(self, name: str, part: nn.Module) -> None:
        if name in self._order or name in self._staying or any(isinstance(each, _UNCALLED) for each in part.modules()):
            super().place(name, part)
            return
        folder = None
        if self._disk is not None:
            # A folder of its own: diffusers names its files by layers alone, and reads what is there already.
            self._disk.mkdir(parents=True, exist_ok=True)
            folder = tempfile.mkdtemp(prefix=f"{name}-", dir=self._disk)
            self._folders[name] = weakref.finalize(part, shutil.rmtree, folder, ignore_errors=True)
        own = {"offload_type": "leaf_level"} if type(part).__module__.startswith("opencodi.") else {}
        apply_group_offloading(part.to(CPU), self.device, offload_to_disk_path=folder, **self._options | own)
    def remove(self, name: str, part: nn.Module) -> None:
        for layer in part.modules():
            registry = getattr(layer, "_diffusers_hook", None)
            hook = registry.get_hook(_GROUP_OFFLOADING) if registry is not None else None
            if hook is not None:
                hook.group.onload_()
                registry.remove_hook(_GROUP_OFFLOADING, recurse=False)
        super().remove(name, part)
        align_weights(part)
        if (folder := self._folders.pop(name, None)) is not None:
            folder()


def offload_device(method: str, gpu_id: int | None, device: torch.device | str | None) -> torch.device:
    """The device that an offload brings parts to, as diffusers chooses it.

    Raises:
        ArgumentError: if none is named and this machine has no accelerator, or two different ones are named.
    """
    if device is None and get_device() == "cpu":
        raise ArgumentError(
            f"{method}: this machine has no accelerator to bring parts to; use enable_disk_offload() where memory is short"
        )
    chosen = torch.device(device or get_device())
    if gpu_id is not None and chosen.index not in (None, gpu_id):
        raise ArgumentError(f"{method}: gpu_id is {gpu_id} but device is {chosen}; give one of them")
    if chosen.type == "cpu":  # accelerate takes cpu:0 for another place
        return CPU
    return torch.device(chosen.type, gpu_id if gpu_id is not None else chosen.index or 0)


def balanced(sizes: Mapping[str, int], memory: Mapping[Any, int]) -> dict[str, torch.device]:
    """Spread parts over devices: the largest part first, each to the device with the most memory left.

    Args:
        sizes: part → bytes.
        memory: accelerator (its number or name) → bytes that are free there.

    Raises:
        ArgumentError: if there is no accelerator.
    """
    left = dict(memory)
    if not left:
        raise ArgumentError("device_map: this machine has no accelerator to balance parts over; use 'cpu'")
    devices = {}
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        roomiest = max(left, key=lambda place: left[place])
        if left[roomiest] < size:
            devices[name] = CPU
        else:
            left[roomiest] -= size
            devices[name] = torch.device(get_device(), roomiest) if isinstance(roomiest, int) else torch.device(roomiest)
    return devices


def accelerators(max_memory: Mapping[Any, Any] | None = None) -> dict[Any, int]:
    """Free bytes of every accelerator, or those of ``max_memory``."""
    memory = get_max_memory(max_memory)
    return {place: size for place, size in memory.items() if place not in ("cpu", "disk")}

