"""Reproducible weights from parameter names: lets parity be tested at any size without storing weights.

The value of an entry depends on the reference's state-dict key and the entry's flat index only.
"""

import math
import zlib
from collections.abc import Mapping

import numpy as np
import torch

_CHUNK = 1 << 20
"""Entries computed at once, so that a large tensor needs little memory beside itself."""


def hash_weight(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The weight named ``key`` in the reference's state dict, float32, of the given shape."""
    values = np.empty(math.prod(shape), np.float32)
    for start in range(0, len(values), _CHUNK):
        part = values[start : start + _CHUNK]
        part[:] = _spread(_uniform(key, start, len(part)), key, shape)
    return torch.from_numpy(values.reshape(shape))


def _uniform(key: str, start: int, count: int) -> np.ndarray:
    """Entries ``start`` to ``start + count`` of the hash of ``key``, float64 in [-1, 1)."""
    with np.errstate(over="ignore"):  # 64-bit wrap-around is part of the hash (splitmix64)
        x = np.uint64(zlib.crc32(key.encode()) << 32) | np.arange(start, start + count, dtype=np.uint64)
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-53 * 2 - 1


def _spread(r: np.ndarray, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Give hashed entries the mean and size that a weight of this name and shape has."""
    if key.endswith("_embeds"):
        return 0.5 * r
    if key.endswith(".g") or (len(shape) == 1 and key.endswith(".weight")):
        return 1 + 0.1 * r
    if len(shape) >= 2:
        return r * np.sqrt(3 / np.prod(shape[1:]))
    return 0.05 * r


def hash_state_dict(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """``hash_weight`` of every key."""
    return {key: hash_weight(key, tuple(shape)) for key, shape in shapes.items()}
