"""Where no text is asked for, one is made all the same, and the outputs see it.

Several outputs agree on what they show through it, and inputs that are not text alone are named first. This is no part of
the paper: agreement comes from a name that is made first, not from denoising together.
"""

from dataclasses import dataclass, replace

from ..arguments import needed_parts
from ..modality import MODALITIES, Modality
from ..sampling.plans import ExchangePlan, Samples
from ..sampling.request import Call, Request
from ..sampling.sample import Latents
from .base import Extra


class TextBridge(Extra):
    """Adds a hidden text to the outputs of a call.

    A single output of a text alone needs none: that text is the name already. A text among other inputs is none, since the
    mixture of a picture's and a text's embedding lies near neither.
    """

    def plan(self, plan: ExchangePlan, call: Call) -> ExchangePlan:
        """The plan with a hidden text, where one helps and the model can make it."""
        named = len(call.outputs) == 1 and call.inputs == {Modality.TEXT}
        able = all(call.has(name) for name in needed_parts([Modality.TEXT], [Modality.TEXT]))
        return plan if Modality.TEXT in call.outputs or named or not able else _Bridged(plan)


@dataclass(frozen=True)
class _Bridged:
    """A plan whose outputs are made beside a text that is not returned."""

    inner: ExchangePlan

    def run(self, sampler: Samples, request: Request) -> Latents:
        """Latents [B, ...] of ``request.outputs``."""
        made = self.inner.run(sampler, self._with_text(request))
        return {modality: made[modality] for modality in request.outputs}

    def num_ticks(self, sampler: Samples, request: Request) -> int:
        """How often the callback is called."""
        return self.inner.num_ticks(sampler, self._with_text(request))

    def made(self, request: Request) -> tuple[str, ...]:
        """The modalities that are denoised, the hidden text included."""
        return self.inner.made(self._with_text(request))

    @staticmethod
    def _with_text(request: Request) -> Request:
        wanted = {*request.outputs, Modality.TEXT}
        return replace(request, outputs=tuple(name for name in MODALITIES if name in wanted))
