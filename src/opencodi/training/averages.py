"""Averaged weights, which are validated and shipped."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers.training_utils import EMAModel


class Averages:
    """Exponential moving averages of weights, each beside its weight or all on the CPU.

    Args:
        parameters: {name: weight}, sharded or not.
        decay: of the average.
        on_cpu: keep the averages in the memory of the CPU; each step copies the weights there.

    Attributes:
        tensors: {name: average}.
    """

    def __init__(self, parameters: dict[str, torch.nn.Parameter], decay: float, on_cpu: bool = False):
        self.parameters, self.on_cpu = list(parameters.values()), on_cpu
        self.model = EMAModel(self._weights(), decay=decay, use_ema_warmup=True, power=0.75)
        self.tensors = dict(zip(parameters, self.model.shadow_params))

    def _weights(self) -> list[torch.Tensor]:
        if not self.on_cpu:
            return self.parameters
        return [weight.detach().cpu().requires_grad_() for weight in self.parameters]  # what learns not is not averaged

    def resume(self, step: int) -> None:
        """Go on as after ``step`` steps."""
        self.model.optimization_step = step

    def step(self) -> None:
        """Follow the weights by one step."""
        self.model.step(self._weights())

    def put_in_place(self) -> None:
        """The averages become the weights, for good."""
        self.model.copy_to(self.parameters)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within it, the weights are the averages."""
        self.model.store(self.parameters)
        self.model.copy_to(self.parameters)
        try:
            yield
        finally:
            self.model.restore(self.parameters)
