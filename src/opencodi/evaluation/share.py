"""Shares with what they are shares of, so that no number stands alone."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any


def share(hits: Iterable[Any]) -> dict[str, float | int | None]:
    """``{"share": of true ones (None of nothing), "n": how many were counted}``."""
    counted = [bool(hit) for hit in hits]
    return {"share": sum(counted) / len(counted) if counted else None, "n": len(counted)}


def share_by_group(hits: Iterable[Any], groups: Sequence[Hashable]) -> dict[str, float | int | None]:
    """The mean of the shares of true ones within each group, so that each counts the same however many it has.

    Args:
        hits: what is counted.
        groups: of each of them, such as its concept.

    Returns:
        ``{"share", "n": how many were counted, "groups": how many there are}``.
    """
    by_group: dict[Hashable, list[bool]] = {}
    for hit, group in zip(hits, groups, strict=True):
        by_group.setdefault(group, []).append(bool(hit))
    shares = [sum(counted) / len(counted) for counted in by_group.values()]
    return {"share": sum(shares) / len(shares) if shares else None, "n": len(groups), "groups": len(shares)}


def mean(values: Iterable[float]) -> dict[str, float | int | None]:
    """``{"mean": of the values (None of nothing), "n": how many there are}``."""
    listed = [float(value) for value in values]
    return {"mean": sum(listed) / len(listed) if listed else None, "n": len(listed)}


def ratio(value: float | None, ceiling: float | None) -> float | None:
    """``value / ceiling``, None where either is missing or there is nothing to reach."""
    return None if value is None or not ceiling else value / ceiling
