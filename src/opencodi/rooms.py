"""The rooms of a model that a call goes through: its prompt encoders, denoisers and codecs, over its parts."""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

import torch

from .arguments import CallArguments, needed_parts
from .denoisers import ComposedDenoiser
from .errors import ArgumentError
from .extras import PromptInput
from .modality import MODALITIES, Modality
from .parts import Parts
from .prompts import Condition, mix
from .sampling.request import Call
from .settings import extras_in_use


class Rooms:
    """What the parts of a model do together.

    Args:
        parts: of the model.
        settings: of its extras, ``{name: settings}``.
        device: where prompts are mixed and latents are denoised.
    """

    def __init__(self, parts: Parts, settings: Mapping[str, Mapping[str, Any]], device: torch.device):
        self.parts, self.settings, self.device = parts, settings, device

    def encode_inputs(self, call: Call, asked: CallArguments, repeats: int = 1) -> Condition:
        """Encode every input once and mix them, tokens [batch * repeats, N, D]; without any, the unconditional prompt."""
        listed = [(modality, items) for modality, conditions in asked.inputs.items() for items in conditions]
        encoded = [
            self._encode(m, items, weight, asked.batch_size) for (m, items), weight in zip(listed, asked.weights)
        ]
        if encoded:
            encoded = reduce(lambda each, extra: extra.inputs(each, call), call.extras.values(), encoded)
            mixed = self._mix([each.condition for each in encoded], asked.weights)
        else:
            mixed = self._nothing(asked.batch_size)
        mixed = mixed.repeated(repeats)
        return reduce(lambda prompt, extra: extra.prompt(prompt, call), call.extras.values(), mixed)

    def encode_unconditional(self, call: Call, asked: CallArguments) -> Condition:
        """What guidance leads away from, tokens [batch, N, D]: the negative texts, or nothing in every modality.

        Nothing is mixed with the weights of the inputs, as in the reference (SPEC §1.2).
        """
        batch_size = asked.batch_size
        if asked.negative_prompt:
            steered = call.read(Modality.TEXT, asked.negative_prompt).spread(batch_size).to(self.device)
            return reduce(lambda prompt, extra: extra.prompt(prompt, call, True), call.extras.values(), steered)
        modalities = [modality for modality, conditions in asked.inputs.items() for _ in conditions]
        if not modalities:
            return self._nothing(batch_size)
        return self._mix([self._absent(modality, batch_size) for modality in modalities], asked.weights)

    def _nothing(self, batch_size: int) -> Condition:
        """The prompt without any input."""
        readable = next(name for name, record in MODALITIES.items() if record.prompt_encoder in self.parts)
        return self._absent(readable, batch_size).to(self.device)

    def _absent(self, modality: str, batch_size: int) -> Condition:
        """The condition of no input of a modality."""
        return self.parts.get(MODALITIES[modality].prompt_encoder).unconditional(batch_size, **self._beside(modality))

    def _beside(self, modality: str) -> dict[str, Any]:
        """The components that a prompt encoder is given: clips are read with the image prompt encoder."""
        parts = MODALITIES[modality].prompt_encoder_parts
        return {argument: self.parts.get(name) for argument, name in parts.items()}

    def _encode(self, modality: str, items: Sequence[Any], weight: float, batch_size: int) -> PromptInput:
        condition, features = self.parts.get(MODALITIES[modality].prompt_encoder).read(items, **self._beside(modality))
        if features is not None and len(features) != batch_size:
            features = features.expand(batch_size, -1)
        return PromptInput(modality, condition.spread(batch_size), features, weight)

    def _mix(self, conditions: Sequence[Condition], weights: Sequence[float]) -> Condition:
        """Mix on the device that denoises; with offloading, each encoder may have answered from another."""
        return mix([condition.to(self.device) for condition in conditions], weights)

    def denoisers(self, made: Sequence[str], call: Call) -> dict[str, Any]:
        """A denoiser for each modality that is made, with the adapters that it needs and the extras of the call."""
        composed_of = {}
        for modality in made:
            record = MODALITIES[modality]
            together = len(made) > 1
            wanted = (record.temporal, record.alignment if together else None, record.evidence if together else None)
            parts = (self.parts.get(name) if name is not None and name in self.parts else None for name in wanted)
            temporal, alignment, evidence = parts
            composed: Any = ComposedDenoiser(self.parts.get(record.denoiser), temporal, alignment, evidence=evidence)
            for extra in call.extras.values():
                composed = extra.denoiser(composed, modality, call)
            composed_of[modality] = composed
        return composed_of

    def codec(self, modality: str, call: Call | None = None, condition: Condition | None = None) -> Any:
        """Latents ↔ media of one modality, with the extras of a call."""
        codec = MODALITIES[modality].build_codec(self.parts.get)
        extras = () if call is None else call.extras.values()
        return reduce(lambda inner, extra: extra.codec(inner, modality, condition, call), extras, codec)

    def call(
        self,
        outputs: Sequence[str],
        inputs: Iterable[str],
        extras: Sequence[str] | None,
        options: Mapping[str, Any] | None = None,
        seeds: Sequence[int] = (),
    ) -> Call:
        def read(modality: str, items: Sequence[Any]) -> Condition:
            encoded = [self._encode(modality, items, 1.0, len(items))]
            return reduce(lambda each, extra: extra.inputs(each, call), call.extras.values(), encoded)[0].condition

        options = dict(options or {})
        components = [name for name in self.parts.names if name in self.parts]
        call = Call(
            outputs=tuple(outputs),
            inputs=frozenset(inputs),
            seeds=seeds,
            extras=extras_in_use(self.settings, extras, options, components),
            options=options,
            read=read,
            decode=lambda modality, latents: self.codec(modality).decode(latents),
            part=self.parts.get,
            has=self.parts.__contains__,
        )
        return call

    def latent_shape(self, modality: str, num_samples: int, size: Mapping[str, Any]) -> tuple[int, ...]:
        """Shape of the latents to make, from the configs alone, so that nothing is loaded for a bad size."""
        shape = MODALITIES[modality].build_codec(self.parts.skeleton).latent_shape(num_samples, **size)
        temporal = MODALITIES[modality].temporal
        if temporal is not None and shape[2] > (most := self.parts.config(temporal)["max_frames"]):
            raise ArgumentError(f"num_frames: {shape[2]} frames asked, this model knows positions for {most}")
        return shape

    def frame_share(self, modality: str) -> float:
        """The share of the noise that all frames of a clip have in common."""
        temporal = MODALITIES[modality].temporal
        return 0.0 if temporal is None else self.parts.config(temporal)["shared_frame_noise"]

    def check_parts(self, inputs: Iterable[str], outputs: Sequence[str], negative: bool) -> None:
        """Refuse what this model lacks a part for."""
        for name, purpose in needed_parts(inputs, outputs, negative).items():
            if name not in self.parts:
                raise ArgumentError(f"this model has no {name}, which it needs {purpose}")
        if not any(record.prompt_encoder in self.parts for record in MODALITIES.values()):
            raise ArgumentError("this model has no prompt encoder; it needs one even without any input")
