"""Strict renaming of published tensors: every key has one place here, or a reason for having none."""

import re
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn

from ..errors import ConfigurationError

Rules = Sequence[tuple[str, str]]
"""(regular expression on one of our names, replacement), applied in order: ours → published."""


def published_keys(names: Iterable[str], rules: Rules) -> dict[str, list[str]]:
    """Published key → our names, of which several share a key where the publication keeps their tensors as one."""
    keys: dict[str, list[str]] = {}
    for name in names:
        key = name
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        keys.setdefault(key, []).append(name)
    return keys


def fit(
    state: Mapping[str, Tensor],
    net: nn.Module,
    keys: Mapping[str, Sequence[str]],
    dropped: Mapping[str, str] | None = None,
) -> dict[str, Tensor]:
    """The tensors of ``state`` under our names.

    A tensor with several names is split into equal parts along its first axis; axes of length 1 may come and go (a 1x1
    convolution there is a linear layer here). Nothing is copied.

    Args:
        state: published tensors by key.
        net: our network; only its names and shapes are used (``meta`` will do).
        keys: published key → our names.
        dropped: regular expression on published keys → why they have no place here; they may be absent, too.

    Raises:
        ConfigurationError: if a key is missing, unknown, or has another shape than the config says.
    """
    known = {key for key in state if why_dropped(key, dropped or {}) is None}
    for key in sorted(known ^ set(keys)):
        what = "is missing" if key in keys else "is not a parameter of this network"
        raise ConfigurationError(f"{key}: {what}; check that the file and the config belong together")
    shapes = {name: tensor.shape for name, tensor in net.state_dict().items()}
    fitted = {}
    for key, names in keys.items():
        for name, tensor in zip(names, state[key].chunk(len(names)) if len(names) > 1 else [state[key]]):
            if [n for n in tensor.shape if n != 1] != [n for n in shapes[name] if n != 1]:
                raise ConfigurationError(f"{key}: shape {[*tensor.shape]} does not fit {name} {[*shapes[name]]}")
            fitted[name] = tensor.reshape(shapes[name])
    return fitted


def why_dropped(key: str, dropped: Mapping[str, str]) -> str | None:
    """The reason why a published key has no place here; None if it has one, or is unknown."""
    return next((reason for pattern, reason in dropped.items() if re.fullmatch(pattern, key)), None)
