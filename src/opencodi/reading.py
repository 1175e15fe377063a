"""What a pipeline is given → its prompt: inputs encoded into the shared space, mixed, and drawn to known texts (paper §3.2)."""

from collections.abc import Mapping, Sequence
from typing import Any

from . import arguments
from .loading import LazyPipeline, PartsByModality
from .modality import INFO, Modality
from .prompts import Condition, mix

PROMPT_ENCODERS = [INFO[modality].prompt_encoder for modality in Modality]
ANCHORS = "prompt_anchors"


class ReadingPipeline(LazyPipeline):
    """The half of a pipeline that reads: it has prompt encoders and perhaps ``prompt_anchors``."""

    @property
    def prompt_encoders(self) -> Mapping[Modality, Any]:
        """What this model can read: input modality → prompt encoder."""
        return PartsByModality(self, {modality: info.prompt_encoder for modality, info in INFO.items()})

    def encode_prompts(self, inputs: arguments.Inputs, weights: Sequence[float], batch_size: int) -> Condition:
        """Encode every condition and mix them, tokens [batch_size, N, D]; without any, the unconditional one."""
        if not inputs:
            return next(iter(self.prompt_encoders.values())).unconditional(batch_size)
        encoded = [self._encode(m, items) for m, listed in inputs.items() for items in listed]
        mixed = self._mix([condition.spread(batch_size) for condition in encoded], weights)
        return self._anchored(mixed, only_text=set(inputs) == {Modality.TEXT})

    def _encode(self, modality: Modality, items: Sequence[Any]) -> Condition:
        """What items of one modality say; texts as the anchors understand them, if they do."""
        encoder = self.prompt_encoders[modality]
        condition = encoder.encode(items)
        if modality != Modality.TEXT or not self.has(ANCHORS) or self.prompt_anchors.sentences is None:
            return condition
        device = self.prompt_anchors.device
        return self.prompt_anchors.understood(condition.to(device), encoder.embed_texts(items).to(device))

    def _anchored(self, condition: Condition, only_text: bool) -> Condition:
        """Drawn towards known texts, if this model has any."""
        if not self.has(ANCHORS):
            return condition
        return self.prompt_anchors(condition.to(self.prompt_anchors.device), only_text)

    def encode_unconditional(
        self, inputs: arguments.Inputs, weights: Sequence[float], batch_size: int, negatives: list[str] | None
    ) -> Condition:
        """What guidance leads away from, tokens [batch_size, N, D]: the negative texts, or nothing in every modality.

        Nothing is mixed with the weights of the inputs, as in the reference (SPEC §1.2).
        """
        if not inputs and not negatives:
            return self.encode_prompts(inputs, weights, batch_size)
        if negatives:
            return self.prompt_encoders[Modality.TEXT].encode(negatives).spread(batch_size)
        empty = [
            self.prompt_encoders[modality].unconditional(batch_size) for modality in inputs for _ in inputs[modality]
        ]
        return self._mix(empty, weights)

    def _mix(self, conditions: list[Condition], weights: Sequence[float]) -> Condition:
        """Mix on the device that denoises; with offloading, each encoder may have answered from another."""
        device = self._execution_device
        return mix([condition.to(device) for condition in conditions], weights)
