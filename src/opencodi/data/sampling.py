"""Which items a batch is made of."""

from collections.abc import Sequence

import numpy as np


def draw_balanced(rng: np.random.Generator, flags: np.ndarray, share: float, count: int) -> np.ndarray:
    """``count`` indices, each from the flagged items with probability ``share``, else from the others."""
    flagged, others = np.flatnonzero(flags), np.flatnonzero(~flags)
    if not len(flagged) or not len(others):
        return rng.integers(0, len(flags), count)
    pick = rng.random(count) < share
    return np.where(pick, flagged[rng.integers(0, len(flagged), count)], others[rng.integers(0, len(others), count)])


def draw_by_source(
    rng: np.random.Generator, members: Sequence[np.ndarray], shares: Sequence[float], count: int
) -> np.ndarray:
    """``count`` indices, each from a source drawn by its share; a source without members counts as if it were not there.

    members: the indices of each source's items.
    """
    present = [(positions, share) for positions, share in zip(members, shares, strict=True) if len(positions)]
    chances = np.array([share for _, share in present])
    source = rng.choice(len(present), count, p=chances / chances.sum())
    spot = rng.random(count)
    return np.array([present[s][0][int(u * len(present[s][0]))] for s, u in zip(source, spot)])
