"""Denoise several modalities together, each with its own scheduler, steps and guidance (CoDi §3.3)."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..denoisers import Context
from ..denoisers.exchange import Exchange, environment_seconds, exchanged
from ..errors import ArgumentError
from ..modality import Modality
from ..prompts import Condition
from .guidance import guidance_context, guided_prediction

Latents = dict[Modality, Tensor]
Embedder = Callable[[Modality, Tensor], Tensor]
"""Where the latents [N, ...] of a finished output lie in the space of prompts: [N, D]."""

Reader = Callable[[Modality, Tensor], Tensor | None]
"""What the latents of a finished output say as an input: prompt tokens [B, n, D], or None where nothing can read it."""

StepCallback = Callable[[int, dict[Modality, Tensor], Latents], Latents | None]


def due_steps(
    num_timesteps: Mapping[Modality, int], order: Sequence[Modality] = (), lag: float = 0.0
) -> list[list[Modality]]:
    """Which modalities step at each tick.

    A schedule of ``n`` steps is spread evenly over the ``N`` ticks of the longest: its step ``k`` is due at tick
    ``ceil(k * N / n)``, so that all are about equally noisy at any time. With ``lag`` each modality begins that share of
    ``N`` later than the one before it in ``order`` (those not named come last), and sees it the clearer.
    """
    ticks = max(num_timesteps.values())
    ranked = sorted(
        num_timesteps, key=lambda modality: list(order).index(modality) if modality in order else len(order)
    )
    starts = {modality: round(lag * ticks * rank) for rank, modality in enumerate(ranked)}
    due: list[list[Modality]] = [[] for _ in range(ticks + max(starts.values()))]
    for modality, steps in num_timesteps.items():
        for k in range(steps):
            due[starts[modality] - (-k * ticks // steps)].append(modality)
    return due


@torch.no_grad()
def sample(
    denoisers: Mapping[Modality, Any],
    schedulers: Mapping[Modality, Any],
    latents: Mapping[Modality, Tensor],
    condition: Condition,
    unconditional: Condition | None = None,
    *,
    num_inference_steps: Mapping[Modality, int],
    guidance_scale: Mapping[Modality, float],
    guidance_interval: Mapping[Modality, tuple[float, float]] | None = None,
    exchange: Exchange = "others",
    exchange_order: Sequence[Modality] = (),
    exchange_lag: float = 0.0,
    guide_exchange: bool = False,
    exchange_weight: float = 0.0,
    anchors: Callable[[Tensor], Tensor] | None = None,
    read: Reader | None = None,
    embed: Embedder | None = None,
    generator: torch.Generator | list[torch.Generator] | None = None,
    callback: StepCallback | None = None,
) -> Latents:
    """Turn noise into latents.

    Modalities with fewer steps than the longest schedule wait between their steps; meanwhile the others see, through
    the environment, their latest latent at the timestep it has reached (0 once finished). One that begins later than
    the first is not seen before it has begun: its noise has nothing to say.

    Args:
        denoisers: a network per modality; image and video may be the same object.
        schedulers: a diffusers scheduler per modality; copies are used, so one object may serve several.
        latents: unit Gaussian noise [B, ...] per modality to generate; or [B * n, ...], n candidates of each sample in a row,
            of which the one is kept that lies nearest to its prompt (by ``embed``) when they are finished. Others see the first
            of them until then.
        condition: the mixed prompt, tokens [B, N, D].
        unconditional: the negative or empty prompt; needed unless every guidance scale is 1.
        num_inference_steps: steps per modality.
        guidance_scale: classifier-free guidance per modality; 1 turns it off and halves the cost.
        guidance_interval: which part of its steps is guided, per modality, as ``(start, end)`` of 1 from noise to result; the
            rest has scale 1 (Kynkäänniemi et al. 2024). All of them where not given.
        exchange: what joint generation attends to, see ``opencodi.denoisers.exchanged``.
        exchange_order, exchange_lag: who begins first and how much later the next, see ``due_steps``.
        guide_exchange: guidance leads towards the other modalities as well, see ``guided_prediction``.
        exchange_weight: an output that is finished counts as one more input of the others, with this weight beside the 1 of the
            prompt, see ``joined_by``. 0: it is seen by the alignment sub-layers alone.
        read: how a finished output is read when it counts as an input; by its environment tokens if None.
        anchors: changes environment tokens [B, n, E] before others see them, and prompts that finished outputs joined; None
            leaves them.
        embed: where candidates lie in the space of prompts; needed if there are several.
        generator: source of the noise that stochastic schedulers add.
        callback: called after each tick with (tick, timesteps of the modalities that stepped, all latents); what it
            returns, if anything, replaces the latents of the modalities it names.

    Returns:
        Denoised latents [B, ...] per modality.

    Raises:
        ArgumentError: if guidance is asked for without ``unconditional``, there are candidates and no ``embed``, or
            ``latents`` is empty.
    """
    if not latents:
        raise ArgumentError("latents: give noise for at least one modality")
    if unconditional is None and any(guidance_scale[modality] != 1 for modality in latents):
        raise ArgumentError("unconditional: classifier-free guidance needs it; give it, or guidance_scale=1")
    candidates = {modality: len(x) // len(condition.tokens) for modality, x in latents.items()}
    if embed is None and max(candidates.values()) > 1:
        raise ArgumentError("embed: choosing among candidates needs it; give it, or noise for one of each sample")
    schedulers = {modality: deepcopy(schedulers[modality]) for modality in latents}
    for modality, x in latents.items():
        schedulers[modality].set_timesteps(num_inference_steps[modality], device=x.device)
    timesteps = {modality: scheduler.timesteps for modality, scheduler in schedulers.items()}
    # Flow matching schedulers have neither of these two: their noise has unit variance and goes in as it is.
    latents = {m: x * getattr(schedulers[m], "init_noise_sigma", 1.0) for m, x in latents.items()}
    joined: dict[tuple[Modality, ...], Condition] = {}
    prompts: dict[tuple[Modality, tuple[Modality, ...], float], Context] = {}
    schedule = due_steps({modality: len(t) for modality, t in timesteps.items()}, exchange_order, exchange_lag)
    steps_done = dict.fromkeys(latents, 0)
    environments: dict[Modality, Tensor] = {}
    as_inputs: dict[Modality, Tensor] = {}
    seconds = environment_seconds(denoisers, latents) if len(latents) > 1 else None
    silent = set(latents) - set(schedule[0])

    def current(modality: Modality) -> tuple[Tensor, Tensor]:
        """What a network sees of a latent and its candidates: (scaled input [B * n, ...], timesteps [B * n])."""
        x, step = latents[modality], steps_done[modality]
        if step == len(timesteps[modality]):
            return x, torch.zeros(x.shape[0], dtype=timesteps[modality].dtype, device=x.device)
        t, scheduler = timesteps[modality][step], schedulers[modality]
        scaled = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        return scaled, t.expand(x.shape[0])

    def scale_now(modality: Modality) -> float:
        """The guidance scale of the step that comes next."""
        start, end = (guidance_interval or {}).get(modality, (0.0, 1.0))
        inside = start <= steps_done[modality] / len(timesteps[modality]) < end
        return guidance_scale[modality] if inside else 1.0

    for tick, due in enumerate(schedule):
        if len(latents) > 1:
            for modality in latents:  # only those whose latent changed since the last tick
                if modality not in environments and modality not in silent:
                    first = (x[:: candidates[modality]] for x in current(modality))
                    tokens = denoisers[modality].environment(*first)
                    environments[modality] = tokens if anchors is None else anchors(tokens)
        finished = tuple(m for m in latents if exchange_weight and steps_done[m] == len(timesteps[m]))
        seen = exchanged(environments, exchange, seconds, listeners=latents)
        for each in finished:
            if each not in as_inputs:
                tokens = None if read is None else read(each, latents[each])
                as_inputs[each] = environments[each] if tokens is None else tokens
        if finished not in joined:
            joined[finished] = joined_by(condition, [as_inputs[m] for m in finished], exchange_weight, anchors)
        scales = {modality: scale_now(modality) for modality in due}
        for modality, scale in scales.items():
            if (modality, finished, scale) not in prompts:
                halves = (each and each.repeated(candidates[modality]) for each in (joined[finished], unconditional))
                prompts[modality, finished, scale] = guidance_context(
                    denoisers[modality], *halves, scale, latents[modality].dtype
                )
        predictions = {
            modality: guided_prediction(
                denoisers[modality],
                *current(modality),
                prompts[modality, finished, scale],
                scale,
                _repeated(seen.get(modality), candidates[modality]),
                guide_exchange,
            )
            for modality, scale in scales.items()
        }
        stepped = {modality: timesteps[modality][steps_done[modality]] for modality in due}
        for modality, prediction in predictions.items():
            latents[modality] = _step(schedulers[modality], prediction, stepped[modality], latents[modality], generator)
            steps_done[modality] += 1
            environments.pop(modality, None)
            if candidates[modality] > 1 and steps_done[modality] == len(timesteps[modality]):
                embeddings = embed(modality, latents[modality])
                latents[modality] = nearest(latents[modality], embeddings, joined[finished].tokens[:, 0])
                candidates[modality] = 1
        silent -= set(due)
        if callback is not None:
            changed = callback(tick, stepped, dict(latents)) or {}
            latents.update(changed)
            for modality in changed:
                environments.pop(modality, None)
    return latents


def joined_by(
    condition: Condition, shown: Sequence[Tensor], weight: float, anchors: Callable[[Tensor], Tensor] | None = None
) -> Condition:
    """A prompt with what finished outputs show as further inputs.

    Args:
        condition: the mixed prompt, tokens [B, N, D]; the first is the aligned embedding, zeros if there is none.
        shown: tokens [B, n, D] of each finished output, which lie in the space of prompts.
        weight: of them together, beside the 1 of the prompt.
        anchors: moves the first token afterwards; None leaves it.

    Returns:
        The prompt with its first token moved, of length 1.

    Raises:
        ArgumentError: if these tokens and prompts differ in width: they are not of one space then.
    """
    if not shown or not weight:
        return condition
    widths = condition.tokens.shape[-1], shown[0].shape[-1]
    if widths[0] != widths[1]:
        raise ArgumentError(
            f"exchange_weight: prompts have width {widths[0]} and environment tokens {widths[1]}; only with one width can an "
            "output count as an input, so make exchange_weight 0"
        )
    together = torch.stack([tokens.mean(1) for tokens in shown]).mean(0).to(condition.tokens)
    first = F.normalize(condition.tokens[:, 0] + weight * F.normalize(together, dim=-1), dim=-1)
    moved = first[:, None] if anchors is None else anchors(first[:, None])
    return replace(condition, tokens=torch.cat([moved, condition.tokens[:, 1:]], dim=1))


def nearest(candidates: Tensor, embeddings: Tensor, prompts: Tensor) -> Tensor:
    """Of several candidates of each sample the one that its prompt lies nearest to, by cosine; without a prompt the first.

    Args:
        candidates: [B * n, ...], those of a sample in a row.
        embeddings: of them, in the space of prompts [B * n, D].
        prompts: [B, D]; zeros are no prompt.

    Returns:
        [B, ...].
    """
    each = F.normalize(embeddings.float(), dim=-1).unflatten(0, (len(prompts), -1))  # [B, n, D]
    best = torch.einsum("bnd,bd->bn", each, prompts.to(each)).argmax(1).to(candidates.device)
    return candidates.unflatten(0, (len(prompts), -1))[torch.arange(len(prompts), device=best.device), best]


def _repeated(environment: Context | None, times: int) -> Context | None:
    """The same for each of a sample's candidates."""
    if environment is None or times == 1:
        return environment
    tokens = environment.tokens.repeat_interleave(times, 0)
    return Context(tokens, seconds=environment.seconds, bias=environment.bias)


def _step(scheduler: Any, prediction: Tensor, timestep: Tensor, sample: Tensor, generator: Any) -> Tensor:
    """One scheduler step; deterministic schedulers take no generator. Candidates of a sample share its generator."""
    if isinstance(generator, list):
        generator = [each for each in generator for _ in range(len(sample) // len(generator))]
    takes_generator = "generator" in inspect.signature(scheduler.step).parameters
    options = {"generator": generator} if takes_generator else {}
    return scheduler.step(prediction, timestep, sample, return_dict=False, **options)[0].to(sample.dtype)
