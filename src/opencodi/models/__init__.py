"""The installed models: folders with a ``model_index.json``, found by name or by path. Imports no torch.

Models ship inside this package; a folder named by the environment variable ``OPENCODI_MODELS`` may hold more, one
folder per model. A model of that folder hides a packaged one of the same name.
"""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigurationError

INDEX = "model_index.json"
INDEX_ENDING = ".safetensors.index.json"


@dataclass(frozen=True)
class Component:
    """One part of a model folder: its class, its number of parameters and its bytes on disk."""

    name: str
    class_name: str
    parameters: int
    size: int


def installed() -> dict[str, Path]:
    """Name → folder of every installed model, in alphabetical order."""
    homes = [Path(__file__).parent]
    if os.environ.get("OPENCODI_MODELS"):
        homes.append(Path(os.environ["OPENCODI_MODELS"]))
    found = {index.parent.name: index.parent for home in homes for index in home.glob(f"*/{INDEX}")}
    return dict(sorted(found.items()))


def resolve(name_or_folder: str | Path) -> Path:
    """The folder of an installed model, or the given folder itself.

    Raises:
        ConfigurationError: if it is neither; the message names what is installed.
    """
    models = installed()
    if str(name_or_folder) in models:
        return models[str(name_or_folder)]
    folder = Path(name_or_folder)
    if (folder / INDEX).is_file():
        return folder
    if folder.is_dir():
        raise ConfigurationError(
            f"{folder} is not a model folder: it holds no {INDEX}; give one that does, or a name that `opencodi models` lists"
        )
    raise ConfigurationError(
        f"model {str(name_or_folder)!r} is neither installed nor a folder; installed: {', '.join(models) or 'none'}"
    )


def components(folder: Path) -> list[Component]:
    """What a model folder holds, read from its index and the headers of its safetensors files.

    Raises:
        ConfigurationError: if the index or a weight file cannot be read.
    """
    index = read_index(folder)
    parts = []
    for name, entry in index.items():
        # A setting may be a list of two, too, such as an interval
        if isinstance(entry, list) and len(entry) == 2 and all(isinstance(word, str) for word in entry):
            files = [path for path in (folder / name).rglob("*") if path.is_file()]
            weights = [path for path in files if path.suffix == ".safetensors"]
            size = sum(path.stat().st_size for path in files)
            parts.append(Component(name, entry[1], sum(map(_count_parameters, weights)), size))
    return parts


def read_index(folder: Path) -> dict:
    """The ``model_index.json`` of a model folder: component → ``[module, class]``, and plain configuration values.

    Raises:
        ConfigurationError: if it is missing or not JSON.
    """
    try:
        return json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{folder / INDEX} cannot be read: {error}; restore it") from error


def check_files(part: Path) -> None:
    """See that the folder of a part is there, and that its weights, if it is a network, are complete.

    Only headers and sizes are read, so that a damaged model is noticed before its parts are needed.

    Raises:
        ConfigurationError: if something is missing or cut; the message names it.
    """
    if not part.is_dir():
        raise ConfigurationError(f"model {part.parent} cannot be loaded: its part {part.name} is missing")
    config, weights = part / "config.json", {path.name for path in part.glob("*.safetensors")}
    try:
        network = config.is_file() and isinstance(json.loads(config.read_text(encoding="utf-8")), dict)
        indices = [json.loads(index.read_text(encoding="utf-8")) for index in part.glob(f"*{INDEX_ENDING}")]
        shards = {name for index in indices for name in index["weight_map"].values()}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ConfigurationError(f"model {part.parent} cannot be loaded: {part} is damaged: {error}") from error
    missing = sorted(shards - weights) or (["*.safetensors"] if network and not weights else [])
    if missing:
        raise ConfigurationError(f"model {part.parent} cannot be loaded: {part / missing[0]} is missing; restore it")
    for name in weights:
        header, start = _read_header(part / name)
        end = start + max((entry["data_offsets"][1] for entry in header.values()), default=0)
        if (part / name).stat().st_size != end:
            raise ConfigurationError(f"model {part.parent} cannot be loaded: {part / name} is incomplete; restore it")


def _count_parameters(weights: Path) -> int:
    """Number of values in a safetensors file."""
    return sum(math.prod(entry["shape"]) for entry in _read_header(weights)[0].values())


def _read_header(weights: Path) -> tuple[dict[str, dict], int]:
    """What a safetensors file says of its tensors, and where their data begin: 8 bytes of length, JSON, data."""
    try:
        with weights.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
    except (OSError, ValueError, MemoryError, OverflowError) as error:
        raise ConfigurationError(f"{weights} is not a readable safetensors file; restore it") from error
    return {name: entry for name, entry in header.items() if name != "__metadata__"}, 8 + length
