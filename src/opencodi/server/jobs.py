"""Jobs: what is asked, who waits, and what became of it. Everything here happens on the event loop."""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from .batching import Work
from .metrics import Metrics
from .problems import Problem
from .settings import Settings
from .storage import StoredFile


class State(StrEnum):
    """Where a job is, in OpenAI's words; ``cancelled`` is ours."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = (State.COMPLETED, State.FAILED, State.CANCELLED)


@dataclass(eq=False)
class Job:
    """One request on its way to results. ``wanted`` turns False when nobody wants them any more."""

    owner: str
    work: Work
    kind: str = "generation"
    details: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    state: State = State.QUEUED
    created: float = field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None
    steps: int = 0
    total_steps: int = 1
    batch: int = 0
    wanted: bool = True
    collected: bool = False
    files: list[StoredFile] = field(default_factory=list)
    problem: Problem | None = None
    version: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def short(self) -> str:
        """Its name in logs, which must not be enough to fetch results."""
        return self.id[:8]

    @property
    def progress(self) -> int:
        """Percent; 100 only when the results are there."""
        if self.state == State.COMPLETED:
            return 100
        return min(99, 100 * self.steps // max(1, self.total_steps))

    @property
    def waited(self) -> float:
        """Seconds in the queue."""
        return (self.started or self.ended or time.time()) - self.created

    def change(self, **values: Any) -> None:
        """Set attributes and wake those who follow this job."""
        for name, value in values.items():
            setattr(self, name, value)
        self.version += 1
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def news(self, timeout: float) -> bool:
        """Wait for the next change; False if ``timeout`` seconds pass without one."""
        try:
            await asyncio.wait_for(self._news.wait(), timeout)
            return True
        except TimeoutError:
            return False


class Place:
    """A place in the queue, held while a request is read, before its job waits there."""

    def __init__(self, jobs: "Jobs") -> None:
        self._jobs, self._held = jobs, True
        jobs.reserved += 1

    def release(self) -> None:
        """Give it up; again does nothing."""
        if self._held:
            self._held = False
            self._jobs.reserved -= 1


class Jobs:
    """All jobs of a server: those that wait, in order, and those that are kept until they expire."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._kept: dict[str, Job] = {}
        self._waiting: deque[Job] = deque()
        self._arrived = asyncio.Event()
        self._seconds_each = 1.0
        self.reserved = 0
        self.running: list[Job] = []
        self.draining = False
        metrics.watch(self)

    @property
    def waiting(self) -> tuple[Job, ...]:
        """Those that wait, the next first."""
        return tuple(self._waiting)

    @property
    def unfinished(self) -> list[Job]:
        """Those that wait or run."""
        return [job for job in self._kept.values() if job.state not in ENDED]

    @property
    def uncollected(self) -> list[Job]:
        """Those whose results nobody has fetched yet."""
        return [job for job in self._kept.values() if job.state == State.COMPLETED and not job.collected]

    def reserve(self) -> Place:
        """A place for a job to come.

        Raises:
            Problem: 429 if the queue is full, 503 if the server is stopping.
        """
        if self.draining:
            raise Problem(503, "stopping", "The server is stopping; try again soon.", retry_after=10)
        if len(self._waiting) + self.reserved >= self._settings.max_queue:
            self._metrics.refused.inc()
            message = f"{self._settings.max_queue} jobs wait already; try again later."
            raise Problem(429, "queue_full", message, retry_after=self.expected_wait())
        return Place(self)

    def expected_wait(self) -> float:
        """Seconds until about half of the queue is done."""
        return min(60.0, 1 + self._seconds_each * len(self._waiting) / 2)

    def add(self, job: Job, place: Place) -> None:
        """Let a job wait in the place that was held for it.

        Raises:
            Problem: 429 if what waits would take too much memory.
        """
        if sum(other.work.size for other in self._waiting) + job.work.size > self._settings.max_waiting_bytes:
            self._metrics.refused.inc()
            raise Problem(
                429, "queue_full", "Too many large uploads wait; try again later.", retry_after=self.expected_wait()
            )
        place.release()
        self._kept[job.id] = job
        self._waiting.append(job)
        self._arrived.set()

    async def next_batch(self, most: int | None = None) -> list[Job]:
        """The job that has waited longest and those that can be made in the same run; waits for one.

        Args:
            most: results that the batch may have; as the settings say if None.
        """
        most = self._settings.max_batch if most is None else most
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        first = self._waiting.popleft()
        batch, size = [first], first.work.number
        for job in list(self._waiting):
            if size + job.work.number <= most and job.work.key == first.work.key:
                self._waiting.remove(job)
                batch.append(job)
                size += job.work.number
        return batch

    def learn(self, seconds: float, count: int) -> None:
        """Note that ``count`` jobs took so long together: what ``Retry-After`` is estimated from."""
        self._seconds_each += 0.2 * (seconds / count - self._seconds_each)

    def find(self, id: str, owner: str, kind: str) -> Job:
        """A job of this owner.

        Raises:
            Problem: 404 if there is none of that name, or somebody else's.
        """
        job = self._kept.get(id)
        if job is None or job.owner != owner or job.kind != kind:
            raise Problem(404, "not_found", f"There is no {kind} of that id, or it has expired.", "id")
        return job

    def of(self, owner: str, kind: str) -> Iterator[Job]:
        """This owner's jobs of a kind, the oldest first."""
        return (job for job in self._kept.values() if job.owner == owner and job.kind == kind)

    def ahead(self, job: Job) -> int:
        """How many wait before it."""
        return self._waiting.index(job) if job in self._waiting else 0

    def collected(self, file: StoredFile) -> None:
        """Somebody has fetched a result."""
        for job in self._kept.values():
            if file in job.files:
                job.collected = True

    def cancel(self, job: Job, problem: Problem | None = None) -> None:
        """It leaves the queue, or stops after the step that it is in: nobody wants it any more, or ``problem`` says why."""
        if job.state in ENDED:
            return
        job.wanted = False
        if job in self._waiting:
            self._waiting.remove(job)
            cancelled = Problem(409, "cancelled", "The job was cancelled.")
            self.end(job, State.FAILED if problem else State.CANCELLED, problem or cancelled)

    def end(
        self, job: Job, state: State, problem: Problem | None = None, files: list[StoredFile] | None = None
    ) -> None:
        """Write down how a job ended, once."""
        if job.state not in ENDED:
            job.work.inputs.clear()  # pictures and clips need no memory any more
            job.change(state=state, ended=time.time(), problem=problem, files=files or [])
            self._metrics.ended(job)

    def forget(self, job: Job) -> None:
        """Drop a job that has ended."""
        self._kept.pop(job.id, None)

    def overdue(self) -> tuple[list[Job], list[Job]]:
        """Those that have waited too long, and those that were kept long enough."""
        now = time.time()
        late = [job for job in self._waiting if now - job.created > self._settings.queue_seconds]
        old = [job for job in self._kept.values() if job.ended and now - job.ended > self._settings.keep_seconds]
        return late, old
