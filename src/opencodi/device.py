"""Which device to run on when the user names none, and which precision is slow there."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

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
        if picked.type != "meta":  # it holds shapes and no numbers, so nothing can be made on it
            torch.empty(0, device=picked)
            return picked
    except (RuntimeError, AssertionError, NotImplementedError, TypeError, ImportError) as error:
        raise ArgumentError(f"device: {str(device)!r} cannot be used on this machine; try 'cpu'") from error
    raise ArgumentError("device: 'meta' cannot be used to make anything; try 'cpu'")


NATIVE_INSTRUCTIONS = {
    torch.bfloat16: ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"),
    torch.float16: ("avx512_fp16", "amx_fp16", "fp16_arith"),
}
"""Precision → the instruction sets that compute in it, x86 and ARM, as ``torch.cpu.get_capabilities`` names them."""


def slow_precision(dtype: torch.dtype, capabilities: Mapping[str, Any] | None = None) -> str | None:
    """Why a precision is slow on this CPU, in one sentence; None if it is not.

    A CPU without instructions for half precision emulates it: bfloat16 then takes 8 to 10 times as long as float32.

    Args:
        dtype: of the weights.
        capabilities: of the CPU, by default of the one this runs on.
    """
    native = NATIVE_INSTRUCTIONS.get(dtype)
    if native is None:
        return None
    found = _cpu_capabilities() if capabilities is None else capabilities
    if any(found.get(name) for name in native):
        return None
    name = str(dtype).removeprefix("torch.")
    return f"{name} is many times slower than float32 on this CPU, which has no instructions for it; use float32"


@cache
def _cpu_capabilities() -> Mapping[str, Any]:
    if hasattr(torch.cpu, "get_capabilities"):
        return torch.cpu.get_capabilities()
    return {"avx512_bf16": torch.cpu._is_avx512_bf16_supported(), "amx_bf16": torch.cpu._is_amx_tile_supported()}


def warn_if_slow(
    dtype: torch.dtype | Mapping[str, torch.dtype] | None, device: str | torch.device | None = None
) -> None:
    """Say once, in one line, that a precision is slow on the CPU.

    Args:
        dtype: what was asked for; a dictionary names one for each part of a model.
        device: where the weights will be; None: on the best device there is, so that ``from_pretrained`` in half precision
            says nothing where a GPU waits for it.
    """
    asked = dtype.values() if isinstance(dtype, Mapping) else [dtype]
    if torch.device(device or pick_device()).type == "cpu":
        for each in dict.fromkeys(asked):
            _say_if_slow(each)


@cache
def _say_if_slow(dtype: torch.dtype | None) -> None:
    if dtype is not None and (reason := slow_precision(dtype)):
        logging.getLogger("opencodi").warning(reason)


@contextmanager
def quickly(device: torch.device) -> Iterator[None]:
    """Meanwhile networks compute in bfloat16 where the CPU has instructions for it; elsewhere as they are."""
    fast = device.type == "cpu" and slow_precision(torch.bfloat16) is None
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast):
        yield


@contextmanager
def working_on(device: torch.device) -> Iterator[None]:
    """Meanwhile ``pick_device`` picks this device wherever none is named."""
    token = _working_on.set(device)
    try:
        yield
    finally:
        _working_on.reset(token)
