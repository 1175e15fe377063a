"""What happens after each step of sampling, for those who watch: a progress bar and the caller's callback."""

from collections.abc import Callable, Sequence
from typing import Any

import torch


class StepReport:
    """What happens after each tick: the progress bar moves, and the caller's callback sees and may replace latents."""

    def __init__(self, pipeline: Any, callback: Callable[..., Any] | None, tensor_inputs: Sequence[str]):
        self.pipeline, self.callback, self.tensor_inputs = pipeline, callback, tensor_inputs
        self.bar: Any = None
        self.tick = 0
        self.latents: dict[str, torch.Tensor] = {}

    def __call__(
        self, timesteps: dict[str, torch.Tensor], latents: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor] | None:
        self.bar.update()
        self.latents |= latents
        self.tick += 1
        if self.callback is None:
            return None
        offered = {"latents": dict(self.latents)}
        tensors = {name: offered[name] for name in self.tensor_inputs}
        changed = (self.callback(self.pipeline, self.tick - 1, timesteps, tensors) or {}).get("latents") or {}
        return {modality: replacement for modality, replacement in changed.items() if modality in latents}
