"""What one call asks for: all that stands between its inputs and its latents."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..denoisers import CaptionBank
from ..prompts import Condition
from .guidance import Guidance
from .noise import Noise
from .sample import PromptsOfTick, StepCallback
from .trajectory import Generators


@dataclass(frozen=True)
class Call:
    """What was asked, and the rooms of the model that plans and extras may use.

    Attributes:
        outputs: modalities that were asked for, in the fixed order.
        inputs: modalities that were given.
        seeds: one per sample, for whatever is drawn.
        extras: the extras in use, by name.
        options: what the call says to extras, by argument.
        read: ``(modality, media) -> Condition``: what media say as inputs.
        decode: ``(modality, latents) -> media``.
        part: a component of the model by name.
        has: whether the model has a component.
    """

    outputs: tuple[str, ...]
    inputs: frozenset[str]
    seeds: Sequence[int]
    extras: Mapping[str, Any]
    options: Mapping[str, Any]
    read: Callable[[str, Sequence[Any]], Condition]
    decode: Callable[[str, Tensor], Sequence[Any]]
    part: Callable[[str], Any]
    has: Callable[[str], bool]


@dataclass(frozen=True)
class Request:
    """What is to be denoised for a call, as plans and samplers see it.

    Attributes:
        call: what was asked.
        outputs: modalities to make, in the fixed order; a plan may ask for more or fewer than the call.
        condition: the mixed prompt, tokens [B, N, D].
        unconditional: the negative or empty prompt, tokens [B, M, D].
        noise: where initial noise comes from.
        num_inference_steps, guidance: for every modality that the model can make.
        generator: source of the noise that stochastic schedulers add.
        callback: called after each tick.
        interrupted: whether the caller wants to stop.
        prompts_of_tick: prompts that change while outputs are made, see ``sample``.
        spans: share of the ticks in which a modality walks its schedule.
        bank: outputs exchange evidence under it, see ``EvidenceExchange``; None: environment tokens.
        draws: how many results of each sample are made side by side: latents are [B * draws, ...].
    """

    call: Call
    outputs: tuple[str, ...]
    condition: Condition
    unconditional: Condition
    noise: Noise
    num_inference_steps: Mapping[str, int]
    guidance: Mapping[str, Guidance]
    generator: Generators = None
    callback: StepCallback | None = None
    interrupted: Callable[[], bool] = lambda: False
    prompts_of_tick: PromptsOfTick | None = None
    spans: Mapping[str, float] = field(default_factory=dict)
    bank: CaptionBank | None = None
    draws: int = 1
