"""Adapters: components that add to what named modules of a denoiser put out, and leave without a trace.

An adapter knows module names and a function for each. While it is attached, forward hooks at these modules pass their outputs
through it, if the call under way asks for it. What a call exchanges (``Call``) is in a context variable and never on a module,
so threads with different calls can share one network.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import torch
from diffusers import ConfigMixin, ModelMixin
from torch import Tensor, nn

from ..errors import ConfigurationError
from .context import Context


@dataclass(frozen=True, eq=False)
class Call:
    """What the adapters of one forward pass of a denoiser are told.

    Attributes:
        adapters: those that take part.
        prompt: what the denoiser attends to, repeated for each frame.
        environment: what alignment attends to, repeated for each frame; None: this call has no partners.
        num_frames: frames of each clip, which are folded into the batch; None: not a video.
        duration: seconds that the sample covers; None: its time is not known.
        memo: what one hook notes for another one, such as the time embedding.
    """

    adapters: tuple["Adapter", ...]
    prompt: Context | None = None
    environment: Context | None = None
    num_frames: int | None = None
    duration: float | None = None
    memo: dict[str, Any] = field(default_factory=dict)


_CALL: ContextVar[Call | None] = ContextVar("call", default=None)

Hook = Callable[[Tensor, Call], Tensor]
"""(output of a module, the call) → what takes its place."""


@contextmanager
def calling(call: Call) -> Iterator[None]:
    """Within it, denoisers that this thread runs hand ``call`` to their adapters."""
    token = _CALL.set(call)
    try:
        yield
    finally:
        _CALL.reset(token)


class Adapter(ModelMixin, ConfigMixin):
    """Base of the adapters; a subclass says what it does in ``hooks``."""

    first = False
    """Whether its hooks come before those that are already there."""

    output_index = 0
    """Which entry of a tuple is the features, where a block returns one."""

    def hooks(self) -> dict[str, Hook]:
        """Module name → what becomes of that module's output."""
        raise TypeError(f"{type(self).__name__} has no hooks")

    @contextmanager
    def attached(self, denoiser: nn.Module) -> Iterator[None]:
        """Within it, calls of ``denoiser`` that name this adapter (``calling``) go through it.

        It may be entered again while it is attached, also by another thread: the hooks are placed once and go with the
        last one to leave.

        Raises:
            ConfigurationError: if the denoiser has no module of a name that the adapter knows.
        """
        with _LOCK:
            handles = _HANDLES.setdefault(denoiser, {})
            if self not in handles:
                handles[self] = self._place(denoiser)
            _COUNTS.setdefault(denoiser, Counter())[self] += 1
        try:
            yield
        finally:
            with _LOCK:
                _COUNTS[denoiser][self] -= 1
                if not _COUNTS[denoiser][self]:
                    for handle in handles.pop(self):
                        handle.remove()
                    del _COUNTS[denoiser][self]
                if not handles:
                    del _HANDLES[denoiser], _COUNTS[denoiser]

    def _place(self, denoiser: nn.Module) -> list[Any]:
        places = []
        for name, change in self.hooks().items():
            try:
                places.append((denoiser.get_submodule(name), change))
            except AttributeError as error:
                raise ConfigurationError(
                    f"{type(self).__name__}: {type(denoiser).__name__} has no module {name!r}; the adapter belongs to "
                    "another network"
                ) from error
        return [module.register_forward_hook(_hook(self, change), prepend=self.first) for module, change in places]


_LOCK = Lock()
_HANDLES: "WeakKeyDictionary[nn.Module, dict[Adapter, list[Any]]]" = WeakKeyDictionary()
_COUNTS: "WeakKeyDictionary[nn.Module, Counter[Adapter]]" = WeakKeyDictionary()


def _hook(adapter: Adapter, change: Hook) -> Callable[[nn.Module, Any, Any], Any]:
    def after(module: nn.Module, given: Any, output: Any) -> Any:
        call = _CALL.get()
        if call is None or adapter not in call.adapters:
            return None
        if isinstance(output, tuple):  # blocks of some networks return more than their features
            place = adapter.output_index
            return (*output[:place], change(output[place], call), *output[place + 1 :])
        return change(output, call)

    return after


@contextmanager
def adapted(denoiser: nn.Module, call: Call) -> Iterator[None]:
    """Within it, ``denoiser`` runs with the adapters of ``call``, in this thread."""
    with ExitStack() as stack:
        for adapter in call.adapters:
            stack.enter_context(adapter.attached(denoiser))
        stack.enter_context(calling(call))
        yield


def change_where_seen(x: Tensor, places: slice | Tensor | None, change: Callable[[Tensor], Tensor]) -> Tensor:
    """``change(x)``, or ``x`` [B, ...] with only the samples at ``places`` changed, see ``Context.selected``."""
    if places is None:
        return change(x)
    if isinstance(places, Tensor):
        return x.index_copy(0, places, change(x[places]).to(x.dtype))
    if places.start == places.stop:
        return x
    parts = [x[: places.start], change(x[places]).to(x.dtype), x[places.stop :]]
    return torch.cat([part for part in parts if len(part)])  # an empty one would undo the memory format


def check_names(names: Sequence[str], channels: Sequence[int]) -> None:
    """Refuse a config whose block names and widths do not belong together.

    Raises:
        ConfigurationError: if there are more of one than of the other.
    """
    if len(names) != len(channels):
        raise ConfigurationError(f"channels: {len(channels)} widths for {len(names)} block_names; give one for each")
