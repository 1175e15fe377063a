"""What outputs see of one another is drawn towards known texts, as prompts are."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..denoisers import Context
from ..sampling.request import Call
from .base import Extra


class AnchoredExchange(Extra):
    """Moves environment tokens with ``PromptAnchors.move``: they lie in the space of prompts."""

    needs = ("prompt_anchors",)

    def denoiser(self, denoiser: Any, modality: str, call: Call) -> Any:
        """The denoiser with moved environment tokens."""
        return _Moved(denoiser, call.part("prompt_anchors"))


@dataclass(frozen=True)
class _Moved:
    inner: Any
    anchors: Any

    def __call__(
        self, sample: Tensor, timesteps: Tensor, prompt: Context, environment: Context | None = None
    ) -> Tensor:
        return self.inner(sample, timesteps, prompt, environment)

    def context(self, *args: Any) -> Context:
        return self.inner.context(*args)

    def environment(self, sample: Tensor, timesteps: Tensor) -> Tensor:
        return self.anchors.move(self.inner.environment(sample, timesteps))

    def environment_seconds(self, sample: Tensor) -> Tensor:
        return self.inner.environment_seconds(sample)
