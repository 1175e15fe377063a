"""Training and validation: which items a run learns from and which it only measures itself on."""

import hashlib
from typing import Any

import numpy as np

from .shards import Items

VALIDATION_SHARE = 0.02


def style_family(style: str) -> str:
    """Styles whose name starts with ``fluent`` are nearly the same drawing and count as one family."""
    return "fluent" if style.startswith("fluent") else style


def is_validation(record: dict[str, Any]) -> bool:
    """Whether an item is kept for validation. Items that look or sound nearly alike fall on the same side.

    Drawings of one concept in one style family (all its tones), one voice saying one name and one source's sound of one
    concept are each decided together, by a hash of what they share, so the split needs no file and never shifts.
    """
    if "style" in record:
        group = f"{record['concept']}/{style_family(record['style'])}"
    elif "voice" in record:
        group = f"{record['concept']}/{record['voice']}"
    else:
        group = f"{record.get('concept')}/{record.get('source')}/{record.get('detail')}"
    digest = hashlib.sha256(group.encode()).digest()
    return int.from_bytes(digest[:4], "big") < VALIDATION_SHARE * 2**32


def split(items: Items) -> tuple[Items, Items]:
    """(training, validation) items."""
    held = np.array([is_validation(record) for record in items.records], dtype=bool)
    return items.subset(np.flatnonzero(~held)), items.subset(np.flatnonzero(held))
