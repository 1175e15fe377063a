"""The predictions of one tick on several processor cores.

On a CPU, two networks that run side by side with one thread each finish sooner than one after the other with two threads each:
small layers gain little from threads. Each thread takes whole passes, so that the results do not depend on how many there are.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from ..denoisers import Context
from .guidance import Pass, Prompts, guided_prediction

LARGE = 8192
"""Numbers in a latent batch from which the passes of guidance run side by side, too. Smaller ones cost what their layers
cost in calls, so that one batch of two passes is nearly as fast as one pass."""

UNEVEN = 0.7
"""Share of the work in one prediction from which all threads work on each in turn."""


class Asked(NamedTuple):
    """The arguments of ``guided_prediction``."""

    denoiser: Any
    sample: Tensor
    timesteps: Tensor
    prompts: Prompts
    terms: Mapping[Pass, float]
    environment: Context | None

    def separate(self, alone: bool) -> list[Self]:
        """What adds up to it: a pass each if it is large or the only prediction of its tick."""
        if len(self.terms) == 1 or not (alone or self.sample.numel() >= LARGE):
            return [self]
        return [self._replace(terms={each: factor}) for each, factor in self.terms.items()]

    def __call__(self) -> Tensor:
        return guided_prediction(*self)

    @property
    def work(self) -> int:
        """Numbers that go through the network."""
        return len(self.terms) * self.sample.numel()


class Workers:
    """Threads for the ticks of one call of ``sample``.

    Args:
        several: whether there may be any; else predictions are made one after another.

    It uses no more threads than ``torch.get_num_threads()``.
    """

    def __init__(self, several: bool):
        self.threads = torch.get_num_threads() if several and not torch.is_autocast_enabled("cpu") else 1
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def predictions(self, asked: Mapping[str, Asked]) -> dict[str, Tensor]:
        """``guided_prediction`` of each modality."""
        parts = {m: each.separate(alone=len(asked) == 1) for m, each in asked.items()}
        work = [part.work for each in parts.values() for part in each]
        even = max(work) <= UNEVEN * sum(work)
        if self.threads == 1 or not even or any(each.sample.device.type != "cpu" for each in asked.values()):
            return {m: each() for m, each in asked.items()}
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads, "denoiser", initializer=torch.set_num_threads, initargs=(1,))
        largest_first = sorted(((m, part) for m, each in parts.items() for part in each), key=lambda x: -x[1].work)
        with one_thread_each():
            futures = [(m, self._pool.submit(_without_gradients, part)) for m, part in largest_first]
            found: dict[str, list[Tensor]] = {m: [] for m in asked}
            for m, future in futures:
                found[m].append(future.result())
        return {m: sum(each) for m, each in found.items()}


@torch.no_grad()
def _without_gradients(predict: Callable[[], Tensor]) -> Tensor:
    return predict()  # a new thread records gradients, whatever the one that started it does


_LOCK = Lock()
_USERS: list[int] = []
"""For each call that is within ``one_thread_each``, how many threads there were before the first."""


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Within it, an operation uses one thread, in this thread and in new ones; matrix products do so in all."""
    with _LOCK:
        _USERS.append(_USERS[0] if _USERS else torch.get_num_threads())
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _LOCK:
            before = _USERS.pop()
            if not _USERS:
                torch.set_num_threads(before)
