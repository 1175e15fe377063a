"""Stage 4: latent alignment for joint generation (paper §3.3, SPEC §8.3).

Environment encoders and alignment sub-layers of a pair of diffusers learn to exchange what they are denoising; everything
else is frozen. Pairs are text+image, then text+audio, then video+audio, each stage training the side that is new.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ...denoisers import FlatUNet, UNet
from ...denoisers.alignment import environment_tokens, joint_forward
from ...denoisers.topology import Denoiser
from ...errors import ConfigurationError
from ...modality import INFO, Modality, parse_modalities
from ..components import load_component
from ..objective import draw_noise, draw_timesteps, noised
from ..task import Task
from .diffusers import make_scheduler
from .pairs import PairedSet, audio_set, image_set, text_set, video_set

NETWORKS = {"text_denoiser": FlatUNet, "image_denoiser": UNet, "audio_denoiser": UNet}
SETS = {Modality.TEXT: text_set, Modality.IMAGE: image_set, Modality.VIDEO: video_set, Modality.AUDIO: audio_set}


class AlignmentTask(Task):
    """Denoising losses of both modalities plus InfoNCE between their environment tokens."""

    @dataclass(frozen=True)
    class Settings:
        """Which pair learns from what.

        Attributes:
            pair: the two modalities that are denoised together.
            train: those of the two whose alignment parts learn; the other's stay as an earlier stage left them.
            network: {component: config values} of alignment parts that do not exist yet.
            scheduler: as in the diffusers' recipes.
            shards: {modality: shards} to learn from.
            prompt_share: share of the pairs with a text prompt; the fewer, the more must come from the other modality.
            contrastive_weight: of InfoNCE beside the denoising losses.
            temperature: of InfoNCE.
            styles: art styles of the pictures, all if none is named.
        """

        pair: tuple[str, ...]
        train: tuple[str, ...]
        network: dict[str, Any]
        scheduler: dict[str, Any]
        shards: dict[str, Any]
        prompt_share: float
        contrastive_weight: float
        temperature: float
        styles: tuple[str, ...] = ()

    def __init__(self, settings: Settings, data: Path, model_folder: Path):
        super().__init__()
        self.settings = settings
        self.pair = parse_modalities(settings.pair, "pair")
        learning = parse_modalities(settings.train, "train")
        if len(self.pair) != 2 or not set(learning) <= set(self.pair):
            raise ConfigurationError("pair: give two modalities, and in train one or both of them")
        self.scheduler = make_scheduler(settings.scheduler)
        self.networks = torch.nn.ModuleDict(
            {
                name: _with_alignment(
                    load_component(NETWORKS[name], model_folder, name), settings.network.get(name, {})
                )
                for name in dict.fromkeys(INFO[modality].denoiser for modality in self.pair)
            }
        )
        for modality in learning:
            for _, parameter in self.denoisers[modality].alignment_parameters():
                parameter.requires_grad_(True)
        both = {modality: self._load_sets(modality, data, model_folder) for modality in self.pair}
        self.items = {modality: sets[0] for modality, sets in both.items()}
        self.held = {modality: sets[1] for modality, sets in both.items()}

    def _load_sets(self, modality: Modality, data: Path, model_folder: Path) -> tuple[PairedSet, PairedSet]:
        shards = dict.fromkeys(self.settings.shards.get(modality.value, ()), 1.0)
        options = {"styles": self.settings.styles} if modality == Modality.IMAGE else {}
        return SETS[modality](data, shards, model_folder, 1.0, (), **options)

    @property
    def denoisers(self) -> Mapping[Modality, Denoiser]:
        """The two networks by modality."""
        return {modality: self.networks[INFO[modality].denoiser] for modality in self.pair}

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> dict[str, torch.Tensor]:
        """Latents of both modalities, pairs of one concept, and condition [B, D] (zeros: no prompt)."""
        return _draw_pairs(self.items, rng, batch_size, self.settings.prompt_share)

    def forward(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Both modalities are noised to the same timestep and denoised together, each seeing the other."""
        condition = batch["condition"]
        timesteps = draw_timesteps(self.scheduler, len(condition), generator, condition.device)
        noisy, targets = {}, {}
        for modality in self.pair:
            latents = batch[modality.value]
            noise = draw_noise(latents.shape, self.denoisers[modality], generator, latents.device)
            noisy[modality], targets[modality] = noised(self.scheduler, latents, noise, timesteps)
        times = dict.fromkeys(self.pair, timesteps)
        tokens = environment_tokens(self.denoisers, noisy, times)
        predicted = joint_forward(self.denoisers, noisy, times, condition[:, None], "others", environments=tokens)
        losses = {m.value: F.mse_loss(predicted[m].float(), targets[m]) for m in self.pair}
        first, second = (tokens[modality].mean(1).float() for modality in self.pair)
        contrastive = _info_nce(first, second, batch["concept"], self.settings.temperature)
        total = sum(losses.values()) + self.settings.contrastive_weight * contrastive
        return {"loss": total, **losses, "contrastive": contrastive}

    def validate(self, generator: torch.Generator) -> dict[str, float]:
        """Denoising losses on validation pairs without prompt: seeing the other modality of the pair, and seeing noise."""
        if not _shared_concepts(self.held):
            return {}  # a small collection may hold out nothing that both modalities show
        batch = _draw_pairs(self.held, np.random.default_rng(0), 64, 0.0)
        batch = {name: value.to(self.device) for name, value in batch.items()}
        state = generator.get_state()
        seen = self(batch, generator)
        strange = {**batch, self.pair[0].value: batch[self.pair[0].value].roll(1, 0)}
        generator.set_state(state)
        unseen = self(strange, generator)
        second = self.pair[1].value
        return {**{k: float(v) for k, v in seen.items()}, f"{second}_beside_another_item": float(unseen[second])}

    def components(self) -> dict[str, Any]:
        """Both denoisers, with their alignment parts."""
        return dict(self.networks.items())


def _with_alignment(denoiser: Denoiser, changes: Mapping[str, Any]) -> Denoiser:
    """The network with alignment parts (new ones start as identities), everything frozen."""
    if not denoiser.config.alignment:
        denoiser = denoiser.extended(alignment=True, **changes)
    return denoiser.requires_grad_(False)


def _shared_concepts(sets: Mapping[Modality, PairedSet]) -> list[str]:
    first, second = sets.values()
    return sorted(first.by_concept.keys() & second.by_concept.keys())


def _draw_pairs(
    sets: Mapping[Modality, PairedSet], rng: np.random.Generator, count: int, prompt_share: float
) -> dict[str, torch.Tensor]:
    """Items of the second modality, each with one of the first of the same concept."""
    first, second = sets.values()
    shared = _shared_concepts(sets)
    if not shared:
        raise ConfigurationError(
            "shards: no concept is in both modalities of the pair; name shards that share concepts"
        )
    chosen = [shared[i] for i in rng.integers(0, len(shared), count)]
    place = {code: position for position, code in enumerate(shared)}
    rows = [[rng.choice(each.by_concept[code]) for code in chosen] for each in (first, second)]
    batch = {m.value: each.latents[r].float() for (m, each), r in zip(sets.items(), rows)}
    batch["condition"] = second.draw_conditions(np.array(rows[1]), {"text": prompt_share}, rng)
    batch["concept"] = torch.tensor([place[code] for code in chosen])
    return batch


def _info_nce(first: torch.Tensor, second: torch.Tensor, concept: torch.Tensor, temperature: float) -> torch.Tensor:
    """Symmetric InfoNCE between environment tokens [B, E]; items of one concept count as equals."""
    logits = first @ second.T / temperature
    same = (concept[:, None] == concept[None]).float()
    target = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
