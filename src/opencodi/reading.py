"""What a pipeline is given → its prompt: inputs encoded into the shared space, mixed, and drawn to known texts (paper §3.2)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from . import arguments
from .loading import LazyPipeline, PartsByModality
from .modality import MODALITIES, Modality
from .prompts import Condition, mix
from .sampling import sample

PROMPT_ENCODERS = [record.prompt_encoder for record in MODALITIES.values()]
ANCHORS, MANNER = "prompt_anchors", "manner_reader"


class ReadingPipeline(LazyPipeline):
    """The half of a pipeline that reads: it has prompt encoders and perhaps ``prompt_anchors`` and a ``manner_reader``."""

    @property
    def prompt_encoders(self) -> Mapping[Modality, Any]:
        """What this model can read: input modality → prompt encoder."""
        return PartsByModality(self, {modality: record.prompt_encoder for modality, record in MODALITIES.items()})

    def encode_prompts(
        self, inputs: arguments.Inputs, weights: Sequence[float], batch_size: int, outputs: Sequence[Modality] = ()
    ) -> Condition:
        """Encode every condition and mix them, tokens [batch_size, N, D]; without any, the unconditional one.

        ``outputs``: what is made of them; where it is a sound, names that have one count more (``PromptAnchors``).
        """
        if not inputs:
            return self._unconditional(next(iter(self.prompt_encoders)), batch_size)
        modalities = [modality for modality, listed in inputs.items() for _ in listed]
        encoded = [self._encode(m, items).spread(batch_size) for m, listed in inputs.items() for items in listed]
        if self.has(MANNER):
            encoded = self.manner_reader.led_by_texts(encoded, modalities, weights)
        mixed = self._mix(encoded, weights)
        if self.has(MANNER):
            mixed = self.manner_reader.decided(mixed)
        return self._anchored(mixed, set(inputs) == {Modality.TEXT}, outputs)

    def _encode(self, modality: Modality, items: Sequence[Any]) -> Condition:
        """What items of one modality say, and in which manner; texts as the anchors understand them, if they do."""
        encoder = self.prompt_encoders[modality]
        beside = self._beside(modality)
        condition = encoder.encode(items, **beside)
        understands = modality == Modality.TEXT and self.has(ANCHORS) and self.prompt_anchors.sentences is not None
        embeddings = encoder.embed(items, **beside) if understands or self.has(MANNER) else None
        if understands:
            device = self.prompt_anchors.device
            condition = self.prompt_anchors.understood(condition.to(device), embeddings.to(device))
        if self.has(MANNER) and embeddings is not None:
            device = self.manner_reader.device
            condition = self.manner_reader(condition.to(device), modality, embeddings.to(device))
        return condition

    def _unconditional(self, modality: Modality, batch_size: int) -> Condition:
        """The condition of no input of that modality."""
        return self.prompt_encoders[modality].unconditional(batch_size, **self._beside(modality))

    def _beside(self, modality: Modality) -> dict[str, Any]:
        """What the prompt encoder of a modality is given beside the inputs."""
        return {argument: getattr(self, name) for argument, name in MODALITIES[modality].prompt_encoder_parts.items()}

    def _anchored(self, condition: Condition, only_text: bool, outputs: Sequence[Modality] = ()) -> Condition:
        """Drawn towards known texts, if this model has any."""
        if not self.has(ANCHORS):
            return condition
        return self.prompt_anchors(condition.to(self.prompt_anchors.device), only_text, outputs)

    def encode_unconditional(
        self, inputs: arguments.Inputs, weights: Sequence[float], batch_size: int, negatives: list[str] | None
    ) -> Condition:
        """What guidance leads away from, tokens [batch_size, N, D]: the negative texts, or nothing in every modality.

        Nothing is mixed with the weights of the inputs, as in the reference (SPEC §1.2).
        """
        if not inputs and not negatives:
            return self.encode_prompts(inputs, weights, batch_size)
        if negatives:
            steered = self._encode(Modality.TEXT, negatives).spread(batch_size).to(self._execution_device)
            return self.manner_reader.decided(steered) if self.has(MANNER) else steered
        empty = [self._unconditional(modality, batch_size) for modality in inputs for _ in inputs[modality]]
        return self._mix(empty, weights)

    def _embed_latents(self, modality: Modality, latents: torch.Tensor) -> torch.Tensor:
        """Where outputs lie in the space of prompts, [B, D], as their prompt encoder reads them."""
        return self._encode(modality, self._codec(modality).decode(latents)).tokens[:, 0]

    def _read_latents(self, modality: Modality, latents: torch.Tensor) -> torch.Tensor | None:
        """An output as an input, tokens [B, N, D]; None if this model cannot read it."""
        record = MODALITIES[modality]
        if not all(self.has(name) for name in (record.prompt_encoder, *record.prompt_encoder_parts.values())):
            return None
        read = self._encode(modality, self._codec(modality).decode(latents))
        return self._anchored(read, only_text=modality == Modality.TEXT).tokens

    def _proofread(
        self,
        latents: torch.Tensor,
        noise: torch.Tensor,
        steps: int,
        guidance: float,
        heard: torch.Tensor | None = None,
        audible: bool = False,
    ) -> torch.Tensor:
        """Denoise the text's ``noise`` again, prompted by what its finished ``latents`` say, drawn to the nearest anchors.

        Without much of a prompt a text may lie between two names and decode to neither ("fire eng"); what it says is read as
        that which it nearly is. A name comes out as it was, unless a sound is made of it that cannot show it: where ``heard``
        (the prompts [B, D]) leave open of what (``PromptAnchors.audible``), or nothing but the sound is made (``audible``).
        """
        said = self._encode(Modality.TEXT, self._codec(Modality.TEXT).decode(latents))
        if self.has(ANCHORS):
            first, rest = said.tokens[:, 0].to(self.prompt_anchors.device), said.tokens[:, 1:]
            if heard is None:
                meant = self.prompt_anchors.move(first, share=1.0, audible=audible)
            else:
                meant = self.prompt_anchors.audible(first, heard.to(first))
            said = replace(said, tokens=torch.cat([meant[:, None], rest.to(meant)], dim=1))
        nothing = self.text_prompt_encoder.unconditional(len(latents))
        made = sample(
            {Modality.TEXT: self._denoiser(Modality.TEXT)},
            {Modality.TEXT: self.scheduler},
            {Modality.TEXT: noise},
            said.to(noise.device, noise.dtype),
            nothing.to(noise.device, noise.dtype),
            num_inference_steps={Modality.TEXT: steps},
            guidance_scale={Modality.TEXT: guidance},
        )
        return made[Modality.TEXT]

    def _codec(self, modality: Modality, part: Callable[[str], Any] | None = None) -> Any:
        """Latents ↔ media of one modality; ``part`` says how to get the components it is made of."""
        return MODALITIES[modality].build_codec(part or (lambda name: getattr(self, name)))

    def _mix(self, conditions: list[Condition], weights: Sequence[float]) -> Condition:
        """Mix on the device that denoises; with offloading, each encoder may have answered from another."""
        device = self._execution_device
        return mix([condition.to(device) for condition in conditions], weights)
