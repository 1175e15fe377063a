"""Stage 3: one diffuser per modality, each trained on its own (paper §3.2).

Every item of a set has latents and, for each kind of prompt it is paired with, condition embeddings; a training batch draws
one kind for each item. Pairs are text–x and x–x only (and x–text for text): image–audio never occurs.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ...data.paired import THING, PairedSet
from ...denoisers import FlatUNet, UNet
from ...errors import ConfigurationError
from ...extras.manner import MANNER
from ...modality import Modality
from ...prompts import Condition
from ...sampling import Guidance, sample
from ..components import ModelFolder
from ..objective import blurred, draw_noise, draw_timesteps, make_scheduler, noised
from ..pictures import save_grid
from ..prompt_map import fit_prompt_map, prompt_map_loss
from ..recipe import Values
from ..task import Task

SAMPLE_STEPS, SAMPLE_GUIDANCE = 20, 2.0


class DiffuserTask(Task):
    """Train one denoiser on the latents of a frozen autoencoder.

    Subclasses say which network and how to show samples. The data is a (training, validation) pair of sets.
    """

    modality: Modality
    component: str

    class Settings(Values):
        """What the network is and how it learns.

        Attributes:
            network: config values of the denoiser (``UNet`` or ``FlatUNet``).
            scheduler: class and config of the diffusers scheduler that defines noise and prediction.
            prompt_shares: {prompt modality, or ``thing`` for what kind of thing it is: share of the items prompted by it};
                the rest, up to 1, has no prompt, which teaches the unconditional half of classifier-free guidance.
            name_share: chance that a text prompt is the plain name.
            condition_noise: largest standard deviation of noise on condition embeddings before they are normalised again;
                each draws its own, uniformly from 0. It blurs the gap between modalities and between items seen and
                never seen, so that prompts of a kind never trained work too.
            prompt_map_steps: batches by which the prompt map learns to draw the mean latent of a prompt before the first
                step (``prompt_map.fit_prompt_map``); a regression that costs a thousandth of the network's step.
            prompt_map_weight: of the same regression beside the denoising loss.
        """

        network: dict[str, Any]
        scheduler: dict[str, Any]
        prompt_shares: dict[str, float]
        name_share: float
        condition_noise: float
        prompt_map_steps: int = 0
        prompt_map_weight: float = 0.0

    def __init__(self, settings: Settings, data: tuple[PairedSet, PairedSet], parts: ModelFolder):
        super().__init__()
        self.settings, self.parts = settings, parts
        if not 0 < sum(settings.prompt_shares.values()) <= 1:
            raise ConfigurationError("prompt_shares: the shares must add up to more than 0 and at most 1")
        self.scheduler = make_scheduler(settings.scheduler, parts.scheduler_config())
        self.items, self.held = data
        self.denoiser = self.build_network()

    def build_network(self) -> torch.nn.Module:
        """The denoiser to train, from scratch or from an earlier stage's weights."""
        raise TypeError(f"{type(self).__name__} has no network")

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> dict[str, torch.Tensor]:
        """latents [B, ...], condition [B, D] and, if the set tells it, manner [B, M] (zeros: no prompt)."""
        chosen, prompts = self.items.draw_batch(rng, batch_size, self.settings.prompt_shares)
        return {"latents": self.items.latents[chosen].float(), **prompts}

    def begin(self, generator: torch.Generator) -> None:
        """The prompt map learns what its prompts look like on average."""
        if not self.settings.prompt_map_steps:
            return
        rng = np.random.default_rng(generator.initial_seed())

        def draw(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
            batch = {name: value.to(self.device) for name, value in self.sample_batch(rng, count).items()}
            return self._blurred(batch["condition"], generator), batch["latents"], batch.get("manner")

        fit_prompt_map(self.denoiser, draw, self.settings.prompt_map_steps)

    def _blurred(self, condition: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        prompted = condition.norm(dim=-1, keepdim=True) > 0
        return blurred(condition, self.settings.condition_noise, generator) * prompted

    def forward(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Mean squared error of the prediction at uniform timesteps, and of the prompt map if it has a weight."""
        latents, condition, manner = batch["latents"], batch["condition"], batch.get("manner")
        if self.training and self.settings.condition_noise:
            condition = self._blurred(condition, generator)
        timesteps = draw_timesteps(self.scheduler, len(latents), generator, latents.device)
        noise = draw_noise(latents.shape, self.denoiser, generator, latents.device)
        noisy, target = noised(self.scheduler, latents, noise, timesteps)
        attributes = {} if manner is None else {MANNER: manner}
        prompt = self.denoiser.context(condition[:, None].to(noisy.dtype), None, attributes)
        denoising = F.mse_loss(self.denoiser(noisy, timesteps, prompt).float(), target)
        if not (self.training and self.settings.prompt_map_weight):
            return {"loss": denoising}
        drawn = prompt_map_loss(self.denoiser, condition, latents, manner)
        return {
            "loss": denoising + self.settings.prompt_map_weight * drawn,
            "denoising": denoising,
            "prompt_map": drawn,
        }

    def validate(self, generator: torch.Generator) -> dict[str, float]:
        """The loss on validation items, each prompted by its first caption, with the same noise every time."""
        losses, counts = [], []
        for start in range(0, min(len(self.held), 256), 32):
            items = np.arange(start, min(start + 32, len(self.held), 256))
            batch = {"latents": self.held.latents[items].float(), "condition": self.held.first_condition(items)}
            batch = {name: value.to(self.device) for name, value in batch.items()}
            losses.append(self(batch, generator)["loss"].item())
            counts.append(len(items))
        return {"loss": float(np.average(losses, weights=counts))} if losses else {}

    def generate(self, tokens: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Latents for condition embeddings [B, D]."""
        shape = (len(tokens), *self.items.latents.shape[1:])
        noise = draw_noise(shape, self.denoiser, generator, self.device)
        condition = Condition.from_embedding(tokens.to(self.device))
        return sample(
            {self.modality: self.denoiser},
            {self.modality: self.scheduler},
            {self.modality: noise},
            condition,
            Condition.zeros(len(tokens), tokens.shape[1], like=condition.tokens),
            num_inference_steps={self.modality: SAMPLE_STEPS},
            guidance={self.modality: Guidance(SAMPLE_GUIDANCE)},
        )[self.modality]

    def components(self) -> dict[str, Any]:
        """The denoiser and the scheduler it was trained with."""
        return {self.component: self.denoiser, "scheduler": self.scheduler}

    def shown(self, count: int) -> np.ndarray:
        """Items whose prompts the sample pictures show, the same every time: spread over the training set."""
        return np.linspace(0, len(self.items) - 1, count).astype(int)


class ImageDiffuserTask(DiffuserTask):
    """Text or image → image."""

    modality, component = Modality.IMAGE, "image_denoiser"

    def build_network(self) -> torch.nn.Module:
        """An image network, without temporal and alignment parts."""
        return UNet(**self.settings.network)

    def sample(self, path: Path, generator: torch.Generator) -> None:
        """32 pictures made from names, above the pictures they name."""
        shown = self.shown(32)
        made = self.generate(self.items.first_condition(shown), generator)
        pixels = self.items.autoencoder.decode(torch.cat([made, self.items.latents[shown].float().to(self.device)]))
        rows = [row for pair in zip(pixels[:32].split(16), pixels[32:].split(16)) for row in pair]
        save_grid(torch.cat(rows), path, columns=16)


class VideoDiffuserTask(DiffuserTask):
    """Text, image or video → video: the image network plus temporal blocks."""

    modality, component = Modality.VIDEO, "image_denoiser"

    class Settings(DiffuserTask.Settings):
        """As for every diffuser; ``network`` holds what changes from the image network (``temporal: true`` and widths).

        Attributes:
            freeze_image: train the temporal blocks alone, so that pictures stay exactly as they were.
        """

        freeze_image: bool = True

    def build_network(self) -> torch.nn.Module:
        """The trained image network, extended by temporal blocks that start as identities."""
        image_denoiser = self.parts.load(UNet, self.component)
        denoiser = image_denoiser.extended(**self.settings.network).requires_grad_(not self.settings.freeze_image)
        for _, parameter in denoiser.temporal_parameters():
            parameter.requires_grad_(True)
        return denoiser

    def sample(self, path: Path, generator: torch.Generator) -> None:
        """Four clips made from names, frame by frame, each above the clip it names."""
        shown = self.shown(4)
        made = self.generate(self.items.first_condition(shown), generator)
        rows = torch.stack([made, self.items.latents[shown].float().to(self.device)], dim=1).flatten(0, 1)
        frames = rows.transpose(1, 2).flatten(0, 1)
        save_grid(self.items.autoencoder.decode(frames), path, columns=rows.shape[2])


class AudioDiffuserTask(DiffuserTask):
    """Text or audio → audio."""

    modality, component = Modality.AUDIO, "audio_denoiser"

    def build_network(self) -> torch.nn.Module:
        """An audio network."""
        return UNet(**self.settings.network)

    def sample(self, path: Path, generator: torch.Generator) -> None:
        """Spectrograms made from captions, above those they describe."""
        shown = self.shown(16)
        made = self.generate(self.items.first_condition(shown), generator)
        mel = self.items.autoencoder.decode(torch.cat([made, self.items.latents[shown].float().to(self.device)]))
        save_grid((mel.transpose(-1, -2).flip(-2) + 5) / 6, path, columns=16)


class TextDiffuserTask(DiffuserTask):
    """Text, image, audio or video → text."""

    modality, component = Modality.TEXT, "text_denoiser"

    def build_network(self) -> torch.nn.Module:
        """A text network."""
        return FlatUNet(**self.settings.network)

    def validate(self, generator: torch.Generator) -> dict[str, float]:
        """Also the share of exact names made from validation prompts of each kind."""
        found = super().validate(generator)
        for kind in self.settings.prompt_shares:
            items = self.held.having(kind) if kind != THING else np.array([], int)
            items = items[:: max(1, len(items) // 128)]
            if len(items):
                said = self.items.codec.decode(self.generate(self.held.first_condition(items, kind), generator))
                found[f"exact_from_{kind}"] = float(np.mean([a == self.held.names[i] for a, i in zip(said, items)]))
        return found

    def sample(self, path: Path, generator: torch.Generator) -> None:
        """A list of names beside what is said for them, as a text file."""
        shown = self.shown(32)
        said = self.items.codec.decode(self.generate(self.items.first_condition(shown), generator))
        lines = [f"{self.items.names[i]}\t{text}" for i, text in zip(shown, said)]
        path.with_suffix(".txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
