"""What Prometheus reads at ``/metrics``: who waits for what, how long things take, and what was refused."""

from collections import Counter as Count
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from .jobs import Job, Jobs

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        own = {"registry": self.registry, "namespace": "opencodi"}
        self.requests = Counter("requests", "Answers by route and status.", ["route", "status"], **own)
        self.refused = Counter("refused", "Requests refused because the queue was full.", **own)
        self.jobs = Counter("jobs", "Jobs that ended.", ["client", "outputs", "state"], **own)
        self.uploads = Counter("uploads", "Uploads read.", ["modality", "result"], **own)
        self.wait = Histogram("wait_seconds", "Seconds in the queue.", ["outputs"], buckets=SECONDS, **own)
        self.run = Histogram("run_seconds", "Seconds of a denoising run.", ["outputs"], buckets=SECONDS, **own)
        self.batch = Histogram("batch_results", "Results made in one run.", buckets=(1, 2, 4, 8, 16, 32), **own)

    def watch(self, jobs: "Jobs") -> None:
        """Report the jobs that wait and run whenever somebody asks."""
        self.registry.register(_Now(jobs))

    def ended(self, job: "Job") -> None:
        """Count a job that has ended."""
        outputs = ",".join(job.work.outputs)
        self.jobs.labels(job.owner, outputs, job.state.value).inc()
        self.wait.labels(outputs).observe(job.waited)

    def page(self) -> bytes:
        """Prometheus's text format."""
        return generate_latest(self.registry)


class _Now(Collector):
    def __init__(self, jobs: "Jobs") -> None:
        self._jobs = jobs

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Gauges, counted when they are read."""
        described = (
            ("waiting", "Jobs that wait.", self._jobs.waiting),
            ("running", "Jobs that run.", self._jobs.running),
        )
        for name, help_text, jobs in described:
            gauge = GaugeMetricFamily(f"opencodi_{name}", help_text, labels=["client", "outputs"])
            for (client, outputs), count in Count((job.owner, ",".join(job.work.outputs)) for job in jobs).items():
                gauge.add_metric([client, outputs], count)
            yield gauge
        yield GaugeMetricFamily("opencodi_reading", "Requests being read.", value=self._jobs.reserved)
