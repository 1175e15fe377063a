"""Joint sampling: denoise several modalities together, each seeing the others (CoDi §3.3)."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..denoisers import CaptionBank
from ..denoisers.exchange import Exchange
from ..errors import ArgumentError
from ..prompts import Condition
from .evidence import EvidenceExchange
from .guidance import Guidance, Prompts
from .partners import Partners
from .side_by_side import Asked, Workers
from .trajectory import Generators, Trajectory

Latents = dict[str, Tensor]

StepCallback = Callable[[dict[str, Tensor], Latents], Latents | None]
"""Called after each tick with the timesteps of the modalities that stepped and all latents; what it returns replaces
the latents of the modalities it names."""

PromptsOfTick = Callable[[Mapping[str, Trajectory], Callable[[str], Tensor]], Mapping[str, Condition]]
"""Asked before each tick with all trajectories and a function that returns a modality's environment tokens: the prompt of
each modality."""


@torch.no_grad()
def sample(
    denoisers: Mapping[str, Any],
    schedulers: Mapping[str, Any],
    latents: Mapping[str, Tensor],
    condition: Condition,
    unconditional: Condition | None = None,
    *,
    num_inference_steps: Mapping[str, int],
    guidance: Mapping[str, Guidance],
    exchange: Exchange = "others",
    given: Mapping[str, Tensor] | None = None,
    joint: bool | None = None,
    generator: Generators = None,
    callback: StepCallback | None = None,
    interrupted: Callable[[], bool] = lambda: False,
    prompts_of_tick: PromptsOfTick | None = None,
    spans: Mapping[str, float] | None = None,
    side_by_side: bool = False,
    bank: CaptionBank | None = None,
) -> Latents:
    """Turn noise into latents.

    Modalities with fewer steps than the longest schedule wait between their steps. Meanwhile the others see their
    latest latent at the timestep it has reached, and at timestep 0 once it is finished.

    Args:
        denoisers: a denoiser per modality, those in ``given`` included.
        schedulers: a diffusers scheduler per modality in ``latents``. Copies are used, so one object may serve several.
        latents: unit Gaussian noise [B, ...] per modality to generate.
        condition: the mixed prompt, tokens [B, N, D].
        unconditional: the negative or empty prompt; needed unless every guidance scale is 1.
        num_inference_steps: steps per modality.
        guidance: prompt and partner scales per modality.
        exchange: what joint generation attends to, see ``opencodi.denoisers.exchanged``.
        given: finished latents [B, ...] of other modalities, which are seen but not changed.
        joint: whether modalities see one another; by default, if there are several.
        generator: source of the noise that stochastic schedulers add.
        callback: see ``StepCallback``.
        interrupted: asked before each tick; true leaves the remaining steps out.
        prompts_of_tick: prompts that change while latents are made, in place of ``condition``.
        spans: share of the ticks in which a modality walks its schedule, see ``interleave``.
        side_by_side: whether denoisers may run in several threads on a CPU, see ``Workers``.
        bank: modalities exchange evidence, see ``EvidenceExchange``, in place of environment tokens; every denoiser needs
            an evidence encoder. None: they do not.

    Returns:
        Denoised latents [B, ...] per modality in ``latents``.

    Raises:
        ArgumentError: if ``latents`` is empty, or guidance is asked for without ``unconditional``.
    """
    if not latents:
        raise ArgumentError("latents: give noise for at least one modality")
    if unconditional is None and any(guidance[modality].is_guided for modality in latents):
        raise ArgumentError("unconditional: classifier-free guidance needs it; give it, or guidance_scale=1")
    trajectories = {m: Trajectory(schedulers[m], x, num_inference_steps[m]) for m, x in latents.items()}
    prompts = {m: Prompts(denoisers[m], condition, unconditional, x.dtype) for m, x in latents.items()}
    partners: Partners | EvidenceExchange = Partners(denoisers, trajectories, given or {}, exchange, joint)
    environment = partners.environment
    if bank is not None:
        partners = EvidenceExchange(denoisers, trajectories, condition, bank)
        prompts_of_tick = partners.prompts

    with Workers(side_by_side) as workers:
        for due in interleave({m: len(trajectory.timesteps) for m, trajectory in trajectories.items()}, spans):
            if interrupted():
                break
            if prompts_of_tick is not None:
                now = prompts_of_tick(trajectories, environment)
                for m in due:
                    if now[m] is not prompts[m].condition:  # else what was computed from it still holds
                        prompts[m] = Prompts(denoisers[m], now[m], unconditional, latents[m].dtype)
            seen = partners.seen()
            asked = {
                m: Asked(
                    denoisers[m],
                    *trajectories[m].current(),
                    prompts[m],
                    guidance[m].terms(trajectories[m].progress, prompts[m].is_prompted, seen[m] is not None),
                    seen[m],
                )
                for m in due
            }
            predictions = workers.predictions(asked)
            timesteps = {m: trajectories[m].step(predictions[m], generator) for m in due}
            if callback is not None:
                changed = callback(timesteps, {m: trajectory.latents for m, trajectory in trajectories.items()}) or {}
                for m, replacement in changed.items():
                    trajectories[m].latents = replacement
    return {m: trajectory.latents for m, trajectory in trajectories.items()}


def interleave(num_timesteps: Mapping[str, int], spans: Mapping[str, float] | None = None) -> list[list[str]]:
    """Which modalities step at each tick.

    A schedule of ``n`` steps is spread evenly over the ``N`` ticks of the longest: its step ``k`` is due at tick
    ``ceil(k * N / n)``, so that all are about equally noisy at any time. With a span of 0.5 it is spread over the first
    half of the ticks, of which there are enough for all its steps.
    """
    share = {modality: (spans or {}).get(modality, 1.0) for modality in num_timesteps}
    ticks = max(math.ceil(steps / share[modality]) for modality, steps in num_timesteps.items())
    due: list[list[str]] = [[] for _ in range(ticks)]
    for modality, steps in num_timesteps.items():
        width = max(steps, round(ticks * share[modality]))
        for k in range(steps):
            due[math.ceil(k * width / steps)].append(modality)
    return [tick for tick in due if tick]
