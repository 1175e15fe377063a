"""One model and all that serves it: what the routes call."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastapi import Request

from ..errors import OpenCoDiError
from ..media import Media
from ..modality import MODALITIES
from ..trust import Statement, prepare
from ..trust.keys import watermark_key
from .batching import Work
from .decoding import Decoders
from .engine import Engine, explain, forget_failed_call, log_error
from .forms import Inputs, check_words, from_data_url
from .jobs import ENDED, Job, Jobs, State
from .metrics import Metrics
from .problems import Problem
from .schemas import Generation, check_generation, check_model, make_work
from .settings import Settings
from .storage import Store

log = logging.getLogger("opencodi.server")
LOOK_SECONDS = 0.25
"""How often to look whether a client has left."""


class Service:
    """Takes requests in and gives jobs out.

    Args:
        pipeline: an ``AnyToAnyPipeline``, on its device.
        settings: of the server.
        name: what the model is called.
        threads: of torch; None leaves what is set.
        folder: of the model; its credentials name its version, too, if it is given.
        engine: builds what runs jobs from settings, jobs, store and metrics; None runs the pipeline in this process.
    """

    def __init__(
        self,
        pipeline: Any,
        settings: Settings,
        name: str,
        threads: int | None = None,
        folder: Path | None = None,
        engine: Callable[..., Engine] | None = None,
    ) -> None:
        if settings.watermark:
            watermark_key()  # now, in case it cannot be used
        self.settings, self.names, self.started = settings, [name, *settings.aliases], int(time.time())
        self.metrics = Metrics()
        self.jobs = Jobs(settings, self.metrics)
        self.credentials = prepare(settings.credentials, settings.certificate, settings.private_key)
        if settings.credentials and self.credentials.identity is None:
            log.warning("no credentials are written: %s", self.credentials.reason)
        self._stated = Statement.of({}, model=folder or name)
        self.store = Store(settings.results, self.credentials)
        self.decoders = Decoders(self.store.uploads, settings.media_limits, settings.decoders)
        self.inputs = Inputs(settings, self.decoders, self.metrics)
        rooms = (settings, self.jobs, self.store, self.metrics)
        self.engine = engine(*rooms) if engine else Engine(pipeline, *rooms, threads)
        self.base_url = settings.base_url()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work while inside; afterwards nothing of it is left, and every job has been reported."""
        if self.settings.warm_up:
            await self.engine.call(warm_up, self.engine.pipeline)
        tasks = [self.engine.start(), asyncio.create_task(self._sweep())]
        try:
            yield
        finally:
            await self.engine.saved()
            for job in self.jobs.unfinished:
                job.wanted = False
                problem = Problem(503, "stopped", "The server stopped before the job was finished; send it again.")
                self.jobs.end(job, State.FAILED, problem)
                log.warning("unfinished job=%s client=%s outputs=%s", job.short, job.owner, ",".join(job.work.outputs))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.decoders.close()
            self.engine.close()
            self.store.close()

    async def drain(self) -> None:
        """Take no more jobs, and wait until those there are finished and their results fetched, as long as the settings say."""
        self.jobs.draining = True
        log.info("stopping: %d jobs are not finished", len(self.jobs.unfinished))
        begun, deadline = time.time(), time.monotonic() + self.settings.drain_seconds
        while time.monotonic() < deadline and (self.jobs.unfinished or self.jobs.reserved):
            await asyncio.sleep(0.05)
        # Who polls needs a moment to see that a job is finished, and to fetch it
        deadline = min(deadline, time.monotonic() + 5)
        while time.monotonic() < deadline and any(job.ended > begun for job in self.jobs.uncollected):
            await asyncio.sleep(0.05)
        for job in self.jobs.uncollected:
            log.warning("finished but not fetched job=%s client=%s", job.short, job.owner)

    async def submit(
        self,
        request: Request,
        asked: Generation,
        given: dict[str, list[Any]],
        kind: str = "generation",
        finish: Callable[[str, list[Any]], list[Any]] | None = None,
        audio_format: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> Job:
        """Check a request, read its inputs, and let it wait in the queue.

        Args:
            given: texts, data URLs and bytes by modality.
            kind: under which routes the job is found.
            finish, audio_format: see ``Work``.
            details: what the route wants to remember.

        Raises:
            Problem: if something is wrong with it, or there is no room.
        """
        check_model(asked.model, self.names)
        outputs = check_generation(asked, self.settings)
        if asked.negative_prompt is not None:
            check_words(asked.negative_prompt, self.settings, "negative_prompt")
        if self.store.size >= self.settings.max_stored_bytes:
            raise Problem(429, "store_full", "Too many results are kept; try again later.", retry_after=60)
        work = make_work(asked, outputs, await self.inputs.read(given))
        work.finish, work.audio_format = finish, audio_format
        if self.credentials.identity is not None:
            work.statement = await asyncio.to_thread(self._state, work, given)
        job = Job(request.state.owner, work, kind, details or {})
        self.jobs.add(job, request.state.place)
        inputs = ",".join(f"{modality}:{len(items)}" for modality, items in work.inputs.items()) or "nothing"
        log.info(
            "wait job=%s client=%s inputs=%s outputs=%s number=%d ahead=%d",
            *(job.short, job.owner, inputs, ",".join(outputs), work.number, len(self.jobs.waiting) - 1),
        )
        if self.settings.log_prompts:
            log.info("prompt job=%s text=%r negative=%r", job.short, work.inputs.get("text"), work.negative_prompt)
        return job

    def _state(self, work: Work, given: dict[str, list[Any]]) -> Statement:
        """What the credentials of a job's results say."""
        files = {
            m: [item if m == "text" or isinstance(item, bytes) else from_data_url(item, m) for item in items]
            for m, items in given.items()
        }
        settings = {**work.settings, "outputs": work.outputs, "number": work.number}
        stated = Statement.of(files, work.negative_prompt, self._stated.model, work.seed, settings)
        return replace(stated, model_version=self._stated.model_version)

    async def finished(self, request: Request, job: Job) -> Job:
        """Wait for a job as long as its client does, and cancel it if the client leaves.

        Raises:
            Problem: how it failed.
        """
        looked = time.monotonic()
        while job.state not in ENDED:
            await job.news(LOOK_SECONDS)
            if time.monotonic() - looked < LOOK_SECONDS:
                continue
            looked = time.monotonic()
            if await request.is_disconnected():
                self.jobs.cancel(job)
                raise Problem(499, "client_left", "The client left.")
        if job.problem is not None:
            raise job.problem
        job.collected = True
        return job

    async def embed(self, items: list[tuple[str, Media]]) -> list[list[float]]:
        """Where inputs lie in the shared space, one vector each.

        Raises:
            Problem: if this model cannot read one of them.
        """
        try:
            return await self.engine.call(_embed, self.engine.pipeline, items)
        except Exception as error:
            problem = explain(error, self.settings)
            if problem.status == 500:
                log_error(error, self.settings.log_prompts)
            raise problem from None

    def remove(self, job: Job) -> None:
        """Cancel a job if it is not finished, and drop it and its results."""
        self.jobs.cancel(job)
        self.store.remove(job.files)
        self.jobs.forget(job)

    async def _sweep(self) -> None:
        """Every now and then: end waits that are too long, drop what was kept long enough."""
        while True:
            await asyncio.sleep(min(1.0, self.settings.keep_seconds / 4, self.settings.queue_seconds / 4))
            late, old = self.jobs.overdue()
            for job in late:
                self.jobs.cancel(job, Problem(504, "timeout", "The job waited too long; try again later."))
                log.warning("waited too long job=%s client=%s", job.short, job.owner)
            for job in old:
                self.remove(job)
            self.store.purge()


def warm_up(pipeline: Any) -> None:
    """One step of everything, so that the first client does not wait for parts to be read; what a model lacks is left out."""
    started = time.perf_counter()
    for outputs in ("all", *MODALITIES):
        try:
            pipeline(text="warm up", outputs=outputs, num_inference_steps=1)
            if outputs == "all":
                break
        except OpenCoDiError:
            continue
    log.info("warm after %.1f s", time.perf_counter() - started)


def _embed(pipeline: Any, items: list[tuple[str, Media]]) -> list[list[float]]:
    """Runs on the pipeline's thread. Each alone, so that no input changes another's numbers."""
    try:
        encoded = [pipeline.encode_prompt(**{modality: item}, extras=()) for modality, item in items]
        return [condition.tokens[0, 0].float().cpu().tolist() for condition in encoded]
    except Exception as error:
        forget_failed_call(error)
        raise
