"""A control that must fail: each sample sees the partners of another sample of its batch.

Outputs that agree because of what they exchange then agree no more often than by chance. What still agrees does so for
another reason.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..denoisers import Context, Evidence
from ..sampling.request import Call
from .base import Extra


class SwappedPartners(Extra):
    """Moves what is exchanged by one place along the batch, wherever it is exchanged."""

    def denoiser(self, denoiser: Any, modality: str, call: Call) -> Any:
        """The denoiser with another sample's environment tokens."""
        return _Swapped(denoiser)


@dataclass(frozen=True)
class _Swapped:
    inner: Any

    def __call__(
        self, sample: Tensor, timesteps: Tensor, prompt: Context, environment: Context | None = None
    ) -> Tensor:
        return self.inner(sample, timesteps, prompt, environment)

    def context(self, *args: Any) -> Context:
        return self.inner.context(*args)

    def environment(self, sample: Tensor, timesteps: Tensor) -> Tensor:
        return self.inner.environment(sample, timesteps).roll(1, 0)

    def evidence(self, sample: Tensor, timesteps: Tensor) -> Evidence:
        return self.inner.evidence(sample, timesteps)

    def shown(self, evidence: Evidence) -> Evidence:
        return self.inner.shown(evidence).roll(1)

    def duration(self, sample: Tensor) -> float | None:
        return self.inner.duration(sample)

    @property
    def alignment(self) -> Any:
        return self.inner.alignment

    def environment_seconds(self, sample: Tensor) -> Tensor:
        return self.inner.environment_seconds(sample)
