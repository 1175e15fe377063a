"""The engine of ``opencodi serve --ray``: hands each job to the replicas of ``replicas.py`` and follows it there."""

import asyncio
import logging
import time
from dataclasses import replace
from typing import Any

from .engine import Engine
from .jobs import Job, Jobs, State
from .metrics import Metrics
from .problems import Problem
from .settings import Settings
from .storage import Store

log = logging.getLogger("opencodi.server")
LOOK_SECONDS = 0.25
"""How often to look whether a job is still wanted."""


class RayEngine(Engine):
    """Runs jobs on replicas; as many at once as these take.

    Args:
        replicas: Ray's handle of them.
        at_once: jobs that may be there; the others wait here, where they can be counted, refused and cancelled.
    """

    def __init__(
        self, replicas: Any, settings: Settings, jobs: Jobs, store: Store, metrics: Metrics, at_once: int
    ) -> None:
        super().__init__(None, settings, jobs, store, metrics)
        self._replicas, self._places = replicas, asyncio.Semaphore(at_once)
        self._followed: set[asyncio.Task] = set()

    async def work(self) -> None:
        """Hand on whatever waits, for ever."""
        while True:
            await self._places.acquire()
            (job,) = await self.jobs.next_batch(most=1)
            self.jobs.running = [*self.jobs.running, job]
            task = asyncio.create_task(self._run([job]))
            self._followed.add(task)
            task.add_done_callback(self._followed.discard)

    async def call(self, function: Any, *arguments: Any) -> Any:
        """``function(pipeline, …)`` in a replica; the first argument stands for the pipeline, which is there and not here."""
        return await self._replicas.call.remote(function, *arguments[1:])

    def close(self) -> None:
        """Stop following jobs; whoever started the replicas ends them."""
        for task in self._followed:
            task.cancel()
        super().close()

    async def _run(self, batch: list[Job]) -> None:
        (job,) = batch
        try:
            await self._follow(job)
        except Exception as error:
            self._fail(job, error)
        finally:
            self.jobs.running = [other for other in self.jobs.running if other is not job]
            self._places.release()

    async def _follow(self, job: Job) -> None:
        events = self._replicas.options(stream=True).make.remote(replace(job.work, finish=None))
        try:
            while self._still_wanted(job):
                following = asyncio.ensure_future(anext(events))
                while not (await asyncio.wait({following}, timeout=LOOK_SECONDS))[0] and job.wanted:
                    pass
                if not following.done():
                    following.cancel()
                    continue
                what, value = following.result()
                if what == "failed":
                    raise Problem(*value)
                if what == "made":
                    self._metrics.run.labels(",".join(job.work.outputs)).observe(time.time() - job.started)
                    self.jobs.learn(time.time() - job.started, job.batch)
                    await self._save(job, value)
                    return
                self._note(job, what, value)
        finally:
            events.cancel()

    def _note(self, job: Job, what: str, value: Any) -> None:
        """A step, or the beginning of a run."""
        if what == "step":
            job.change(steps=value, total_steps=max(job.total_steps, value))
            return
        total, together = value
        now = job.started or time.time()
        job.change(state=State.IN_PROGRESS, started=now, batch=together, steps=0, total_steps=total)
        self._metrics.batch.observe(together)
        outputs = ",".join(job.work.outputs)
        log.info(
            "start job=%s client=%s outputs=%s number=%d waited=%.2f together=%d",
            *(job.short, job.owner, outputs, job.work.number, job.waited, together),
        )
