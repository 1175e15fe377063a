"""What an extra is: an object that stands beside the core and changes one thing at one place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ..prompts.condition import Condition
from ..sampling.plans import ExchangePlan, Samples
from ..sampling.request import Call


@dataclass(frozen=True)
class PromptInput:
    """One input of a call after its prompt encoder.

    Attributes:
        modality: of the input.
        condition: what its prompt encoder made of it, tokens [B, N, D].
        features: what the encoder saw before its projection [B, F], or None if it does not tell.
        weight: how much it counts in the mixture.
    """

    modality: str
    condition: Condition
    features: Tensor | None
    weight: float


class Extra:
    """Base of all extras. Each overrides the one or two methods that it needs; the others change nothing.

    Attributes:
        needs: components of the model; without one of them the extra is left out.
        arguments: arguments of a call that it takes, see ``Call.options``.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    arguments: ClassVar[tuple[str, ...]] = ()

    def check(self, call: Call) -> None:
        """Refuse a call that this extra cannot serve, before any work."""

    def inputs(self, inputs: list[PromptInput], call: Call) -> list[PromptInput]:
        """Change inputs before they are mixed."""
        return inputs

    def prompt(self, condition: Condition, call: Call, negative: bool = False) -> Condition:
        """Change the mixed prompt, or the negative one."""
        return condition

    def plan(self, plan: ExchangePlan, call: Call) -> ExchangePlan:
        """Change the order in which outputs are made."""
        return plan

    def sampler(self, sampler: Samples, call: Call) -> Samples:
        """Change how outputs are denoised."""
        return sampler

    def denoiser(self, denoiser: Any, modality: str, call: Call) -> Any:
        """Change the denoiser of a modality."""
        return denoiser

    def codec(self, codec: Any, modality: str, condition: Condition, call: Call) -> Any:
        """Change the codec that decodes a modality."""
        return codec

    def settings(self) -> Mapping[str, Any]:
        """What it was made with, as the model folder stores it."""
        return {}
