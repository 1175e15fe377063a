"""Which device to run on when the user names none."""

import torch

from .errors import ArgumentError


def pick_device(device: str | torch.device | None = None) -> torch.device:
    """The named device, or the best one this machine has: CUDA, then Apple's MPS, then the CPU.

    Raises:
        ArgumentError: if the named device does not exist or this build of torch cannot use it.
    """
    if device is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        picked = torch.device(device)
        torch.empty(0, device=picked)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ArgumentError(f"device: {str(device)!r} cannot be used on this machine; try 'cpu'") from error
    return picked
