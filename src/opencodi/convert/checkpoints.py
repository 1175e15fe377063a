"""Checkpoint files as they are published: their keys, and the tensors of one part at a time."""

import pickle
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import ConfigurationError

SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")


def find_checkpoints(place: Path) -> list[Path]:
    """The checkpoint files of a folder, or the one file that ``place`` is, in alphabetical order.

    Raises:
        ConfigurationError: if there is none.
    """
    listed = sorted(place.iterdir()) if place.is_dir() else [place]
    files = [path for path in listed if path.is_file() and path.suffix in SUFFIXES]
    if not files:
        raise ConfigurationError(
            f"{place}: holds no checkpoint file ({', '.join(SUFFIXES)}); give the folder they are in"
        )
    return files


def read_keys(path: Path) -> list[str]:
    """The keys of one file; no tensor is read.

    Raises:
        ConfigurationError: if it is damaged or holds something else than named tensors.
    """
    return list(_open(path, None))


def read_tensors(files: Sequence[Path], prefix: str) -> dict[str, Tensor]:
    """The tensors of all files whose keys begin with ``prefix``, by the rest of their key.

    They are mapped from the files: memory is taken when they are used, and given back with them.

    Raises:
        ConfigurationError: as ``read_keys``.
    """
    return {key.removeprefix(prefix): tensor for path in files for key, tensor in _open(path, prefix).items()}


def _open(path: Path, prefix: str | None) -> dict[str, Tensor | None]:
    """Key → tensor of those that begin with ``prefix``; key → anything, for all keys, if it is None."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                names = file.keys()
                keys = [key for key in names if key.startswith(prefix or "")]
                return {key: None if prefix is None else file.get_tensor(key) for key in keys}
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigurationError(f"{path}: cannot be read as a checkpoint ({reason}); fetch it again") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ConfigurationError(f"{path}: holds something else than tensors by name; give the published files")
    return {key: tensor for key, tensor in state.items() if key.startswith(prefix or "")}
