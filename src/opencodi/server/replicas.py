"""The model in replicas on Ray Serve (extra ``ray``): each holds a pipeline of its own and makes what waits for it together."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from .batching import Work, expected_steps, run
from .engine import Stopped, explain, forget_failed_call, log_error, use_threads
from .service import warm_up
from .settings import Settings

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves this machine

import ray
from ray import serve

LARGEST_WAIT = 2
"""How many batches may wait at a replica for each one that runs; all others wait in the server's own queue."""


@dataclass(frozen=True)
class Model:
    """What a replica loads, and with what it runs."""

    folder: Path
    device: str | None = None
    dtype: str = "float32"
    plain: bool = False
    threads: int = 1
    memory: float | None = None


@dataclass(eq=False)
class Ticket:
    """A work on its way through a replica; ``wanted`` turns False when nobody waits for it any more."""

    work: Work
    wanted: bool = True
    events: asyncio.Queue = field(default_factory=asyncio.Queue)


class Replica:
    """One pipeline and the thread that runs it.

    Args:
        model: to load.
        settings: of the server.
    """

    def __init__(self, model: Model, settings: Settings) -> None:
        from ..cli.common import Dtype, load_pipeline
        from .run import limit_memory

        if model.memory is not None:
            limit_memory(model.memory)
        self._pipeline = load_pipeline(str(model.folder), model.device, Dtype(model.dtype), plain=model.plain)
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, "pipeline", use_threads, (model.threads,))
        self._together.set_max_batch_size(settings.max_batch)
        if settings.warm_up:
            self._thread.submit(warm_up, self._pipeline).result()

    async def call(self, function: Any, *arguments: Any) -> Any:
        """``function(pipeline, *arguments)`` on the pipeline's thread, between two batches."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, self._pipeline, *arguments)

    async def make(self, work: Work) -> AsyncIterator[tuple[str, Any]]:
        """What happens to a work: ``("start", (steps, results made together))``, ``("step", steps done)``, and at last
        ``("made", media by modality)`` or ``("failed", arguments of Problem)``. Leaving it drops the work.
        """
        ticket = Ticket(work)
        together = asyncio.ensure_future(self._together(ticket))
        try:
            while True:
                event = await ticket.events.get()
                yield event
                if event[0] in ("made", "failed"):
                    return
        finally:
            ticket.wanted = False
            together.add_done_callback(lambda done: done.cancelled() or done.exception())

    @serve.batch(batch_wait_timeout_s=0.005, batch_size_fn=lambda tickets: sum(each.work.number for each in tickets))
    async def _together(self, tickets: list[Ticket]) -> list[None]:
        """Ray collects those that wait; those of one kind are made in one run."""
        kinds: dict[str, list[Ticket]] = {}
        for ticket in tickets:
            kinds.setdefault(ticket.work.key, []).append(ticket)
        for kind in kinds.values():
            await self._run([ticket for ticket in kind if ticket.wanted])
        return [None] * len(tickets)

    async def _run(self, tickets: list[Ticket]) -> None:
        """One call for all; if that fails, one for each, so that only the work at fault fails."""
        if not tickets:
            return
        loop, deadline = asyncio.get_running_loop(), time.monotonic() + self._settings.job_seconds
        works = [ticket.work for ticket in tickets]
        start = (expected_steps(self._pipeline, works[0]), sum(work.number for work in works))

        def tell(*event: Any) -> None:
            for ticket in tickets:
                loop.call_soon_threadsafe(ticket.events.put_nowait, event)

        def after_step(steps: int) -> None:
            if not any(ticket.wanted for ticket in tickets):
                raise Stopped("nobody waits for it")
            if time.monotonic() > deadline:
                raise Stopped("takes too long")
            tell("step", steps)

        def make() -> list[Any]:
            try:
                return run(self._pipeline, works, after_step)
            except Exception as error:
                forget_failed_call(error)
                raise

        tell("start", start)
        try:
            made = await loop.run_in_executor(self._thread, make)
        except Exception as error:
            if len(tickets) > 1:
                for ticket in tickets:
                    await self._run([ticket] if ticket.wanted else [])
                return
            problem = explain(error, self._settings)
            if problem.status == 500:
                log_error(error, self._settings.log_prompts)
            tell("failed", (problem.status, problem.code, problem.message, problem.param))
            return
        for ticket, media in zip(tickets, made):
            ticket.events.put_nowait(("made", media))


def start_replicas(model: Model, settings: Settings, least: int, most: int) -> Any:
    """Start Ray on this machine, or join the cluster that ``RAY_ADDRESS`` names, and wait until replicas are ready.

    Ray's own HTTP proxy stays off: the server in front is the one of ``opencodi serve``.

    Args:
        model: that each replica loads.
        settings: of the server.
        least, most: how many replicas there are; Ray adds and removes them as jobs come.

    Returns:
        Ray's handle of the replicas.

    Raises:
        ArgumentError: if Ray or the replicas do not start.
    """
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    here = {} if os.environ.get("RAY_ADDRESS") else {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    waiting = {name: os.environ[name] for name in ("OMP_WAIT_POLICY", "OPENCODI_MODELS") if name in os.environ}
    try:
        ray.init(
            logging_level="error",
            log_to_driver=False,
            runtime_env={"env_vars": {**waiting, "OMP_NUM_THREADS": str(model.threads)}},
            **here,
        )
        serve.start(http_options={"location": "NoServer"})
        on_gpu = model.device is not None and model.device.startswith("cuda")
        deployment = serve.deployment(Replica).options(
            name="model",
            max_constructor_retry_count=1,
            max_ongoing_requests=(1 + LARGEST_WAIT) * settings.max_batch,
            autoscaling_config={
                "min_replicas": least,
                "initial_replicas": least,
                "max_replicas": most,
                "target_ongoing_requests": settings.max_batch,
                "upscale_delay_s": 5,
            },
            ray_actor_options={"num_cpus": model.threads, "num_gpus": 1 if on_gpu else 0},
        )
        return serve.run(deployment.bind(model, settings), name="opencodi", route_prefix=None)
    except (RuntimeError, ConnectionError, ValueError, ray.exceptions.RayError) as error:
        stop_replicas()
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise ArgumentError(f"--ray: the replicas did not start ({reason}); see Ray's logs in /tmp/ray") from error


def stop_replicas() -> None:
    """End the replicas, and Ray if it was started here."""
    if ray.is_initialized():
        serve.shutdown()
        ray.shutdown()
