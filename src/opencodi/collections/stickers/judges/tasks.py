"""The judges of the evaluation: what real pictures show, and what is heard in real sounds. They never see generated data."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ....data.augment import audio_batch, cut_mix, hide_bands, over_white, random_affine, vary_mel
from ....data.shards import Items
from ....data.soften import blur_each, soften
from ....errors import TrainingError
from ....evaluation.accuracy import accuracy
from ....training.components import ModelFolder, build_network
from ....training.pictures import save_grid
from ....training.recipe import Values
from ....training.task import Task
from .networks import AudioJudge, ImageJudge

SOFT = 1.0
"""Standard deviation in pixels of the blur that ``soft_top1`` is measured with."""


@dataclass
class JudgedPictures:
    """What the judge of pictures learns from.

    Attributes:
        training: {source: pictures to learn from}, uint8 RGBA.
        held: {source: pictures to validate on}.
        shares: {source: share of the batch}.
        names: {concept code: its name}.
    """

    training: dict[str, Items]
    held: dict[str, Items]
    shares: dict[str, float]
    names: dict[str, str]


@dataclass
class JudgedSounds:
    """What the judge of sounds learns from: ``training`` and ``held`` sounds, and the name of each concept code."""

    training: Items
    held: Items
    names: dict[str, str]


class ImageJudgeTask(Task):
    """Learn concept and style from pictures and single frames of clips, softened as generated pictures are."""

    class Settings(Values):
        """Network, and how pictures vary.

        Attributes:
            merged_styles: {style: the style it counts as}.
            network: config values of ``ImageJudge``.
            flipped_groups: groups of concepts that are the same seen in a mirror; arrows, hands and clocks are not.
            scale: zoom by up to ± this.
            shift: by up to this share of the side.
            degrees: turn by up to ± this.
            soften_share: see ``data.soften.soften``, as the next four.
            blur: standard deviation in pixels.
            quantisation: step.
            noise: standard deviation.
            colour: share.
            cut_share: of the batches in which every picture has a rectangle from another; the labels mix by area
                (CutMix, Yun et al. 2019).
            style_weight: of the loss of styles.
            label_smoothing: of both losses.
        """

        merged_styles: dict[str, str]
        network: dict[str, Any]
        flipped_groups: tuple[str, ...]
        scale: float
        shift: float
        degrees: float
        soften_share: float
        blur: float
        quantisation: float
        noise: float
        colour: float
        cut_share: float
        style_weight: float
        label_smoothing: float

    def __init__(self, settings: Settings, data: JudgedPictures, parts: ModelFolder):
        super().__init__()
        self.settings = settings
        self.pools = list(data.training.values())
        self.shares = np.array([data.shares[source] for source in data.training])
        self.shares = self.shares / self.shares.sum()
        seen = [record for pool in self.pools for record in pool.records]
        self.concepts = {code: i for i, code in enumerate(sorted({r["concept"] for r in seen}))}
        self.styles = {style: i for i, style in enumerate(sorted({self._style(r) for r in seen}))}
        names = [data.names[code] for code in self.concepts]
        self.judge = build_network(ImageJudge, settings.network, list(self.concepts), names, list(self.styles))
        self.labels = [self._labels(pool) for pool in self.pools]
        self.flips = [np.array([r["group"] in settings.flipped_groups for r in pool.records]) for pool in self.pools]
        judged = {shard: self._judged(items) for shard, items in data.held.items()}
        self.held = {shard: items for shard, items in judged.items() if len(items)}

    def _style(self, record: dict[str, Any]) -> str:
        return self.settings.merged_styles.get(record["style"], record["style"])

    def _labels(self, items: Items) -> np.ndarray:
        """Concept and style of each item, int64 [N, 2]."""
        return np.array([(self.concepts[r["concept"]], self.styles[self._style(r)]) for r in items.records])

    def _judged(self, items: Items) -> Items:
        """The items whose concept and style are among the labels."""
        known = [r["concept"] in self.concepts and self._style(r) in self.styles for r in items.records]
        return items.subset(np.flatnonzero(known))

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> dict[str, torch.Tensor]:
        """``pixel_values`` [B, 3, H, W] in [-1, 1]; ``concept`` and ``style`` int64 [B, 2], float32 ``shares`` [B, 2].

        Each picture has two labels of each kind, its own and another picture's, and the share of the area of each.
        """
        counts = rng.multinomial(batch_size, self.shares)
        pixels, labels, flips = [], [], []
        for pool, pool_labels, pool_flips, count in zip(self.pools, self.labels, self.flips, counts):
            chosen = rng.integers(0, len(pool), count)
            pixels.append(pool.media[chosen])
            labels.append(pool_labels[chosen])
            flips.append(pool_flips[chosen])
        pixel_values = over_white(np.concatenate(pixels))
        flip = torch.from_numpy(np.concatenate(flips) & (rng.random(batch_size) < 0.5))[:, None, None, None]
        pixel_values = torch.where(flip, pixel_values.flip(-1), pixel_values)
        s = self.settings
        pixel_values = random_affine(pixel_values, rng, s.scale, s.shift, s.degrees)
        pixel_values = soften(pixel_values, rng, s.soften_share, s.blur, s.quantisation, s.noise, s.colour)
        order = torch.from_numpy(rng.permutation(batch_size))
        pixel_values, own = cut_mix(pixel_values, pixel_values[order], rng, s.cut_share)
        label = torch.from_numpy(np.concatenate(labels))
        concept, style = torch.stack((label, label[order]), -1).unbind(1)
        return {
            "pixel_values": pixel_values,
            "concept": concept,
            "style": style,
            "shares": torch.tensor([own, 1 - own]).expand(batch_size, 2),
        }

    def forward(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Cross-entropy of concept and style."""
        output = self.judge(batch["pixel_values"])
        concept = self._cross_entropy(output.concept_logits, batch["concept"], batch["shares"])
        style = self._cross_entropy(output.style_logits, batch["style"], batch["shares"])
        return {
            "loss": concept + self.settings.style_weight * style,
            "concept": concept,
            "style": style,
            "top1": ((output.concept_logits.argmax(1, True) == batch["concept"]) * batch["shares"]).sum(1).mean(),
        }

    def _cross_entropy(self, logits: torch.Tensor, labels: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """Of logits [B, C] with two labels [B, 2] each, which count by their ``shares`` [B, 2]."""
        repeated = logits.float().unsqueeze(-1).expand(-1, -1, 2)
        smoothing = self.settings.label_smoothing
        losses = F.cross_entropy(repeated, labels, label_smoothing=smoothing, reduction="none")
        return (losses * shares).sum(1).mean()

    def validate(self, generator: torch.Generator) -> dict[str, float]:
        """Accuracies on real validation pictures, shard by shard, sharp and blurred; of concept and style."""
        found = {"concepts": float(len(self.concepts))}
        for shard, items in self.held.items():
            sharp = over_white(items.media).to(self.device)
            concept, style = torch.from_numpy(self._labels(items)).to(self.device).unbind(1)
            logits, style_logits = self._logits(sharp)
            soft, _ = self._logits(blur_each(sharp.cpu(), torch.full((len(sharp),), SOFT)).to(self.device))
            found |= {
                f"{shard}/items": float(len(items)),
                f"{shard}/top1": accuracy(logits, concept),
                f"{shard}/top5": accuracy(logits, concept, 5),
                f"{shard}/soft_top1": accuracy(soft, concept),
                f"{shard}/style_top1": accuracy(style_logits, style),
            }
        return found

    def score(self, measures: Mapping[str, float]) -> float | None:
        """The mean accuracy on the shards."""
        right = [value for name, value in measures.items() if name.endswith("/top1")]
        return float(np.mean(right)) if right else None

    def _logits(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = [self.judge(part) for part in pixel_values.split(128)]
        return torch.cat([o.concept_logits for o in outputs]), torch.cat([o.style_logits for o in outputs])

    def sample(self, path: Path, generator: torch.Generator) -> None:
        """Two rows of pictures as they are learned from, above validation pictures that are misjudged."""
        learned = self.sample_batch(np.random.default_rng(0), 32)["pixel_values"]
        rows = [learned]
        for items in self.held.values():
            pixel_values = over_white(items.media)
            concept = torch.from_numpy(self._labels(items)[:, 0])
            wrong = self._logits(pixel_values.to(self.device))[0].argmax(1).cpu() != concept
            rows.append(pixel_values[wrong][:32])
        save_grid(torch.cat(rows), path, columns=16)

    def components(self) -> dict[str, torch.nn.Module]:
        """The image judge."""
        return {"image_judge": self.judge}


class AudioJudgeTask(Task):
    """Learn what is heard from real sounds; they are few, so each is heard at other speeds, filtered and with gaps."""

    class Settings(Values):
        """Network, and how sounds vary.

        Attributes:
            least_sounds: a concept with fewer training sounds is not learned.
            evenness: 0: every sound is drawn equally often; 1: every concept.
            network: config values of ``AudioJudge``.
            speed: faster or slower by up to ± this share; pitch follows.
            tilt: the log-mel rises or falls by up to this from the lowest to the highest bin.
            noise: largest standard deviation added to the log-mel.
            blur: largest standard deviation of a blur of the log-mel, in frames and bins.
            hidden_frames: up to this many frames in a row are silenced.
            hidden_bins: up to this many bins in a row are silenced (both: SpecAugment, Park et al. 2019).
            label_smoothing: of the loss.
        """

        least_sounds: int
        evenness: float
        network: dict[str, Any]
        speed: float
        tilt: float
        noise: float
        blur: float
        hidden_frames: int
        hidden_bins: int
        label_smoothing: float

    def __init__(self, settings: Settings, data: JudgedSounds, parts: ModelFolder):
        super().__init__()
        self.settings = settings
        counts = Counter(record["concept"] for record in data.training.records)
        codes = sorted(code for code, count in counts.items() if count >= settings.least_sounds)
        if not codes:
            raise TrainingError(f"no concept has {settings.least_sounds} sounds to learn from; lower least_sounds")
        self.concepts = {code: i for i, code in enumerate(codes)}
        self.items, self.held = self._judged(data.training), self._judged(data.held)
        weight = np.array([counts[record["concept"]] ** -settings.evenness for record in self.items.records])
        self.chances = weight / weight.sum()
        self.judge = build_network(AudioJudge, settings.network, codes, [data.names[code] for code in codes])
        with torch.no_grad():
            mel = self.judge.mel(audio_batch(self.items.media[:: max(1, len(self.items) // 512)]))
        self.judge.register_to_config(mel_mean=round(float(mel.mean()), 4), mel_std=round(float(mel.std()), 4))

    def _judged(self, items: Items) -> Items:
        return items.subset(np.flatnonzero([record["concept"] in self.concepts for record in items.records]))

    def _labels(self, items: Items) -> torch.Tensor:
        return torch.tensor([self.concepts[record["concept"]] for record in items.records], dtype=torch.long)

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> dict[str, torch.Tensor]:
        """``waveform`` [B, samples] and ``concept`` int64 [B]."""
        chosen = rng.choice(len(self.items), batch_size, p=self.chances)
        return {
            "waveform": audio_batch(self.items.media[chosen], rng, self.settings.speed),
            "concept": self._labels(self.items.subset(chosen)),
        }

    def forward(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Cross-entropy of the concept."""
        with torch.no_grad():
            mel = self._varied(self.judge.mel(batch["waveform"]), generator)
        logits = self.judge(mel=mel).concept_logits.float()
        loss = F.cross_entropy(logits, batch["concept"], label_smoothing=self.settings.label_smoothing)
        return {"loss": loss, "top1": (logits.argmax(1) == batch["concept"]).float().mean()}

    def _varied(self, mel: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        s = self.settings
        mel = vary_mel(mel, s.tilt, s.noise, s.blur, generator)
        return hide_bands(mel, s.hidden_frames, s.hidden_bins, self.judge.config.mel_mean, generator)

    def validate(self, generator: torch.Generator) -> dict[str, float]:
        """Accuracies on the validation sounds of the concepts that are learned."""
        found = {"concepts": float(len(self.concepts)), "items": float(len(self.held))}
        if not len(self.held):
            return found
        labels = self._labels(self.held).to(self.device)
        logits = torch.cat(
            [self.judge(w.to(self.device)).concept_logits for w in audio_batch(self.held.media).split(64)]
        )
        return found | {"top1": accuracy(logits, labels), "top5": accuracy(logits, labels, 5)}

    def score(self, measures: Mapping[str, float]) -> float | None:
        """Accuracy."""
        return measures.get("top1")

    def sample(self, path: Path, generator: torch.Generator) -> None:
        """Spectrograms as they are learned from."""
        waveform = self.sample_batch(np.random.default_rng(0), 16)["waveform"].to(self.device)
        mel = self._varied(self.judge.mel(waveform), generator)
        save_grid((mel.transpose(-1, -2).flip(-2) + 5) / 6, path, columns=8)

    def components(self) -> dict[str, torch.nn.Module]:
        """The audio judge."""
        return {"audio_judge": self.judge}
