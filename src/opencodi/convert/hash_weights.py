"""Reproducible weights from parameter names: lets parity be tested at any size without storing weights.

The value of an entry depends on the reference's state-dict key and the entry's flat index only.
"""

import zlib
from collections.abc import Mapping

import numpy as np
import torch


def hash_weight(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The weight named ``key`` in the reference's state dict, float32, of the given shape."""
    with np.errstate(over="ignore"):  # 64-bit wrap-around is part of the hash (splitmix64)
        x = np.uint64(zlib.crc32(key.encode()) << 32) | np.arange(int(np.prod(shape)), dtype=np.uint64)
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    r = (x >> np.uint64(11)).astype(np.float64) * 2.0**-53 * 2 - 1
    if key.endswith("_embeds"):
        value = 0.5 * r
    elif key.endswith(".g") or (len(shape) == 1 and key.endswith(".weight")):
        value = 1 + 0.1 * r
    elif len(shape) >= 2:
        value = r * np.sqrt(3 / np.prod(shape[1:]))
    else:
        value = 0.05 * r
    return torch.from_numpy(value.astype(np.float32).reshape(shape))


def hash_state_dict(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """``hash_weight`` of every key."""
    return {key: hash_weight(key, tuple(shape)) for key, shape in shapes.items()}
