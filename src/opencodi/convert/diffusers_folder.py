"""What a folder saved by diffusers holds: config values with their defaults, tensors, a scheduler; errors name the file."""

import inspect
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import diffusers
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import ConfigurationError

WEIGHTS = "diffusion_pytorch_model.safetensors"


def read_config(folder: Path, kind: type) -> dict[str, Any]:
    """The values of ``folder/config.json``, completed with the defaults of the diffusers class ``kind``.

    Raises:
        ConfigurationError: if it is missing, not JSON, or of another class.
    """
    values = _read_json(folder / "config.json")
    if values.get("_class_name") != kind.__name__:
        raise unfit(folder, "_class_name", values.get("_class_name"), repr(kind.__name__))
    return defaults(kind) | {name: value for name, value in values.items() if not name.startswith("_")}


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of ``folder``, memory-mapped, in the precision they are stored in; sharded or in one file.

    Raises:
        ConfigurationError: if there is no safetensors file, or one is missing or damaged.
    """
    index = folder / f"{WEIGHTS}.index.json"
    if index.is_file():
        files = sorted({str(name) for name in _read_json(index).get("weight_map", {}).values()})
    elif (folder / WEIGHTS).is_file():
        files = [WEIGHTS]
    else:
        files = sorted(path.name for path in folder.glob("diffusion_pytorch_model.*.safetensors"))[:1]  # such as fp16
    if not files:
        raise ConfigurationError(f"{folder}: holds no {WEIGHTS}; save the model with diffusers as safetensors")
    state: dict[str, Tensor] = {}
    for name in files:
        try:
            state |= load_file(folder / name)
        except (OSError, SafetensorError) as error:
            raise ConfigurationError(f"{folder / name}: cannot be read ({error}); fetch it again") from error
    return state


def read_scheduler(folder: Path) -> Any:
    """The scheduler of ``folder`` as it is.

    Raises:
        ConfigurationError: if diffusers has no such scheduler.
    """
    path = folder / "scheduler_config.json"
    name = _read_json(path).get("_class_name")
    kind = getattr(diffusers, str(name), None)
    if not (isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin)):
        raise ConfigurationError(f"{path}: _class_name is {name!r}; give a scheduler of the installed diffusers")
    return kind.from_pretrained(folder, local_files_only=True)


def defaults(kind: type) -> dict[str, Any]:
    """The config values that the diffusers class ``kind`` takes when none are given."""
    parameters = inspect.signature(kind.__init__).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.name != "self"}


def whole_number(config: Mapping[str, Any], name: str, source: str | Path) -> int:
    """The positive whole number ``name``; a list that repeats one number is that number.

    Raises:
        ConfigurationError: if it is anything else.
    """
    value = config[name]
    values = set(value) if isinstance(value, list | tuple) else {value}
    if len(values) != 1 or not _positive(single := values.pop()):
        raise unfit(source, name, value, "one positive whole number")
    return single


def one_per_level(config: Mapping[str, Any], name: str, levels: int, source: str | Path) -> tuple[int, ...]:
    """Positive whole numbers, one for each level; a single number counts for all.

    Raises:
        ConfigurationError: if it is anything else.
    """
    value = config[name]
    values = tuple(value) if isinstance(value, list | tuple) else (value,) * levels
    if len(values) != levels or not all(map(_positive, values)):
        raise unfit(source, name, value, f"a positive whole number for each of {levels} levels")
    return values


def _positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def refuse_unusual(
    config: Mapping[str, Any], kind: type, read: Collection[str], source: str | Path, reasons: Mapping[str, str]
) -> None:
    """Refuse every value, beyond those of ``read``, that is not the default of ``kind``; off, None and 0 are the same.

    Raises:
        ConfigurationError: naming one of them, if possible one that ``reasons`` explains.
    """
    usual = defaults(kind)
    config = {name: value for name, value in config.items() if not name.startswith("_")}
    unusual = [
        name for name, value in config.items() if name not in read and (value or None) != (usual.get(name) or None)
    ]
    for name in sorted(unusual, key=lambda name: name not in reasons):
        raise unfit(source, name, config[name], repr(usual.get(name)), reasons.get(name))


def fill(net: nn.Module, state: Mapping[str, Tensor], names: Mapping[str, str], source: str | Path) -> nn.Module:
    """``net`` with ``state[names[ours]]`` as its tensor ``ours``, without a copy; every tensor has exactly one place.

    Their 1x1 convolutions around attention may be linear layers here.

    Raises:
        ConfigurationError: if a tensor is missing, unknown or of another shape.
    """
    for theirs in sorted(set(state) ^ set(names.values())):
        what = "is missing" if theirs not in state else "is not a weight of this layout"
        raise ConfigurationError(f"{source}: {theirs} {what}; check that the weights belong to config.json")
    shapes = {name: tensor.shape for name, tensor in net.state_dict().items()}
    filled = {}
    for ours, theirs in names.items():
        found, asked = state[theirs].shape, shapes[ours]
        if found not in (asked, (*asked, 1, 1)):
            wrong = f"{theirs} has the shape {[*found]} where config.json asks for {[*asked]}"
            raise ConfigurationError(f"{source}: {wrong}; check that the weights belong to config.json")
        filled[ours] = state[theirs].reshape(asked)
    net.load_state_dict(filled, assign=True)
    return net.eval()


def unfit(source: str | Path, name: str, found: Any, supported: Any, reason: str | None = None) -> ConfigurationError:
    """The error for the value ``found`` of ``name``; ``source`` is a component's folder, or a word for it."""
    where = source / "config.json" if isinstance(source, Path) else source
    return ConfigurationError(
        f"{where}: {name} is {found!r}, supported is {supported}" + (f": {reason}" if reason else "")
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: cannot be read ({error}); give a folder saved by diffusers") from error
    if not isinstance(values, dict):
        raise ConfigurationError(f"{path}: holds no JSON object; give a folder saved by diffusers")
    return values
