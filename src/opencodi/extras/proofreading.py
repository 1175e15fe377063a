"""A text is drawn once more, prompted by what it says alone, so that a broken word becomes the known one that it nearly is.

Without much of a prompt a text may lie between two names and decode to neither ("fire eng").
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..modality import MODALITIES, Modality
from ..sampling.plans import Samples
from ..sampling.request import Call, Request
from ..sampling.sample import Latents
from .audible_names import AudibleNames
from .base import Extra


class Proofreading(Extra):
    """Denoises every finished text a second time."""

    needs = ("text_prompt_encoder",)

    def sampler(self, sampler: Samples, call: Call) -> Samples:
        """The sampler, with a second pass for texts."""
        return _Proofread(sampler)


@dataclass(frozen=True)
class _Proofread:
    inner: Samples

    def __call__(self, request: Request, given: Latents | None = None, joint: bool | None = None) -> Latents:
        """Make ``request.outputs``, and the text among them twice."""
        made = self.inner(request, given, joint)
        if Modality.TEXT in made and not request.interrupted():
            made |= self.inner(self._second(request, made[Modality.TEXT]), None, False)
        return made

    def num_ticks(self, request: Request) -> int:
        """Those of the first pass, and of the second."""
        ticks = self.inner.num_ticks(request)
        if Modality.TEXT in request.outputs:
            ticks += self.inner.num_ticks(replace(request, outputs=(Modality.TEXT,)))
        return ticks

    def _second(self, request: Request, latents: Tensor) -> Request:
        """The request of the second pass: the same noise, prompted by what the first text says."""
        call = request.call
        said = call.read(Modality.TEXT, call.decode(Modality.TEXT, latents))
        if "prompt_anchors" in call.extras:
            first = said.tokens[:, 0].to(call.part("prompt_anchors").device)
            if "audible_names" in call.extras:
                meant = AudibleNames().name(first, request)
            else:
                meant = call.part("prompt_anchors").move(first, share=1.0)
            said = replace(said, tokens=torch.cat([meant[:, None], said.tokens[:, 1:].to(meant)], dim=1))
        nothing = call.part(MODALITIES[Modality.TEXT].prompt_encoder).unconditional(len(latents))
        options = {**call.options, "num_candidates": {}}
        return replace(
            request,
            call=replace(call, options=options),
            outputs=(Modality.TEXT,),
            condition=said,
            unconditional=nothing,
        )
