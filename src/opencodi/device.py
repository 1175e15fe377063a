"""Which device to run on when the user names none."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from .errors import ArgumentError

_working_on: ContextVar[torch.device | None] = ContextVar("working_on", default=None)


def pick_device(device: str | torch.device | None = None) -> torch.device:
    """The named device, or that of ``working_on``, or the best one this machine has: CUDA, then Apple's MPS, then the CPU.

    Raises:
        ArgumentError: if the named device does not exist or this build of torch cannot use it.
    """
    if device is None:
        chosen = _working_on.get()
        if chosen is not None:
            return chosen
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        picked = torch.device(device)
        torch.empty(0, device=picked)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ArgumentError(f"device: {str(device)!r} cannot be used on this machine; try 'cpu'") from error
    return picked


@contextmanager
def working_on(device: torch.device) -> Iterator[None]:
    """Meanwhile ``pick_device`` picks this device wherever none is named."""
    token = _working_on.set(device)
    try:
        yield
    finally:
        _working_on.reset(token)
