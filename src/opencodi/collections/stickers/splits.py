"""Training and validation: which items a run learns from and which it only measures itself on."""

import hashlib
from typing import Any

import numpy as np

from ...data.shards import Items

VALIDATION_SHARE = 0.02


def style_family(style: str) -> str:
    """Styles whose name starts with ``fluent`` are nearly the same drawing and count as one family."""
    return "fluent" if style.startswith("fluent") else style


def position(record: dict[str, Any]) -> float:
    """Where a record falls in [0, 1): a hash of its group. Items that look or sound nearly alike share a group.

    Drawings of one concept in one style family (all its tones), one voice saying one name and one source's sound of one
    concept are each a group, so the split needs no file and never shifts.
    """
    if "style" in record:
        group = f"{record['concept']}/{style_family(record['style'])}"
    elif "voice" in record:
        group = f"{record['concept']}/{record['voice']}"
    else:
        group = f"{record.get('concept')}/{record.get('source')}/{record.get('detail')}"
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:4], "big") / 2**32


def split(items: Items) -> tuple[Items, Items]:
    """(training, validation) items. Groups below ``VALIDATION_SHARE`` validate; in a small set, at least the lowest one.

    A recording that stands for several concepts (a siren: police car, ambulance) validates only if it does so for all of them:
    else a network would have heard it under another name, and could not say which of them is meant.
    """
    positions = np.array([position(record) for record in items.records])
    recordings = [recording_of(record) for record in items.records]
    highest: dict[tuple[str, str], float] = {}
    for recording, place in zip(recordings, positions):
        if recording:
            highest[recording] = max(place, highest.get(recording, 0.0))
    positions = np.array([highest.get(recording, place) for recording, place in zip(recordings, positions)])
    limit = VALIDATION_SHARE if (positions < VALIDATION_SHARE).any() else np.nextafter(positions.min(), 1)
    return items.subset(np.flatnonzero(positions >= limit)), items.subset(np.flatnonzero(positions < limit))


def recording_of(record: dict[str, Any]) -> tuple[str, str] | None:
    """Which recording a sound was cut from; None of what is no sound."""
    if "detail" not in record or "voice" in record or "style" in record:
        return None
    return record["source"], record["detail"]
