"""An encoder of evidence learns to say what noisy latents show: cross-entropy over a bank of captions, at all noise levels.

Candidates are the captions of the batch and those of the bank. With candidates from the distribution of captions, the inner
product that this loss asks for is a text's log-likelihood up to a constant of the sample (as for InfoNCE), so that evidence of
several modalities adds up.
"""

from itertools import permutations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ...data.evidence import Drawn, EvidenceSets
from ...denoisers import EvidenceEncoder, TemporalAdapter
from ...errors import ConfigurationError
from ...modality import MODALITIES, Modality, parse_modalities
from ...sampling.plans import CAPTION_BANK
from ..components import ModelFolder, build_network
from ..objective import draw_noise, draw_within, make_scheduler, noised
from ..processes import gathered
from ..recipe import Values
from ..showing import save_texts
from ..task import Task

LEVELS = (950, 900, 850, 800, 700, 500, 250)
"""Thousandths of the schedule at which content is validated and calibrated."""

BEAT_LEVELS = (995, 990, 980, 950, 900)
"""The same for beats."""

SAME = 0.999
"""Cosine from which two texts are one."""

FACTORS = torch.logspace(-1.5, 0.7, 45)
"""Of which the calibration chooses one at each level."""

MOST_HELD, HELD_AT_ONCE = 512, 64


class EvidenceTask(Task):
    """One modality; its encoder reads latents as the denoiser sees them."""

    class Settings(Values):
        """What is read, and at which noise.

        Attributes:
            modality: of the latents.
            network: config values of the ``EvidenceEncoder``.
            scheduler: as in the denoiser's recipe.
            window: timesteps in which it is decided what is made.
            window_share: share of the items whose timestep lies there; the others are anywhere.
            beat_window: timesteps in which it is decided when something happens, for items whose beats are known.
            beat_share: share of these items whose timestep lies there.
            name_share: chance that a caption is the plainest one.
            thing_weight: of naming single things, beside the captions.
            beat_weight: of saying when something happens.
        """

        modality: str
        network: dict[str, Any]
        scheduler: dict[str, Any]
        window: tuple[float, float] = (750, 950)
        window_share: float = 0.6
        beat_window: tuple[float, float] = (940, 999)
        beat_share: float = 0.5
        name_share: float = 0.3
        thing_weight: float = 0.5
        beat_weight: float = 1.0

    def __init__(self, settings: Settings, data: EvidenceSets, parts: ModelFolder):
        super().__init__()
        self.settings, self.data = settings, data
        self.modality = Modality(parse_modalities(settings.modality, "modality")[0])
        self.scheduler = make_scheduler(settings.scheduler, parts.scheduler_config())
        self.encoder = build_network(EvidenceEncoder, settings.network)
        if not 2 <= self.encoder.config.num_tokens <= 5:
            raise ConfigurationError("network: num_tokens must be 2 to 5, one for the whole and others for things")
        self.bank = data.bank.requires_grad_(False)
        # Where the networks are: on a GPU captions cost nothing there, and most of a step on its host.
        self.text_encoder = data.training.items.text_encoder.requires_grad_(False)
        temporal = MODALITIES[self.modality].temporal
        share = parts.load(TemporalAdapter, temporal).config.shared_frame_noise if temporal else 0.0
        self.noise = SimpleNamespace(shared_frame_noise=share)

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> dict[str, torch.Tensor]:
        """latents [B, ...], captions as input_ids and attention_mask [B, L], things [B, M] (numbers of names, -1: none) and
        beats [B, T] (-1: unknown).
        """
        return self._batch(self.data.training.draw(rng, batch_size))

    def _batch(self, drawn: Drawn) -> dict[str, torch.Tensor]:
        tokens = self.text_encoder.preprocess(drawn.captions)
        return {"latents": drawn.latents, "things": drawn.things, "beats": drawn.beats, **tokens}

    @torch.no_grad()
    def _embedded(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """The captions' embeddings [B, D]."""
        sentences = self.text_encoder.embed_sentences(batch["input_ids"], batch["attention_mask"])
        return F.normalize(self.text_encoder.project(sentences).tokens[:, 0].float(), dim=-1)

    def forward(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Cross-entropies of the caption, of the things and of the beats."""
        latents, settings = batch["latents"], self.settings
        count, device = len(latents), latents.device
        times = draw_within(self.scheduler, count, generator, device, settings.window, settings.window_share)
        if self.encoder.beat_head is not None:
            early = draw_within(self.scheduler, count, generator, device, settings.beat_window, 1.0)
            chosen = torch.rand(count, generator=generator, device=device) < settings.beat_share
            times = torch.where(chosen & (batch["beats"][:, 0] >= 0), early, times)
        noise = draw_noise(latents.shape, self.noise, generator, device)
        noisy, _ = noised(self.scheduler, latents, noise, times)
        read = self.encoder(noisy, times)
        own = self._embedded(batch)
        losses = {"caption": caption_loss(read.content[:, 0], gathered(own), self._texts, own)}
        losses["things"] = thing_loss(read.content[:, 1:], batch["things"], self._names)
        total = losses["caption"] + settings.thing_weight * losses["things"]
        if read.beats is not None:
            losses["beats"] = beat_loss(read.beats + self.encoder.beat_prior, batch["beats"])
            total = total + settings.beat_weight * losses["beats"]
        return {"loss": total, **losses}

    @property
    def _texts(self) -> torch.Tensor:
        return self.bank.embeddings.float()

    @property
    def _names(self) -> torch.Tensor:
        return self._texts[: self.bank.config.num_names]

    # ------------------------------------------------------------------ how well it is calibrated

    def validate(self, generator: torch.Generator) -> dict[str, float]:
        """At each level, on withheld items among their captions and the bank: the share named rightly (``top1_at_…``), the
        negative log-likelihood and the mean probability of the likeliest text, which calibrated evidence makes equal to that
        share (``sure_at_…``); for clips and sounds, how often the likeliest beat is one on which something happens.
        """
        found: dict[str, float] = {}
        for level in LEVELS:
            content, _, batch = self._read_held(level, generator)
            candidates, target = self._candidates(batch["caption"])
            chances = (content @ candidates.T).log_softmax(1)
            right = target.gather(1, chances.argmax(1, keepdim=True)) > 0
            found[f"top1_at_{level}"] = float(right.float().mean())
            found[f"nll_at_{level}"] = _negative(chances, target)
            found[f"sure_at_{level}"] = float(chances.exp().amax(1).mean())
        if self.encoder.beat_head is not None:
            for level in BEAT_LEVELS:
                _, beats, batch = self._read_held(level, generator)
                known = batch["beats"].amax(1) > 0
                if known.any():
                    right = batch["beats"].gather(1, beats.argmax(1, keepdim=True))[known] > 0
                    found[f"beat_at_{level}"] = float(right.float().mean())
        return found

    def finish(self) -> None:
        """Calibrate: at each level the factor under which withheld captions are likeliest."""
        generator = torch.Generator(self.device).manual_seed(0)
        rows = []
        # Where frozen weights are kept in half precision, only autocast joins them to what is not.
        halved = any(weight.dtype == torch.bfloat16 for weight in self.text_encoder.parameters())
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=halved):
            for level in LEVELS:
                content, _, batch = self._read_held(level, generator, raw=True)
                candidates, target = self._candidates(batch["caption"])
                logits = content @ candidates.T
                losses = [_negative(factor * logits, target) for factor in FACTORS.tolist()]
                time = level * self.scheduler.config.num_train_timesteps / 1000
                rows.append([time, round(float(FACTORS[int(np.argmin(losses))]), 4)])
        self.encoder.register_to_config(calibration=rows)

    @torch.no_grad()
    def _read_held(
        self, level: int, generator: torch.Generator, raw: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None, dict[str, torch.Tensor]]:
        """(content [N, D], beats [N, T], batch) of withheld items at a level; ``raw``: not calibrated."""
        count = min(len(self.data.held), MOST_HELD)
        contents, beats, parts = [], [], []
        time = int(level * self.scheduler.config.num_train_timesteps / 1000)
        for start in range(0, count, HELD_AT_ONCE):
            places = np.arange(start, min(start + HELD_AT_ONCE, count))
            batch = self._batch(self.data.held.first(places))
            batch = {name: value.to(self.device) for name, value in batch.items()}
            times = torch.full((len(places),), time, device=self.device)
            noise = draw_noise(batch["latents"].shape, self.noise, generator, self.device)
            noisy, _ = noised(self.scheduler, batch["latents"], noise, times)
            read = (self.encoder if raw else self.encoder.evidence)(noisy, times)
            contents.append(read.content[:, 0])
            beats.append(read.beats)
            parts.append({"caption": self._embedded(batch), "beats": batch["beats"]})
        joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        return torch.cat(contents), None if beats[0] is None else torch.cat(beats), joined

    def _candidates(self, captions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(texts [K, D] without repeats of the withheld captions, which are each item's own [N, K])."""
        texts = torch.unique(captions, dim=0)
        bank = self._texts
        candidates = torch.cat([texts, bank[(bank @ texts.T).amax(1) < SAME]])
        return candidates, ((captions @ candidates.T) > SAME).float()

    def sample(self, path: Path, generator: torch.Generator) -> None:
        """A text file: the caption of withheld items, and the likeliest names of their things at some levels."""
        lines = []
        names = self.data.training.names
        places = np.arange(min(len(self.data.held), 16))
        drawn = self.data.held.first(places)
        for level in (900, 800, 500):
            noise = draw_noise(drawn.latents.shape, self.noise, generator, self.device)
            times = torch.full((len(places),), int(level * self.scheduler.config.num_train_timesteps / 1000))
            times = times.to(self.device)
            noisy, _ = noised(self.scheduler, drawn.latents.to(self.device), noise, times)
            with torch.no_grad():
                read = self.encoder.evidence(noisy, times).content[:, 0] @ self._names.T
            for caption, row in zip(drawn.captions, read.topk(min(3, len(names))).indices.tolist()):
                lines.append(f"{level}\t{caption}\t{', '.join(names[number] for number in row)}")
        save_texts(lines, path)

    def components(self) -> dict[str, Any]:
        """The encoder, and the bank if this run makes it."""
        name = MODALITIES[self.modality].evidence or f"{self.modality}_evidence"
        return {name: self.encoder} | ({CAPTION_BANK: self.bank} if self.data.is_new else {})


def caption_loss(evidence: torch.Tensor, captions: torch.Tensor, bank: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each sample's own caption.

    Args:
        evidence: [B, D].
        captions: of all samples of the batch, [C, D].
        bank: further texts [K, D].
        own: of each sample [B, D]; every candidate that is the same text counts as right.
    """
    candidates = torch.cat([captions, bank])
    return _nll((evidence @ candidates.T), (own @ candidates.T > SAME).float()).mean()


def thing_loss(evidence: torch.Tensor, things: torch.Tensor, names: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the names of things, in the order that fits best.

    Args:
        evidence: [B, M, D]. The empty name, of what shows fewer than M things, has the log-likelihood 0.
        things: numbers of names [B, M], -1: none.
        names: [N, D].
    """
    logits = F.pad(evidence @ names.T, (0, 1))
    chances = logits.log_softmax(-1)
    targets = torch.where(things < 0, len(names), things)
    # [B, token, thing]: how likely each token makes each thing.
    table = chances.gather(2, targets[:, None].expand(-1, evidence.shape[1], -1))
    orders = [list(order) for order in permutations(range(things.shape[1]))]
    sums = torch.stack([table[:, order, range(len(order))].mean(1) for order in orders], dim=1)
    return -sums.amax(1).mean()


def beat_loss(logits: torch.Tensor, beats: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of log-odds [B, T] where ``beats`` [B, T] are known (not -1)."""
    known = (beats >= 0).float()
    errors = F.binary_cross_entropy_with_logits(logits, beats.clamp(min=0), reduction="none")
    return (errors * known).sum() / known.sum().clamp_min(1)


def _nll(logits: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """-log of the probability of all that is right, [B]."""
    return logits.logsumexp(1) - logits.masked_fill(right == 0, -torch.inf).logsumexp(1)


def _negative(logits: torch.Tensor, right: torch.Tensor) -> float:
    return float(_nll(logits, right).mean())
