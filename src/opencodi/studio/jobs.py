"""Visitors take turns: one works, the others see how many are before them."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


class Stopped(Exception):
    """Raised between two steps when the visitor has cancelled."""


@dataclass(eq=False)
class Job:
    """One press of Generate."""

    cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """Ask it to stop; it does between two steps."""
        self.cancelled.set()

    def check(self) -> None:
        """Raise ``Stopped`` if it was cancelled."""
        if self.cancelled.is_set():
            raise Stopped


class Line:
    """First come, first served. Who is first works; all others wait."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []
        self._changed = threading.Condition()

    def join(self, job: Job) -> None:
        """Stand at the end."""
        with self._changed:
            self._jobs.append(job)

    def leave(self, job: Job) -> None:
        """Make room for the next; does nothing if it has left already."""
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
            self._changed.notify_all()

    def waiting(self, job: Job, every: float = 0.25) -> Iterator[int]:
        """Until it is the job's turn: how many are before it, at once and then after every so many seconds.

        A job that is cancelled meanwhile leaves.

        Raises:
            Stopped: if it was cancelled.
        """
        while True:
            with self._changed:
                before = self._jobs.index(job)
            if job.cancelled.is_set():
                self.leave(job)
                raise Stopped
            if not before:
                return
            yield before
            with self._changed:
                self._changed.wait_for(lambda: self._jobs.index(job) == 0 or job.cancelled.is_set(), timeout=every)
