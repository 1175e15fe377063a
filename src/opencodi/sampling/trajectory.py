"""The way of one modality from noise to its result."""

import inspect
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

Generators = torch.Generator | list[torch.Generator] | None


class Trajectory:
    """One modality on its way through a schedule.

    Args:
        scheduler: any diffusers scheduler; a copy of it is used.
        noise: unit Gaussian noise [B, ...].
        num_inference_steps: how many steps to ask the scheduler for.

    Attributes:
        latents: where it is now, [B, ...].
        timesteps: of the schedule; schedulers of second order have more than ``num_inference_steps``.
    """

    def __init__(self, scheduler: Any, noise: Tensor, num_inference_steps: int):
        self.scheduler = deepcopy(scheduler)
        self.scheduler.set_timesteps(num_inference_steps, device=noise.device)
        self.timesteps: Tensor = self.scheduler.timesteps
        # Flow matching schedulers have neither this nor ``scale_model_input``: their noise has unit variance.
        self.latents = noise * getattr(self.scheduler, "init_noise_sigma", 1.0)
        self._steps_done = 0

    @property
    def is_finished(self) -> bool:
        """Whether no step is left."""
        return self._steps_done == len(self.timesteps)

    @property
    def progress(self) -> float:
        """The share of the steps that are done, in [0, 1]."""
        return self._steps_done / len(self.timesteps)

    def current(self) -> tuple[Tensor, Tensor]:
        """What a network sees: (scaled latents [B, ...], timesteps [B]); timestep 0 once finished."""
        if self.is_finished:
            return self.latents, torch.zeros(
                len(self.latents), dtype=self.timesteps.dtype, device=self.timesteps.device
            )
        timestep = self.timesteps[self._steps_done]
        scale = getattr(self.scheduler, "scale_model_input", None)
        return self.latents if scale is None else scale(self.latents, timestep), timestep.expand(len(self.latents))

    def step(self, prediction: Tensor, generator: Generators) -> Tensor:
        """Take one step; returns the timestep that it was taken from."""
        timestep = self.timesteps[self._steps_done]
        # Deterministic schedulers take no generator.
        takes_generator = "generator" in inspect.signature(self.scheduler.step).parameters
        options = {"generator": self._one_each(generator)} if takes_generator else {}
        stepped = self.scheduler.step(prediction, timestep, self.latents, return_dict=False, **options)[0]
        self.latents = stepped.to(self.latents.dtype)
        self._steps_done += 1
        return timestep

    def _one_each(self, generator: Generators) -> Generators:
        """A list with one generator per latent: several latents of one sample share its generator."""
        if not isinstance(generator, list):
            return generator
        return [each for each in generator for _ in range(len(self.latents) // len(generator))]


def num_timesteps(scheduler: Any, num_inference_steps: int) -> int:
    """How often ``Trajectory.step`` is called for this many steps."""
    counted = deepcopy(scheduler)
    counted.set_timesteps(num_inference_steps)
    return len(counted.timesteps)
