"""Which items the batches of a run hold: each item once per epoch, whatever the number of workers, processes and restarts.

The order follows from the seed and the number of the epoch, so nothing needs to be stored. Blocks of neighbouring items are
shuffled, and then the items of several blocks together: a shuffle buffer that reads a disk nearly in order.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

BLOCK, BLOCKS = 1024, 64
"""Neighbouring items in a block, and blocks that are shuffled together."""


class BatchRandom(np.random.Generator):
    """The source of all random choices of one batch, which also knows which batch of the run it is.

    Args:
        number: of the batch, from 0.
        seed: whole numbers that it is seeded with; the first is that of the run.
    """

    def __init__(self, number: int, seed: tuple[int, ...]):
        super().__init__(np.random.PCG64(np.random.SeedSequence(seed)))
        self.number, self.seed = number, seed[0]


def draw_items(rng: np.random.Generator, items: int, count: int) -> np.ndarray:
    """``count`` positions among ``items``: the next ones of the epoch for a batch of a run, else any.

    Args:
        rng: a ``BatchRandom``, or a plain generator outside a run's own batches.
        items: how many there are.
        count: size of every batch of the run.
    """
    if not isinstance(rng, BatchRandom):
        return rng.integers(0, items, count)
    places = np.arange(rng.number * count, (rng.number + 1) * count)
    return epoch_order(items, rng.seed, places)


def epoch_order(items: int, seed: int, places: np.ndarray, block: int = BLOCK, blocks: int = BLOCKS) -> np.ndarray:
    """Positions of the items that come at ``places`` in an endless sequence of epochs."""
    found = np.empty(len(places), np.int64)
    window = block * blocks
    epochs, offsets = np.divmod(places, items)
    for epoch, start in sorted({(int(e), int(o) // window) for e, o in zip(epochs, offsets)}):
        chosen = (epochs == epoch) & (offsets // window == start)
        found[chosen] = _window(items, seed, epoch, start, block, blocks)[offsets[chosen] - start * window]
    return found


@lru_cache(maxsize=4)
def _window(items: int, seed: int, epoch: int, number: int, block: int, blocks: int) -> np.ndarray:
    """The items of one shuffle buffer of an epoch, in their order."""
    whole, rest = divmod(items, block)
    # The last block may be short; it stays last, so that every other window is full.
    order = np.random.default_rng((seed, epoch)).permutation(whole)[number * blocks : (number + 1) * blocks]
    parts = list(_ranges(order, block))
    if rest and number == whole // blocks:
        parts.append(np.arange(whole * block, items))
    return np.random.default_rng((seed, epoch, number + 1)).permutation(np.concatenate(parts))


def _ranges(order: np.ndarray, block: int) -> Iterator[np.ndarray]:
    for each in order:
        yield np.arange(each * block, (each + 1) * block)
