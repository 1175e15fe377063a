"""Stage 3: one diffuser per modality, each trained on its own (paper §3.2).

Every item of a set has latents and, for each kind of prompt it is paired with, condition embeddings. A training batch draws one
kind for each item. The pairs are text–x and x–x (and x–text for text). Image–audio never occurs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field

from ...data.paired import THING, PairedSet
from ...denoisers import ComposedDenoiser, TemporalAdapter, UNet
from ...errors import ConfigurationError
from ...extras.manner import MANNER
from ...latents.transparent import over
from ...modality import MODALITIES, Modality
from ...prompts import Condition
from ...sampling import Guidance, sample
from ..components import ModelFolder, build_network
from ..composed import DENOISERS, in_order, load_maps, new_map
from ..objective import blurred, draw_noise, draw_timesteps, draw_within, is_flow, make_scheduler, noised
from ..pictures import save_grid
from ..prompt_map import fit_prompt_map, prompt_map_loss
from ..recipe import Values
from ..showing import save_clip, save_sound, save_texts
from ..task import Task

SAMPLE_STEPS, SAMPLE_GUIDANCE = 20, 2.0
COLUMNS = 16
"""Of the grids that show what was learned so far."""
NOISE_LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Shares of the timesteps at which the loss is measured, too."""


class DiffuserTask(Task):
    """Train one denoiser on the latents of a frozen autoencoder.

    Subclasses say which network and how to show samples. The data is a (training, validation) pair of sets.
    """

    modality: Modality
    component: str

    class Settings(Values):
        """What the network is and how it learns.

        Attributes:
            network: config values of the denoiser (``UNet`` or ``FlatUNet``). Empty: the one that the run reads goes on.
            adapters: {component: config values} of adapters beyond the paper that are trained with it, such as
                ``image_prompt_map``.
            scheduler: class and config of the diffusers scheduler that defines noise and prediction.
            prompt_shares: {kind of prompt: share of the items that have it}. Kinds are modalities, and ``thing`` for a prompt
                that names only a kind of thing. The rest, up to 1, has no prompt, for classifier-free guidance.
            name_share: chance that a text prompt is the plain name.
            condition_noise: largest standard deviation of noise on condition embeddings, which are normalised afterwards.
                Each embedding draws its own, uniformly from 0. The noise hides the gap between modalities, and between
                trained and new items: prompts of kinds that were never trained work, too.
            prompt_map_steps: steps before the first one in which the prompt map alone learns the mean latent of each prompt
                (``prompt_map.fit_prompt_map``). Such a step costs a thousandth of a step of the network.
            prompt_map_weight: of that regression beside the denoising loss.
            detail_share: of prompts of several tokens, the share that keeps all of them; the others have the aligned
                embedding alone, as sounds have.
        """

        network: dict[str, Any]
        scheduler: dict[str, Any]
        prompt_shares: dict[str, float]
        name_share: float
        condition_noise: float
        adapters: dict[str, Any] = Field(default_factory=dict)
        prompt_map_steps: int = 0
        prompt_map_weight: float = 0.0
        detail_share: float = 1.0

    def __init__(self, settings: Settings, data: tuple[PairedSet, PairedSet], parts: ModelFolder):
        super().__init__()
        self.settings, self.parts = settings, parts
        if not 0 < sum(settings.prompt_shares.values()) <= 1:
            raise ConfigurationError("prompt_shares: the shares must add up to more than 0 and at most 1")
        self.scheduler = make_scheduler(settings.scheduler, parts.scheduler_config())
        self.items, self.held = data
        self.trained: dict[str, torch.nn.Module] = {}
        self.denoiser = self.compose()

    def compose(self) -> ComposedDenoiser:
        """The denoiser with its adapters, new or as it was read; notes in ``trained`` which of these components learn."""
        denoiser = self.network()
        self.trained = {self.component: denoiser, **self.new_maps(denoiser)}
        return ComposedDenoiser(denoiser, extras=in_order(self.trained))

    def network(self) -> torch.nn.Module:
        """A new denoiser, or the one that the run reads."""
        if not self.settings.network and self.parts.has(self.component):
            return self.parts.load(DENOISERS[self.component], self.component).requires_grad_(True)
        return build_network(DENOISERS[self.component], self.settings.network)

    def new_maps(self, denoiser: torch.nn.Module) -> dict[str, torch.nn.Module]:
        """{component: map} of the ``adapters`` of the settings."""
        return {name: new_map(name, denoiser, values) for name, values in self.settings.adapters.items()}

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> dict[str, torch.Tensor]:
        """latents [B, ...], condition [B, D], or tokens [B, N, D] and their ``mask`` [B, N], zeros: no prompt; and, if the set
        has them, attributes ``manner`` [B, M].
        """
        chosen, prompts = self.items.draw_batch(rng, batch_size, self.settings.prompt_shares)
        return {"latents": self.items.latents[chosen].float(), **prompts}

    def begin(self, generator: torch.Generator) -> None:
        """Fit the prompt map to the mean latent of each prompt."""
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
        timesteps = self.draw_times(len(latents), generator)
        noise = draw_noise(latents.shape, self.denoiser, generator, latents.device)
        noisy, target = noised(self.scheduler, latents, noise, timesteps)
        attributes = {} if manner is None else {MANNER: manner}
        tokens = condition if condition.ndim == 3 else condition[:, None]
        prompt = self.denoiser.context(tokens.to(noisy.dtype), batch.get("mask"), attributes)
        denoising = F.mse_loss(self.denoiser(noisy, timesteps, prompt).float(), target)
        if not (self.training and self.settings.prompt_map_weight):
            return {"loss": denoising}
        drawn = prompt_map_loss(self.denoiser, condition, latents, manner)
        return {
            "loss": denoising + self.settings.prompt_map_weight * drawn,
            "denoising": denoising,
            "prompt_map": drawn,
        }

    def draw_times(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Timesteps [count] to learn at: uniform."""
        return draw_timesteps(self.scheduler, count, generator, self.device)

    def validate(self, generator: torch.Generator) -> dict[str, float]:
        """The loss on validation items, each prompted by its first caption, with the same noise every time.

        ``loss_at_0.1`` is that of some items at a tenth of the noise schedule's timesteps, and so on.
        """
        losses, counts = [], []
        for start in range(0, min(len(self.held), 256), 32):
            items = np.arange(start, min(start + 32, len(self.held), 256))
            batch = {"latents": self.held.latents[items].float(), **self.held.first_prompts(items)}
            batch = {name: value.to(self.device) for name, value in batch.items()}
            losses.append(self(batch, generator)["loss"].item())
            counts.append(len(items))
        if not losses:
            return {}
        return {"loss": float(np.average(losses, weights=counts)), **self._losses_by_noise(generator)}

    def _losses_by_noise(self, generator: torch.Generator) -> dict[str, float]:
        items = np.arange(min(len(self.held), 32))
        latents = self.held.latents[items].float().to(self.device)
        prompts = {name: value.to(self.device) for name, value in self.held.first_prompts(items).items()}
        condition = prompts["condition"]
        tokens = condition if condition.ndim == 3 else condition[:, None]
        noise = draw_noise(latents.shape, self.denoiser, generator, self.device)
        found = {}
        for level in NOISE_LEVELS:
            step = level * self.scheduler.config.num_train_timesteps
            timesteps = torch.full((len(items),), step if is_flow(self.scheduler) else int(step), device=self.device)
            noisy, target = noised(self.scheduler, latents, noise, timesteps)
            prompt = self.denoiser.context(tokens.to(noisy.dtype), prompts.get("mask"))
            error = F.mse_loss(self.denoiser(noisy, timesteps, prompt).float(), target)
            found[f"loss_at_{level}"] = float(error)
        return found

    def generate(self, prompts: Mapping[str, torch.Tensor], generator: torch.Generator) -> torch.Tensor:
        """Latents for condition embeddings [B, D], or tokens [B, N, D] and their mask, as ``first_prompts`` gives them."""
        tokens, mask = prompts["condition"].to(self.device), prompts.get("mask")
        shape = (len(tokens), *self.items.latents.shape[1:])
        noise = draw_noise(shape, self.denoiser, generator, self.device)
        condition = Condition.from_embedding(tokens) if mask is None else Condition(tokens, mask.to(self.device))
        return sample(
            {self.modality: self.denoiser},
            {self.modality: self.scheduler},
            {self.modality: noise},
            condition,
            Condition.zeros(len(tokens), tokens.shape[-1], like=condition.tokens),
            num_inference_steps={self.modality: SAMPLE_STEPS},
            guidance={self.modality: Guidance(SAMPLE_GUIDANCE)},
        )[self.modality]

    def components(self) -> dict[str, Any]:
        """The components that learned, and the scheduler they were trained with."""
        return {**self.trained, "scheduler": self.scheduler}

    def shown(self, count: int) -> np.ndarray:
        """Positions of items for the sample pictures: evenly spread over the training set, the same every time."""
        return np.linspace(0, len(self.items) - 1, count).astype(int)


class ImageDiffuserTask(DiffuserTask):
    """Text or image → image."""

    modality, component = Modality.IMAGE, "image_denoiser"

    def sample(self, path: Path, generator: torch.Generator) -> None:
        """Two rows of pictures generated from names, each above the training picture of that name."""
        shown = self.shown(2 * COLUMNS)
        made = self.generate(self.items.first_prompts(shown), generator)
        pixels = self.items.autoencoder.decode(torch.cat([made, self.items.latents[shown].float().to(self.device)]))
        pixels = pixels if pixels.shape[1] == 3 else over(pixels, 1.0)
        rows = [row for pair in zip(*(half.split(COLUMNS) for half in pixels.split(len(shown)))) for row in pair]
        save_grid(torch.cat(rows), path, columns=COLUMNS)
        save_texts([self.items.names[i] for i in shown], path)


class VideoDiffuserTask(DiffuserTask):
    """Text, image or video → video: the image network plus temporal blocks."""

    modality, component = Modality.VIDEO, "image_denoiser"

    class Settings(DiffuserTask.Settings):
        """As for every diffuser; ``network`` holds config values of the ``TemporalAdapter``.

        Attributes:
            freeze_image: train the temporal adapter alone, so that pictures stay exactly as they were.
            window: timesteps in which it is decided when something happens.
            window_share: share of the clips whose timestep lies there while training; the others are anywhere.
        """

        freeze_image: bool = True
        window: tuple[float, float] = (940, 999)
        window_share: float = 0.0

    def compose(self) -> ComposedDenoiser:
        """The trained image network with a temporal adapter that changes nothing yet."""
        denoiser, maps = self.parts.load(UNet, self.component), load_maps(self.parts, self.modality)
        make = TemporalAdapter.for_denoiser
        name = MODALITIES[self.modality].temporal
        if not self.settings.network and self.parts.has(name):
            temporal = self.parts.load(TemporalAdapter, name).requires_grad_(True)
        else:
            temporal = build_network(make, self.settings.network, denoiser.config).to(denoiser.device)
        self.trained = {name: temporal, **self.new_maps(denoiser)}
        if not self.settings.freeze_image:
            learning = {self.component: denoiser, **maps} | self.trained
            self.trained = {name: network.requires_grad_(True) for name, network in learning.items()}
        return ComposedDenoiser(denoiser, temporal, extras=in_order(maps | self.trained))

    def draw_times(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Timesteps [count], while training with more weight in the window."""
        share = self.settings.window_share if self.training else 0.0
        return draw_within(self.scheduler, count, generator, self.device, self.settings.window, share)

    def sample(self, path: Path, generator: torch.Generator) -> None:
        """A few clips generated from names, frame by frame, each above the training clip of that name."""
        shown = self.shown(COLUMNS // 4)
        made = self.generate(self.items.first_prompts(shown), generator)
        rows = torch.stack([made, self.items.latents[shown].float().to(self.device)], dim=1).flatten(0, 1)
        frames = rows.transpose(1, 2).flatten(0, 1)
        pixels = self.items.autoencoder.decode(frames)
        pixels = pixels if pixels.shape[1] == 3 else over(pixels, 1.0)
        save_grid(pixels, path, columns=rows.shape[2])
        for name, clip in zip([self.items.names[i] for i in shown], pixels.split(rows.shape[2])[::2]):
            save_clip(clip, path, name, self.items.autoencoder.config.sample_fps)


class AudioDiffuserTask(DiffuserTask):
    """Text or audio → audio."""

    modality, component = Modality.AUDIO, "audio_denoiser"

    def sample(self, path: Path, generator: torch.Generator) -> None:
        """Spectrograms generated from captions, each above the training spectrogram of that caption, and some as sounds."""
        shown = self.shown(COLUMNS)
        made = self.generate(self.items.first_prompts(shown), generator)
        mel = self.items.autoencoder.decode(torch.cat([made, self.items.latents[shown].float().to(self.device)]))
        save_grid((mel.transpose(-1, -2).flip(-2) + 5) / 6, path, columns=COLUMNS)
        spectrogram = self.items.autoencoder.mel_spectrogram
        for i, waveform in zip(shown[::4], spectrogram.griffin_lim(mel[: len(shown) : 4].squeeze(1))):
            save_sound(waveform, path, self.items.names[i], spectrogram.sample_rate)


class TextDiffuserTask(DiffuserTask):
    """Text, image, audio or video → text."""

    modality, component = Modality.TEXT, "text_denoiser"

    def validate(self, generator: torch.Generator) -> dict[str, float]:
        """Also the share of validation prompts of each kind from which the exact name is generated."""
        found = super().validate(generator)
        for kind in self.settings.prompt_shares:
            items = self.held.having(kind) if kind != THING else np.array([], int)
            items = items[:: max(1, len(items) // 128)]
            if len(items):
                said = self.items.codec.decode(self.generate(self.held.first_prompts(items, kind), generator))
                found[f"exact_from_{kind}"] = float(np.mean([a == self.held.names[i] for a, i in zip(said, items)]))
        return found

    def sample(self, path: Path, generator: torch.Generator) -> None:
        """A text file that lists names and the text generated from each."""
        shown = self.shown(2 * COLUMNS)
        said = self.items.codec.decode(self.generate(self.items.first_prompts(shown), generator))
        save_texts([f"{self.items.names[i]}\t{text}" for i, text in zip(shown, said)], path)
