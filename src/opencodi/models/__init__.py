"""The installed models: folders with a ``model_index.json``, found by name or by path. Imports no torch.

Models ship inside this package; a folder named by the environment variable ``OPENCODI_MODELS`` may hold more, one
folder per model. A model of that folder hides a packaged one of the same name.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigurationError

INDEX = "model_index.json"
_WEIGHTS = re.compile(r"^(?P<stem>[a-z_]+)(\.(?P<variant>[A-Za-z0-9_-]+?))?(-\d{5}-of-\d{5})?\.safetensors$")
_SHARDS = re.compile(r"^(?P<stem>[a-z_]+)\.safetensors\.index(\.(?P<variant>[A-Za-z0-9_-]+))?\.json$")


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
    from .schema import read_header, read_model_index

    found = []
    for name, reference in read_model_index(folder / INDEX).parts.items():
        if reference is not None:
            files = [path for path in (folder / name).rglob("*") if path.is_file()]
            headers = [read_header(path)[0] for path in files if path.suffix == ".safetensors"]
            parameters = sum(tensor.count for header in headers for tensor in header.values())
            found.append(Component(name, reference[1], parameters, sum(path.stat().st_size for path in files)))
    return found


def check_files(part: Path, variant: str | None = None) -> str | None:
    """See that the folder of a part is there, and that its weights, if it is a network, are complete.

    Only headers and sizes are read, so that a damaged model is noticed before its parts are needed.

    Args:
        part: the folder.
        variant: of the weights, such as ``"fp16"`` for ``diffusion_pytorch_model.fp16.safetensors``.

    Returns:
        The variant if this part has it, else None: the weights without one are to be read.

    Raises:
        ConfigurationError: if something is missing or cut; the message names it.
    """
    from .schema import read_config, read_header, read_shards

    if not part.is_dir():
        raise ConfigurationError(f"model {part.parent} cannot be loaded: its part {part.name} is missing")
    names = [path.name for path in part.iterdir()]
    weights = {name: match["variant"] for name in names if (match := _WEIGHTS.match(name))}
    indices = {name: match["variant"] for name in names if (match := _SHARDS.match(name))}
    variants = {*weights.values(), *indices.values()}
    if not variants and not (part / "config.json").exists():
        return None  # a scheduler or a tokenizer
    read_config(part / "config.json")
    used = variant if variant in variants else None
    if used not in variants:
        others = ", ".join(repr(each) for each in sorted(variants))
        hint = f"it has only the variant {others}: give it as variant" if others else "restore it"
        raise ConfigurationError(f"model {part.parent} cannot be loaded: {part / '*.safetensors'} is missing; {hint}")
    files = {name for name, kind in weights.items() if kind == used}
    files |= {shard for name, kind in indices.items() if kind == used for shard in read_shards(part / name)}
    for name in sorted(files):
        if name not in weights:
            raise ConfigurationError(f"model {part.parent} cannot be loaded: {part / name} is missing; restore it")
        header, start = read_header(part / name)
        end = start + max((tensor.data_offsets[1] for tensor in header.values()), default=0)
        if (part / name).stat().st_size != end:
            raise ConfigurationError(f"model {part.parent} cannot be loaded: {part / name} is incomplete; restore it")
    return used
