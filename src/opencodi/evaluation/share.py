"""Shares with what they are shares of, so that no number stands alone."""

from collections.abc import Iterable
from typing import Any


def share(hits: Iterable[Any]) -> dict[str, float | int | None]:
    """``{"share": of true ones (None of nothing), "n": how many were counted}``."""
    counted = [bool(hit) for hit in hits]
    return {"share": sum(counted) / len(counted) if counted else None, "n": len(counted)}


def mean(values: Iterable[float]) -> dict[str, float | int | None]:
    """``{"mean": of the values (None of nothing), "n": how many there are}``."""
    listed = [float(value) for value in values]
    return {"mean": sum(listed) / len(listed) if listed else None, "n": len(listed)}


def ratio(value: float | None, ceiling: float | None) -> float | None:
    """``value / ceiling``, None where either is missing or there is nothing to reach."""
    return None if value is None or not ceiling else value / ceiling
