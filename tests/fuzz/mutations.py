"""Mutated, truncated and spliced files. Case i of a seed is always the same bytes."""

from collections.abc import Callable, Sequence

import numpy as np

_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
LARGEST = 200_000
"""Bytes of a case, at the most."""


def mutated(seeds: Sequence[bytes], seed: int, case: int) -> bytes:
    """One of ``seeds``, changed in one to four ways.

    Args:
        seeds: whole files.
        seed: of the run.
        case: number of the case.
    """
    rng = np.random.default_rng((seed, case))
    content = bytearray(seeds[rng.integers(len(seeds))])
    for _ in range(rng.integers(1, 5)):
        change = _CHANGES[rng.integers(len(_CHANGES))]
        content = change(content, rng, seeds) if content else content
    return bytes(content[:LARGEST])


def _place(content: bytearray, rng: np.random.Generator) -> int:
    """Anywhere; half of the time among the first 128 bytes, where headers are."""
    end = len(content)
    return int(rng.integers(min(end, 128) if rng.random() < 0.5 else end))


def _flip(content: bytearray, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytearray:
    for _ in range(2 ** int(rng.integers(0, 7))):
        content[_place(content, rng)] ^= 1 << int(rng.integers(8))
    return content


def _overwrite(content: bytearray, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytearray:
    place, length = _place(content, rng), int(rng.integers(1, 64))
    content[place : place + length] = rng.bytes(len(content[place : place + length]))
    return content


def _number(content: bytearray, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytearray:
    """A length or a count that is far too large, too small or negative, in either order of bytes."""
    width, value = int(rng.choice((1, 2, 4))), int(rng.choice(_EXTREMES))
    place = _place(content, rng)
    number = (value & (1 << 8 * width) - 1).to_bytes(width, ("little", "big")[rng.integers(2)])
    content[place : place + width] = number
    return content


def _truncate(content: bytearray, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytearray:
    return content[: int(rng.integers(1, len(content) + 1))]


def _remove(content: bytearray, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytearray:
    place = _place(content, rng)
    del content[place : place + int(rng.integers(1, 256))]
    return content


def _repeat(content: bytearray, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytearray:
    place, length = _place(content, rng), int(rng.integers(1, 256))
    content[place:place] = content[place : place + length] * int(rng.integers(1, 20))
    return content


def _blank(content: bytearray, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytearray:
    place = _place(content, rng)
    length = len(content[place : place + int(rng.integers(1, 1_024))])
    content[place : place + length] = bytes(length)
    return content


def _splice(content: bytearray, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytearray:
    """The start of one file and the end of another, which may be of another format."""
    other = seeds[rng.integers(len(seeds))]
    return content[: int(rng.integers(1, len(content) + 1))] + other[int(rng.integers(len(other))) :]


_CHANGES: tuple[Callable[..., bytearray], ...] = (
    *(_flip, _flip, _overwrite, _number, _number, _truncate),
    *(_remove, _repeat, _blank, _splice),
)
