"""Whose turn it is: loading changes state of the whole process, which must not touch what other threads compute or load."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_LOADING = threading.RLock()


class _Gate:
    """Lets any number of threads compute, or one of them be alone.

    A thread that computes and wants to be alone counts as waiting, not as computing: threads cannot wait for one another.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._computing: dict[int, int] = {}
        self._alone: int | None = None

    @contextmanager
    def computing(self) -> Iterator[None]:
        me = threading.get_ident()
        with self._changed:
            self._changed.wait_for(lambda: self._alone in (None, me))
            self._computing[me] = self._computing.get(me, 0) + 1
        try:
            yield
        finally:
            with self._changed:
                self._computing[me] -= 1
                if not self._computing[me]:
                    del self._computing[me]
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        me = threading.get_ident()
        if self._alone == me:
            yield
            return
        with self._changed:
            depth = self._computing.pop(me, 0)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._alone is None and not self._computing)
            self._alone = me
        try:
            yield
        finally:
            with self._changed:
                self._alone = None
                if depth:
                    self._computing[me] = depth
                self._changed.notify_all()


_gate = _Gate()


@contextmanager
def loading(dtype: torch.dtype = torch.float32) -> Iterator[None]:
    """Around making or loading a part: one thread at a time.

    Our libraries change ``nn.Module`` meanwhile, and torch's default precision for the whole process: where that would become
    another one, it waits until no call computes.

    Args:
        dtype: of the weights.
    """
    if dtype == torch.get_default_dtype():
        with _LOADING:
            yield
    else:
        with _gate.alone(), _LOADING:
            yield


@contextmanager
def computing() -> Iterator[None]:
    """Around a call."""
    with _gate.computing():
        yield
