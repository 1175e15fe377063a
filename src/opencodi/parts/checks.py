"""What is refused when a model folder is opened: unknown options, settings and precisions."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch

from ..errors import ArgumentError, ConfigurationError

_LOCAL = ("local_files_only", "use_safetensors", "low_cpu_mem_usage")
"""Options of diffusers that say what we do anyway."""


def check_options(options: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise ArgumentError for an option of ``from_pretrained`` that is not in ``known``, and for ``use_safetensors=False``."""
    for name, value in options.items():
        if name in _LOCAL:
            if value is False and name == "use_safetensors":
                raise ArgumentError("use_safetensors: only safetensors are read; leave it out")
            continue
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "load parts yourself with such options and pass them by name"
        raise ArgumentError(f"unknown argument {name!r}; {hint}")


def check_settings(file: Path, found: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise ConfigurationError for a setting in ``file`` that is not in ``known``; the message names the nearest."""
    for name in found:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "remove it"
            raise ConfigurationError(f"{file}: unknown setting {name!r}; {hint}")


def check_dtypes(dtype: Any, names: Sequence[str]) -> None:
    """Raise ArgumentError unless ``dtype`` is a ``torch.dtype``, or a dictionary of them by names of parts and ``default``."""
    for name, value in dtype.items() if isinstance(dtype, dict) else [("default", dtype)]:
        if name not in (*names, "default"):
            raise ArgumentError(
                f"torch_dtype: this model has no part {name!r}; choose from {', '.join(names)} or 'default'"
            )
        if not isinstance(value, torch.dtype):
            raise ArgumentError(
                f"torch_dtype: {value!r} is no precision; use torch.float32, torch.float16 or torch.bfloat16"
            )
