"""Stage 4: latent alignment for joint generation (paper §3.3, SPEC §8.3).

The alignment adapters of a pair of diffusers (environment encoders and cross-attention sub-layers) learn to exchange what the
diffusers are denoising. Everything else is frozen. The pairs are text+image, then text+audio, then video+audio. Each stage
trains the side that is new.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field

from ...data.paired import OPEN, THING, PairedSet, draw_kinds, other_beat
from ...denoisers import AlignmentAdapter, ComposedDenoiser, TemporalAdapter, environment_tokens, joint_forward
from ...errors import ConfigurationError
from ...extras.environment_map import EnvironmentMaps
from ...modality import MODALITIES, Modality, parse_modalities
from ..components import ModelFolder, build_network
from ..composed import DENOISERS, changed, in_order, load_maps, new_map
from ..contrastive import info_nce
from ..objective import blurred, draw_noise, draw_timesteps, make_scheduler, noised
from ..processes import gathered
from ..recipe import Values
from ..task import Task

ENVIRONMENT_BATCH_SIZE, ENVIRONMENT_LEARNING_RATE = 128, 1e-3


@dataclass
class Pairs:
    """What alignment learns from: sets of both modalities, whose items are paired by concept.

    Attributes:
        items: {modality: training set}.
        held: {modality: validation set}.
        synchronous: (training, validation) sets whose items at one position belong together: a still in motion, and a sound
            on the beat of that motion. Positions 2k and 2k + 1 show the same thing on two beats. Empty: no such sets.
    """

    items: dict[Modality, PairedSet]
    held: dict[Modality, PairedSet]
    synchronous: tuple[dict[Modality, PairedSet], ...] = ()

    def draw(self, rng: np.random.Generator, count: int, prompt_shares: Mapping[str, float]) -> dict[str, torch.Tensor]:
        """``count`` pairs to learn from, as ``AlignmentTask.sample_batch`` returns them."""
        return _draw_pairs(self.items, rng, count, prompt_shares)

    def draw_held(self, rng: np.random.Generator, count: int) -> dict[str, torch.Tensor] | None:
        """``count`` validation pairs without prompts; None if a small collection holds out nothing that both show."""
        return _draw_pairs(self.held, rng, count, {}) if _shared_concepts(self.held) else None


class AlignmentTask(Task):
    """Denoising losses of both modalities plus InfoNCE between their environment tokens."""

    class Settings(Values):
        """Which pair learns from what.

        Attributes:
            pair: the two modalities that are denoised together.
            train: those of the two whose alignment adapters learn. The adapter of the other stays as it is.
            network: {component: config values} of alignment adapters that are new, or that gain environment tokens.
            adapters: {component: config values} of environment maps that are trained with them.
            scheduler: as in the diffusers' recipes.
            prompt_share: share of the pairs with a text prompt. A pair without one must learn from the other modality.
            thing_share: share of the pairs whose prompt names only a kind of thing ("an animal"). The two must agree on one.
            contrastive_weight: of InfoNCE between the environment tokens of both, beside the denoising losses.
            bridge_weight: of InfoNCE and the cosine distance between environment tokens and the prompt embedding of the
                item's name. This loss moves the tokens into the shared space, as bridging alignment moves prompts.
            environment_steps: steps before the first one in which the environment encoders alone learn from that loss, each
                with ``ENVIRONMENT_BATCH_SIZE`` pairs.
            temperature: of InfoNCE.
            independent_timesteps: share of the pairs whose two modalities have different timesteps, as when one output
                begins after the other.
            finished_shares: {modality: share of the pairs in which its latent is free of noise (timestep 0)}. Outputs that
                are generated in turn meet such partners. With 1 the denoiser of that modality does not run.
            environment_noise: as the diffusers' ``condition_noise``, but on environment tokens. It lets a denoiser use the
                tokens of modalities that it was never trained with.
            condition_noise: as the diffusers' ``condition_noise``. A vague prompt leaves more to the other modality.
            synchronous_share: share of the pairs that come from the synchronous sets. For video and audio only, which learn
                from them when something happens.
        """

        pair: tuple[str, ...]
        train: tuple[str, ...]
        network: dict[str, Any]
        scheduler: dict[str, Any]
        prompt_share: float
        contrastive_weight: float
        temperature: float
        adapters: dict[str, Any] = Field(default_factory=dict)
        bridge_weight: float = 0.0
        environment_steps: int = 0
        independent_timesteps: float = 0.0
        environment_noise: float = 0.0
        condition_noise: float = 0.0
        thing_share: float = 0.0
        finished_shares: dict[str, float] = Field(default_factory=dict)
        synchronous_share: float = 0.0

        @property
        def prompt_shares(self) -> dict[str, float]:
            """{kind of prompt: share of the pairs that have it}."""
            shares = {"text": self.prompt_share, THING: self.thing_share}
            return {kind: share for kind, share in shares.items() if share}

    def __init__(self, settings: Settings, data: Pairs, parts: ModelFolder):
        super().__init__()
        self.settings = settings
        self.pair = parse_modalities(settings.pair, "pair")
        learning = parse_modalities(settings.train, "train")
        if len(self.pair) != 2 or not set(learning) <= set(self.pair):
            raise ConfigurationError("pair: give two modalities, and in train one or both of them")
        if settings.synchronous_share and not data.synchronous:
            raise ConfigurationError(
                "synchronous_share: is for the pair video and audio, with at least 2 synchronous_clips; else make it 0"
            )
        self.scheduler = make_scheduler(settings.scheduler, parts.scheduler_config())
        self.learning = learning
        self.trained: dict[str, torch.nn.Module] = {}
        self.networks = torch.nn.ModuleDict({modality: self._compose(modality, parts) for modality in self.pair})
        shares = settings.finished_shares
        if not set(shares) <= {m.value for m in self.pair} or not 0 <= sum(shares.values()) <= 1:
            raise ConfigurationError(
                "finished_shares: give shares of the modalities of the pair that add up to at most 1"
            )
        self.data = data
        self.synchronous = data.synchronous if settings.synchronous_share else ()

    @property
    def denoisers(self) -> Mapping[Modality, ComposedDenoiser]:
        """The two networks by modality."""
        return {modality: self.networks[modality] for modality in self.pair}

    def _compose(self, modality: Modality, parts: ModelFolder) -> ComposedDenoiser:
        """The frozen denoiser of a modality, with the alignment adapter and environment map that learn or are read.

        Those that learn go on from what the run reads; what it does not read is new.
        """
        record, environment_map = MODALITIES[modality], EnvironmentMaps.adapter_of[modality]
        denoiser = parts.load(DENOISERS[record.denoiser], record.denoiser)
        temporal = None if record.temporal is None else parts.load(TemporalAdapter, record.temporal)
        alignment, maps = self._alignment(modality, denoiser, parts), load_maps(parts, modality, joint=True)
        if modality in self.learning:
            if environment_map in self.settings.adapters and environment_map not in maps:
                made = new_map(environment_map, denoiser, self.settings.adapters[environment_map])
                maps[environment_map] = made.to(denoiser.device)
            learning = {record.alignment: alignment}
            learning |= {name: each for name, each in maps.items() if name == environment_map}
            self.trained |= {name: network.requires_grad_(True) for name, network in learning.items()}
        return ComposedDenoiser(denoiser, temporal, alignment, in_order(maps))

    def _alignment(self, modality: Modality, denoiser: torch.nn.Module, parts: ModelFolder) -> AlignmentAdapter:
        """The alignment adapter that the run reads, or a new one if it may learn and the run reads none."""
        name, video = MODALITIES[modality].alignment, MODALITIES[Modality.VIDEO]
        values = self.settings.network.get(name, {})
        if modality not in self.learning or parts.has(name):
            return changed(parts.load(AlignmentAdapter, name), values)
        if name == video.alignment and parts.has(video.temporal):  # images and videos share one
            values = {"temporal": parts.load(TemporalAdapter, video.temporal).config, **values}
        return build_network(AlignmentAdapter.for_denoiser, values, denoiser)

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> dict[str, torch.Tensor]:
        """Latents of both modalities, pairs of one concept, and condition [B, D] (zeros: no prompt)."""
        on_the_beat = rng.binomial(batch_size, self.settings.synchronous_share) if self.synchronous else 0
        parts = []
        if on_the_beat < batch_size:
            parts.append(self.data.draw(rng, batch_size - on_the_beat, self.settings.prompt_shares))
        if on_the_beat:
            chosen = rng.integers(0, len(self.synchronous[0][Modality.VIDEO]), on_the_beat)
            parts.append(_synchronous_batch(self.synchronous[0], chosen, rng, self.settings.prompt_shares))
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def begin(self, generator: torch.Generator) -> None:
        """Environment encoders learn alone to name what they see, which costs a small part of a whole step."""
        rng = np.random.default_rng(generator.initial_seed())
        encoders = {modality: self.denoisers[modality].alignment.environment_encoder for modality in self.learning}
        learned = [parameter for encoder in encoders.values() for parameter in encoder.parameters()]
        optimizer = torch.optim.AdamW(learned, lr=ENVIRONMENT_LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, self.settings.environment_steps))
        for _ in range(self.settings.environment_steps):
            batch = self.sample_batch(rng, ENVIRONMENT_BATCH_SIZE)
            batch = {name: value.to(self.device) for name, value in batch.items()}
            noisy, _, times = self._noised(batch, generator)
            seen = {modality: noisy[modality] for modality in self.learning}
            tokens = environment_tokens(self.denoisers, seen, times)
            loss = sum(self._bridge(_mean_token(each), batch) for each in tokens.values())
            for parameter, gradient in zip(learned, torch.autograd.grad(loss, learned, allow_unused=True)):
                parameter.grad = gradient
            torch.nn.utils.clip_grad_norm_(learned, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            schedule.step()

    def _noised(
        self, batch: dict[str, torch.Tensor], generator: torch.Generator
    ) -> tuple[dict[Modality, torch.Tensor], ...]:
        """(noisy latents, targets, timesteps [B]) of both modalities."""
        count, device = len(batch["condition"]), batch["condition"].device
        common = draw_timesteps(self.scheduler, count, generator, device)
        noisy, targets, times = {}, {}, {}
        place = torch.rand(count, generator=generator, device=device)
        for modality in self.pair:
            latents = batch[modality.value]
            own = draw_timesteps(self.scheduler, count, generator, device)
            apart = torch.rand(count, generator=generator, device=device) < self.settings.independent_timesteps
            share = self.settings.finished_shares.get(modality.value, 0.0)
            times[modality] = torch.where(apart, own, common).masked_fill((place >= 0) & (place < share), 0)
            place = place - share  # never both at timestep 0
            noise = draw_noise(latents.shape, self.denoisers[modality], generator, device)
            noisy[modality], targets[modality] = noised(self.scheduler, latents, noise, times[modality])
        return noisy, targets, times

    def forward(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Denoising losses of both modalities, each of which attends to the other."""
        condition = batch["condition"]
        noisy, targets, times = self._noised(batch, generator)
        tokens = blurry = environment_tokens(self.denoisers, noisy, times)
        if self.training:
            prompted = condition.norm(dim=-1, keepdim=True) > 0
            condition = blurred(condition, self.settings.condition_noise, generator) * prompted
            blurry = {m: blurred(each, self.settings.environment_noise, generator) for m, each in tokens.items()}
        made = [m for m in self.pair if self.settings.finished_shares.get(m.value) != 1]
        predicted = joint_forward(self.denoisers, noisy, times, condition[:, None], "others", blurry, made)
        losses = {m.value: _denoising(predicted[m], targets[m], times[m] > 0) for m in made}
        first, second = (_mean_token(tokens[modality]) for modality in self.pair)
        contrastive = self._info_nce(first, second, batch["concept"])
        total = sum(losses.values()) + self.settings.contrastive_weight * contrastive
        losses["contrastive"] = contrastive
        if self.settings.bridge_weight:
            losses["bridge"] = (self._bridge(first, batch) + self._bridge(second, batch)) / 2
            total = total + self.settings.bridge_weight * losses["bridge"]
        return {"loss": total, **losses}

    def _bridge(self, tokens: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """InfoNCE and cosine distance between tokens [B, E] and the prompt embeddings of their names."""
        name = batch["name"]
        return self._info_nce(tokens, name, batch["concept"]) + 1 - (tokens * name).sum(1).mean()

    def _info_nce(self, first: torch.Tensor, second: torch.Tensor, concept: torch.Tensor) -> torch.Tensor:
        """InfoNCE between embeddings [B, E] of all processes; items of one concept count as equals."""
        first, second, concept = (gathered(each) for each in (first, second, concept))
        same = (concept[:, None] == concept[None]).float()
        return info_nce(first, second, 1 / self.settings.temperature, same)

    def validate(self, generator: torch.Generator) -> dict[str, float]:
        """Denoising losses on validation pairs without a prompt, with the right partner and with a wrong one.

        The wrong partner of a pair of one concept shows another concept. The wrong partner of a synchronous pair is the same
        thing on another beat. The noise is the same both times.
        """
        measures: dict[str, float] = {}
        batch = self.data.draw_held(np.random.default_rng(0), 64)
        if batch is not None:
            first, second = (modality.value for modality in self.pair)
            seen, unseen = self._losses_beside(batch, {first: batch[first].roll(1, 0)}, generator)
            measures |= seen | ({f"{second}_beside_another_item": unseen[second]} if second in unseen else {})
        if self.synchronous:
            held = self.synchronous[1]
            chosen = np.arange(min(len(held[Modality.VIDEO]), 64))
            batch = _synchronous_batch(held, chosen, np.random.default_rng(0), {})
            other = _synchronous_batch(held, other_beat(chosen), np.random.default_rng(0), {})
            for watched, changed in zip(self.pair, reversed(self.pair)):
                own, another = self._losses_beside(batch, {changed.value: other[changed.value]}, generator)
                if watched.value in own:
                    measures[f"{watched}_on_the_beat"] = own[watched.value]
                    measures[f"{watched}_beside_another_beat"] = another[watched.value]
        return measures

    def score(self, measures: Mapping[str, float]) -> float | None:
        """The losses beside the right partner, negated."""
        right = [name for modality in self.pair for name in (modality.value, f"{modality}_on_the_beat")]
        losses = [measures[name] for name in right if name in measures]
        return -sum(losses) if losses else None

    def _losses_beside(
        self, batch: dict[str, torch.Tensor], others: dict[str, torch.Tensor], generator: torch.Generator
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Losses of a batch, and of it with ``others`` in place of one modality, with the same noise."""
        state, found = generator.get_state(), []
        for each in (batch, {**batch, **others}):
            generator.set_state(state)
            losses = self({name: value.to(self.device) for name, value in each.items()}, generator)
            found.append({name: float(value) for name, value in losses.items()})
        return found[0], found[1]

    def components(self) -> dict[str, Any]:
        """The alignment adapters and environment maps that learned."""
        return dict(self.trained)


def _denoising(predicted: torch.Tensor, targets: torch.Tensor, unfinished: torch.Tensor) -> torch.Tensor:
    """Mean squared error of the items that are ``unfinished`` [B]; 0 if there are none."""
    errors = (predicted.float() - targets).square().flatten(1).mean(1)
    return (errors * unfinished).sum() / unfinished.sum().clamp_min(1)


def _mean_token(tokens: torch.Tensor) -> torch.Tensor:
    """Environment tokens [B, n, E] as one embedding [B, E]."""
    return F.normalize(tokens.float().mean(1), dim=-1)


def _shared_concepts(sets: Mapping[Modality, PairedSet]) -> list[str]:
    first, second = sets.values()
    return sorted(first.by_concept.keys() & second.by_concept.keys())


def _draw_pairs(
    sets: Mapping[Modality, PairedSet], rng: np.random.Generator, count: int, prompt_shares: Mapping[str, float]
) -> dict[str, torch.Tensor]:
    """Items of the second modality, each with one of the first of the same concept.

    All concepts are equally likely where the prompt names the thing. Elsewhere the second modality's weights decide.
    """
    first, second = sets.values()
    shared = _shared_concepts(sets)
    if not shared:
        raise ConfigurationError(
            "shards: no concept is in both modalities of the pair; name shards that share concepts"
        )
    kinds = draw_kinds(rng, count, prompt_shares)
    openly = np.array([kind in OPEN for kind in kinds])
    either = rng.choice(len(shared), count, p=_open_shares(second, shared)), rng.integers(0, len(shared), count)
    chosen = [shared[i] for i in np.where(openly, *either)]
    rows = [[rng.choice(each.by_concept[code]) for code in chosen] for each in (first, second)]
    batch = {m.value: each.latents[r].float() for (m, each), r in zip(sets.items(), rows)}
    batch["condition"] = second.conditions(np.array(rows[1]), kinds, rng)
    batch["concept"] = _concept_ids(chosen)
    batch["name"] = first.first_condition(rows[0])
    return batch


def _synchronous_batch(
    sets: Mapping[Modality, PairedSet],
    chosen: np.ndarray,
    rng: np.random.Generator,
    prompt_shares: Mapping[str, float],
) -> dict[str, torch.Tensor]:
    """Items at these positions of both sets, with the prompts of the sound."""
    batch = {modality.value: each.latents[chosen].float() for modality, each in sets.items()}
    sounds = sets[Modality.AUDIO]
    batch["condition"] = sounds.conditions(chosen, draw_kinds(rng, len(chosen), prompt_shares), rng)
    batch["concept"] = _concept_ids([sounds.concepts[i] for i in chosen])
    batch["name"] = sets[Modality.VIDEO].first_condition(chosen)
    return batch


def _open_shares(items: PairedSet, codes: Sequence[str]) -> np.ndarray:
    """The chance of each concept where the prompt does not name the thing; all equal if the items have no such weights."""
    if items.open_weights is None:
        return np.full(len(codes), 1 / len(codes))
    mean = np.array([items.open_weights[items.by_concept[code]].mean() for code in codes])
    return mean / mean.sum()


def _concept_ids(codes: Iterable[str]) -> torch.Tensor:
    """[B], equal for equal concepts, whatever set they come from."""
    return torch.tensor([crc32(code.encode()) for code in codes])
