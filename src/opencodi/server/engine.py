"""The one thread that runs the pipeline: takes batches of jobs, keeps their progress, and saves what comes out."""

import asyncio
import gc
import logging
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..errors import ArgumentError, OpenCoDiError, SystemFailure
from ..trust.watermark import embed
from .batching import expected_steps, run
from .jobs import Job, Jobs, State
from .metrics import Metrics
from .problems import Problem, bad_request
from .settings import Settings
from .storage import Store

log = logging.getLogger("opencodi.server")


class Stopped(Exception):
    """Raised between two steps to end a run: nobody wants it, or it takes too long."""


class Engine:
    """Runs jobs one batch after another.

    One thread calls the pipeline, so it needs no lock, and ``threads`` of torch never compete with those of another call.
    """

    def __init__(
        self, pipeline: Any, settings: Settings, jobs: Jobs, store: Store, metrics: Metrics, threads: int | None = None
    ) -> None:
        self.pipeline, self.jobs = pipeline, jobs
        self._settings, self._store, self._metrics = settings, store, metrics
        self._thread = ThreadPoolExecutor(1, "pipeline", use_threads, (threads,))
        self._savers: set[asyncio.Task] = set()

    async def work(self) -> None:
        """Run whatever waits, for ever."""
        while True:
            batch = await self.jobs.next_batch()
            try:
                await self._run(batch)
            except Exception as error:  # the queue must go on whatever happens to one batch
                log_error(error, self._settings.log_prompts)
                for job in batch:
                    self.jobs.end(job, State.FAILED, Problem(500, "internal_error", "The server failed on this job."))
            finally:
                self.jobs.running = []

    async def call(self, function: Any, *arguments: Any) -> Any:
        """Run something short on the pipeline's thread, between two batches."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def saved(self) -> None:
        """Wait until no results are being written."""
        while self._savers:
            await asyncio.wait(self._savers)

    def close(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self, batch: list[Job]) -> None:
        """One call for all; if that fails, one for each, so that only the job at fault fails."""
        self.jobs.running, count = batch, sum(job.work.number for job in batch)
        total, outputs = expected_steps(self.pipeline, batch[0].work), ",".join(batch[0].work.outputs)
        for job in batch:
            job.change(
                state=State.IN_PROGRESS, started=job.started or time.time(), batch=count, steps=0, total_steps=total
            )
            log.info(
                "start job=%s client=%s outputs=%s number=%d waited=%.2f together=%d",
                *(job.short, job.owner, outputs, job.work.number, job.waited, len(batch)),
            )
        begun = time.perf_counter()
        try:
            results = await self.call(self._make, batch)
        except Exception as error:
            wanted = [job for job in batch if self._still_wanted(job)]
            if len(batch) > 1:
                log.warning("batch of %d failed (%s): one by one now", len(batch), type(error).__name__)
                for job in wanted:
                    await self._run([job])
            elif wanted:
                self._fail(batch[0], error)
            return
        seconds = time.perf_counter() - begun
        self.jobs.learn(seconds, len(batch))
        self._metrics.run.labels(outputs).observe(seconds)
        self._metrics.batch.observe(count)
        for job, media in zip(batch, results):
            if self._still_wanted(job):
                saver = asyncio.create_task(self._save(job, media))
                self._savers.add(saver)
                saver.add_done_callback(self._savers.discard)

    def _make(self, batch: list[Job]) -> list[dict[str, list[Any]]]:
        """The call itself, on the pipeline's thread."""
        loop, deadline = self._event_loop, time.monotonic() + self._settings.job_seconds

        def after_step(steps: int) -> None:
            if not any(job.wanted for job in batch):
                raise Stopped("nobody waits for it")
            if time.monotonic() > deadline:
                raise Stopped("takes too long")
            loop.call_soon_threadsafe(_advance, batch, steps)

        try:
            return run(self.pipeline, [job.work for job in batch], after_step)
        except Exception as error:
            forget_failed_call(error)
            raise

    async def _save(self, job: Job, media: dict[str, list[Any]]) -> None:
        """Write the files of one job while the next batch is made already."""
        try:
            if self._settings.watermark:
                media = await asyncio.to_thread(_marked, media)
            files = await asyncio.to_thread(self._store.save, job.work, media)
        except Exception as error:
            self._fail(job, error)
            return
        if not self._still_wanted(job):
            self._store.remove(files)
            return
        self.jobs.end(job, State.COMPLETED, files=files)
        log.info("done job=%s client=%s seconds=%.2f", job.short, job.owner, job.ended - job.started)

    def _still_wanted(self, job: Job) -> bool:
        """Whether to go on with it; one that was cancelled ends here."""
        if not job.wanted:
            self.jobs.end(job, State.CANCELLED, Problem(409, "cancelled", "The job was cancelled."))
            log.info("cancelled job=%s client=%s steps=%d", job.short, job.owner, job.steps)
        return job.wanted

    def _fail(self, job: Job, error: Exception) -> None:
        problem = explain(error, self._settings)
        if problem.status == 500:
            log_error(error, self._settings.log_prompts)
        log.warning("failed job=%s client=%s code=%s", job.short, job.owner, problem.code)
        self.jobs.end(job, State.FAILED, problem)

    def start(self) -> asyncio.Task:
        """Begin to work on the running event loop."""
        self._event_loop = asyncio.get_running_loop()
        return asyncio.create_task(self.work(), name="engine")


def explain(error: Exception, settings: Settings) -> Problem:
    """What a client is told of an exception."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Stopped):
        message = f"The job took more than {settings.job_seconds:g} s; ask for fewer steps or results."
        return Problem(504, "timeout", message)
    if isinstance(error, ArgumentError):
        return bad_request(str(error))
    if is_out_of_memory(error):
        return Problem(507, "out_of_memory", "The job needs more memory than there is; ask for less at once.")
    if isinstance(error, OSError | SystemFailure):
        return Problem(507, "not_stored", "The results could not be written on the server.")
    if isinstance(error, OpenCoDiError):
        return bad_request(str(error))
    return Problem(500, "internal_error", "The server failed on this job.")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the CPU or on an accelerator."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and ("allocate memory" in words or "out of memory" in words)


def forget_failed_call(error: BaseException) -> None:
    """Let go of the tensors that the frames of a failed call still hold; to be called where it failed, on its thread."""
    traceback.clear_frames(error.__traceback__)
    if not is_out_of_memory(error):
        return
    gc.collect()
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def log_error(error: BaseException, with_message: bool) -> None:
    """Where an unexpected exception came from; its message only where prompts may be logged, for it may quote one."""
    where = "".join(traceback.format_tb(error.__traceback__))
    log.error("unexpected %s%s\n%s", type(error).__name__, f": {error}" if with_message else "", where)


def _advance(batch: list[Job], steps: int) -> None:
    for job in batch:
        # A run may take more steps than were expected
        job.change(steps=steps, total_steps=max(job.total_steps, steps))


def _marked(media: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {modality: [embed(item) for item in items] for modality, items in media.items()}


def use_threads(threads: int | None) -> None:
    """Let torch use so many on this thread; None leaves what is set."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
