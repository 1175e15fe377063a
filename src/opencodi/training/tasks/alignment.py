"""Stage 4: latent alignment for joint generation (paper §3.3, SPEC §8.3).

Environment encoders and alignment sub-layers of a pair of diffusers learn to exchange what they are denoising; everything
else is frozen. Pairs are text+image, then text+audio, then video+audio, each stage training the side that is new.
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
from ...denoisers import FlatUNet, UNet
from ...denoisers.alignment import environment_tokens, joint_forward
from ...denoisers.topology import Denoiser
from ...errors import ConfigurationError
from ...modality import MODALITIES, Modality, parse_modalities
from ..components import ModelFolder
from ..contrastive import info_nce
from ..objective import blurred, draw_noise, draw_timesteps, make_scheduler, noised
from ..recipe import Values
from ..task import Task

NETWORKS = {"text_denoiser": FlatUNet, "image_denoiser": UNet, "audio_denoiser": UNet}
ENVIRONMENT_BATCH_SIZE, ENVIRONMENT_LEARNING_RATE = 128, 1e-3


@dataclass
class Pairs:
    """What alignment learns from: sets of both modalities, whose items are paired by concept.

    Attributes:
        items: {modality: training set}.
        held: {modality: validation set}.
        synchronous: (training, validation) of the same, but the items at one position are a picture in motion and the sound
            that hits when it does, and positions 2k and 2k + 1 are the same thing on two beats; empty: none.
    """

    items: dict[Modality, PairedSet]
    held: dict[Modality, PairedSet]
    synchronous: tuple[dict[Modality, PairedSet], ...] = ()


class AlignmentTask(Task):
    """Denoising losses of both modalities plus InfoNCE between their environment tokens."""

    class Settings(Values):
        """Which pair learns from what.

        Attributes:
            pair: the two modalities that are denoised together.
            train: those of the two whose alignment parts learn; the other's stay as an earlier stage left them.
            network: {component: config values} of alignment parts that do not exist yet, or gain environment tokens.
            scheduler: as in the diffusers' recipes.
            prompt_share: share of the pairs with a text prompt; the fewer, the more must come from the other modality.
            thing_share: share of the pairs prompted by what kind of thing it is ("an animal"): which, they must agree on.
            contrastive_weight: of InfoNCE between the environment tokens of both, beside the denoising losses.
            bridge_weight: of InfoNCE, and of the distance in cosine, between environment tokens and the prompt embedding of
                the item's name. It puts the tokens into the space of prompts, text being the bridge here as well.
            environment_steps: batches of ``ENVIRONMENT_BATCH_SIZE`` pairs by which the environment encoders learn the same
                alone, before the first step.
            temperature: of InfoNCE.
            independent_timesteps: share of the pairs whose two modalities are noised to timesteps of their own. They teach
                one that begins to listen to one that is nearly done, as with ``exchange_lag``.
            finished_shares: {modality: share of the pairs in which it is finished (timestep 0) and only seen}, which one that
                comes later meets when outputs are made in turn. With 1 its denoiser need not run at all.
            environment_noise: as the diffusers' ``condition_noise``, on the environment tokens that the other hears, so that
                tokens of a modality never trained with it work, too.
            condition_noise: on prompts. What they leave open must come from the other modality.
            synchronous_share: share of the pairs that are synchronous: a picture in motion and the sound that hits when it
                does. For video and audio only, where it teaches when rather than what.
        """

        pair: tuple[str, ...]
        train: tuple[str, ...]
        network: dict[str, Any]
        scheduler: dict[str, Any]
        prompt_share: float
        contrastive_weight: float
        temperature: float
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
        self.networks = torch.nn.ModuleDict(
            {
                name: _with_alignment(parts.load(NETWORKS[name], name), settings.network.get(name, {}))
                for name in dict.fromkeys(MODALITIES[modality].denoiser for modality in self.pair)
            }
        )
        shares = settings.finished_shares
        if not set(shares) <= {m.value for m in self.pair} or not 0 <= sum(shares.values()) <= 1:
            raise ConfigurationError(
                "finished_shares: give shares of the modalities of the pair that add up to at most 1"
            )
        self.learning = learning
        for modality in learning:
            for _, parameter in self.denoisers[modality].alignment_parameters():
                parameter.requires_grad_(True)
        self.items, self.held = data.items, data.held
        self.synchronous = data.synchronous if settings.synchronous_share else ()

    @property
    def denoisers(self) -> Mapping[Modality, Denoiser]:
        """The two networks by modality."""
        return {modality: self.networks[MODALITIES[modality].denoiser] for modality in self.pair}

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> dict[str, torch.Tensor]:
        """Latents of both modalities, pairs of one concept, and condition [B, D] (zeros: no prompt)."""
        on_the_beat = rng.binomial(batch_size, self.settings.synchronous_share) if self.synchronous else 0
        parts = []
        if on_the_beat < batch_size:
            parts.append(_draw_pairs(self.items, rng, batch_size - on_the_beat, self.settings.prompt_shares))
        if on_the_beat:
            chosen = rng.integers(0, len(self.synchronous[0][Modality.VIDEO]), on_the_beat)
            parts.append(_synchronous_batch(self.synchronous[0], chosen, rng, self.settings.prompt_shares))
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def begin(self, generator: torch.Generator) -> None:
        """Environment encoders learn alone to name what they see: they are a small part of the work of a whole step."""
        rng = np.random.default_rng(generator.initial_seed())
        encoders = {modality: self.denoisers[modality].environment_encoder for modality in self.learning}
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
            place = place - share  # so that never both are finished
            noise = draw_noise(latents.shape, self.denoisers[modality], generator, device)
            noisy[modality], targets[modality] = noised(self.scheduler, latents, noise, times[modality])
        return noisy, targets, times

    def forward(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Both modalities are noised and denoised together, each seeing the other."""
        condition = batch["condition"]
        noisy, targets, times = self._noised(batch, generator)
        tokens = heard = environment_tokens(self.denoisers, noisy, times)
        if self.training:
            prompted = condition.norm(dim=-1, keepdim=True) > 0
            condition = blurred(condition, self.settings.condition_noise, generator) * prompted
            heard = {m: blurred(each, self.settings.environment_noise, generator) for m, each in tokens.items()}
        made = [m for m in self.pair if self.settings.finished_shares.get(m.value) != 1]
        predicted = joint_forward(self.denoisers, noisy, times, condition[:, None], "others", heard, made)
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
        """How far tokens [B, E] are from the prompt embeddings of their names."""
        name = batch["name"]
        return self._info_nce(tokens, name, batch["concept"]) + 1 - (tokens * name).sum(1).mean()

    def _info_nce(self, first: torch.Tensor, second: torch.Tensor, concept: torch.Tensor) -> torch.Tensor:
        """InfoNCE between embeddings [B, E]; items of one concept count as equals."""
        same = (concept[:, None] == concept[None]).float()
        return info_nce(first, second, 1 / self.settings.temperature, same)

    def validate(self, generator: torch.Generator) -> dict[str, float]:
        """Denoising losses on validation pairs without prompt: beside the own partner, and beside another.

        For pairs of one concept the other is an item of another concept; for synchronous ones the same item on another
        beat. Noise is the same both times.
        """
        measures: dict[str, float] = {}
        if _shared_concepts(self.held):  # a small collection may hold out nothing that both modalities show
            batch = _draw_pairs(self.held, np.random.default_rng(0), 64, {})
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
        """Both denoisers, with their alignment parts."""
        return dict(self.networks.items())


def _with_alignment(denoiser: Denoiser, changes: Mapping[str, Any]) -> Denoiser:
    """The network with alignment parts (new ones start as identities), everything frozen.

    Parts of an earlier run may gain what they lacked, such as environment tokens along time.
    """
    wanted = {"alignment": True, **changes}
    if any(denoiser.config.get(name) != value for name, value in wanted.items()):
        denoiser = denoiser.extended(**wanted)
    return denoiser.requires_grad_(False)


def _denoising(predicted: torch.Tensor, targets: torch.Tensor, unfinished: torch.Tensor) -> torch.Tensor:
    """Mean squared error of those that are not finished [B]; 0 if all are."""
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

    Concepts are equally likely, but where the prompt leaves open which: there as the second modality's weights say.
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
    """How likely each concept is where the prompt leaves open which; equally, if the items' weights do not say."""
    if items.open_weights is None:
        return np.full(len(codes), 1 / len(codes))
    mean = np.array([items.open_weights[items.by_concept[code]].mean() for code in codes])
    return mean / mean.sum()


def _concept_ids(codes: Iterable[str]) -> torch.Tensor:
    """[B], equal for equal concepts, whatever set they come from."""
    return torch.tensor([crc32(code.encode()) for code in codes])
