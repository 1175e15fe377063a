"""When a run must stop so that its checkpoint, last validation and export still end in time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

MARGIN = 1.2
"""How much longer than ever before the end may take."""

Part = Literal["step", "checkpoint", "closing"]


class Deadline:
    """A limit on the wall-clock time of all of a run.

    Args:
        minutes: from ``started`` to the end of the export; None: no limit.
        started: as ``time.monotonic()`` gives it.
    """

    def __init__(self, minutes: float | None, started: float):
        self.limited = minutes is not None
        self.end = started + 60 * (minutes or 0.0)
        self.longest: dict[str, float] = {"step": 0.0, "checkpoint": 1.0, "closing": 0.0}

    @contextmanager
    def measuring(self, part: Part) -> Iterator[None]:
        """Note how long this part of a run takes. (A checkpoint and an export take about the same.)"""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.longest[part] = max(self.longest[part], time.monotonic() - begun)

    def passed(self) -> bool:
        """Whether there is no time for a step more."""
        reserved = self.longest["step"] + 2 * self.longest["checkpoint"] + MARGIN * self.longest["closing"]
        return self.limited and time.monotonic() + reserved > self.end
