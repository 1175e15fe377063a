"""A prompt that leaves open what to show names something that has a sound, if a sound is made of it.

"An animal" may be drawn as a platypus, of which nobody has a recording. See ``PromptAnchors.audible``.
"""

from torch import Tensor

from ..modality import Modality
from ..sampling.request import Request
from .base import Extra


class AudibleNames(Extra):
    """Names that have a sound count more where a sound is made."""

    needs = ("prompt_anchors",)

    def name(self, said: Tensor, request: Request) -> Tensor:
        """Embeddings of texts [B, D], moved all the way to a known name.

        Args:
            said: what the finished texts say.
            request: of which they are made.
        """
        anchors, call = request.call.part("prompt_anchors"), request.call
        if Modality.AUDIO in call.outputs and call.inputs <= {Modality.TEXT}:
            return anchors.audible(said, request.condition.tokens[:, 0].to(said))
        return anchors.move(said, share=1.0, audible=call.outputs == (Modality.AUDIO,))
