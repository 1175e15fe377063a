"""Stage 3: one diffuser per modality, each trained on its own (paper §3.2).

Every item of a set has latents and, for each kind of prompt it is paired with, condition embeddings; a training batch draws
one kind for each item. Pairs are text–x and x–x only (and x–text for text): image–audio never occurs.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers as library
import numpy as np
import torch
import torch.nn.functional as F

from ...data.shards import concepts_in
from ...denoisers import FlatUNet, UNet
from ...errors import ConfigurationError
from ...modality import Modality
from ...prompts import Condition
from ...sampling.joint_sampler import sample
from ..components import load_component
from ..objective import blurred, draw_noise, draw_timesteps, noised
from ..pictures import save_grid
from ..task import Task
from .moving import joined, joined_set, procedural_clips, procedural_sounds, still_clips, told_to_move
from .pairs import PairedSet, audio_set, image_set, styled_set, text_set, video_set
from .prompt_map import fit_prompt_map, prompt_map_loss
from .prompt_sets import THING

SAMPLE_STEPS, SAMPLE_GUIDANCE = 20, 2.0


def make_scheduler(values: dict[str, Any], model_folder: Path | None = None) -> Any:
    """A diffusers scheduler from ``{"class": name, …its config}``.

    Raises:
        ConfigurationError: if diffusers has no scheduler of that name, or the model folder has a scheduler of other values:
            all denoisers of a model are sampled with one.
    """
    kind = getattr(library, str(values.get("class")), None)
    if kind is None or not issubclass(kind, library.SchedulerMixin):
        raise ConfigurationError(
            f"scheduler: diffusers has no scheduler {values.get('class')!r}; name one such as DDIMScheduler"
        )
    scheduler = kind(**{key: value for key, value in values.items() if key != "class"})
    stored = None if model_folder is None else model_folder / "scheduler"
    if stored is not None and stored.is_dir():
        theirs = kind.load_config(stored)
        for key, value in scheduler.config.items():
            if not key.startswith("_") and key in theirs and theirs[key] != value:
                raise ConfigurationError(
                    f"scheduler: {key} is {value} in the recipe and {theirs[key]} in {stored}, which serves all denoisers; "
                    "make them equal, or remove that folder and train every denoiser again"
                )
    return scheduler


class DiffuserTask(Task):
    """Train one denoiser on the latents of a frozen autoencoder.

    Subclasses say which network, which set and how to show samples.
    """

    modality: Modality
    component: str

    @dataclass(frozen=True)
    class Settings:
        """What the network is and what it learns from.

        Attributes:
            network: config values of the denoiser (``UNet`` or ``FlatUNet``).
            scheduler: class and config of the diffusers scheduler that defines noise and prediction.
            shards: {shard of the collection: its share of the items drawn} (for text, whose items are the names: only which
                shards prompt them).
            prompt_shares: {prompt modality, or ``thing`` for what kind of thing it is: share of the items prompted by it};
                the rest, up to 1, has no prompt, which teaches the unconditional half of classifier-free guidance.
            open_sound_weight: where the prompt leaves open which thing is meant, how many times likelier one is that has a
                sound in the collection: things that every modality can show, so that joint outputs find each other.
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
        shards: dict[str, float]
        prompt_shares: dict[str, float]
        name_share: float
        condition_noise: float
        prompt_map_steps: int = 0
        prompt_map_weight: float = 0.0
        open_sound_weight: float = 1.0

    def __init__(self, settings: Settings, data: Path, model_folder: Path):
        super().__init__()
        self.settings, self.model_folder = settings, model_folder
        if not settings.shards or not all(share > 0 for share in settings.shards.values()):
            raise ConfigurationError("shards: name at least one, each with a share greater than 0")
        if not 0 < sum(settings.prompt_shares.values()) <= 1:
            raise ConfigurationError("prompt_shares: the shares must add up to more than 0 and at most 1")
        self.scheduler = make_scheduler(settings.scheduler, model_folder)
        self.items, self.held = self.load_sets(data)
        if settings.open_sound_weight != 1:
            self.items.favour(concepts_in(data, "sounds"), settings.open_sound_weight)
        self.denoiser = self.build_network()

    def load_sets(self, data: Path) -> tuple[PairedSet, PairedSet]:
        """(training, validation) sets."""
        raise TypeError(f"{type(self).__name__} has no set")

    def _set_arguments(self, data: Path) -> tuple[Any, ...]:
        return data, self.settings.shards, *self._prompt_arguments()

    def _prompt_arguments(self) -> tuple[Any, ...]:
        return self.model_folder, self.settings.name_share, tuple(self.settings.prompt_shares)

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
        prompt = self.denoiser.context(condition[:, None].to(noisy.dtype), manner=manner)
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
            guidance_scale={self.modality: SAMPLE_GUIDANCE},
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

    @dataclass(frozen=True)
    class Settings(DiffuserTask.Settings):
        """As for every diffuser.

        Attributes:
            styles: art styles to learn to draw, all if none is named. The fewer, the less a network has to remember.
            every_concept: draw concepts that none of these styles shows in the styles that do.
            styled_share: share of the draws that are pictures of any style, prompted by captions that say which or, if the
                network is told the manner, by that: so that "a cat" means one of ``styles``, and "a noto cat" what it says.
        """

        styles: tuple[str, ...] = ()
        every_concept: bool = False
        styled_share: float = 0.0

    def load_sets(self, data: Path) -> tuple[PairedSet, PairedSet]:
        """Pictures of the shards."""
        settings, arguments = self.settings, self._set_arguments(data)
        plain, held = image_set(*arguments, settings.styles, settings.every_concept)
        if not settings.styled_share:
            return plain, held
        styled = styled_set(*arguments, by_manner=bool(settings.network.get("manner_dim")))
        both = joined_set(plain, styled, settings.styled_share)
        # What leaves open which thing leaves open no style.
        both.open_weights = np.where(np.arange(len(both)) < len(plain), both.weights, 0) / (1 - settings.styled_share)
        return both, held

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

    @dataclass(frozen=True)
    class Settings(DiffuserTask.Settings):
        """As for every diffuser; ``network`` holds what changes from the image network (``temporal: true`` and widths).

        Attributes:
            freeze_image: train the temporal blocks alone, so that pictures stay exactly as they were.
            procedural_clips: how many clips of stills in procedural motion (``stickers.motion``) to learn from as well.
            procedural_styles: art styles of those stills, all if none is named.
            procedural_share: share of the draws that are procedural clips or stills at rest, if there are any.
            procedural_ways: in how many ways (beat, size, direction) each motion goes, so that its name says exactly how; 0: in
                a way of its own in every clip.
            still_clips: how many clips of stills at rest to learn from, instead: a motion that is named is then for a
                ``MannerReader`` to make, of these and of real clips alike.
        """

        freeze_image: bool = True
        procedural_ways: int = 0
        procedural_clips: int = 0
        still_clips: int = 0
        procedural_styles: tuple[str, ...] = ()
        procedural_share: float = 0.5

    def load_sets(self, data: Path) -> tuple[PairedSet, PairedSet]:
        """Clips of the shards, and stills in motion."""
        settings, real = self.settings, video_set(*self._set_arguments(data))
        if settings.still_clips:
            still = still_clips(data, settings.still_clips, settings.procedural_styles, *self._prompt_arguments())
            told = told_to_move(real[0], self.model_folder), real[1]
            return joined(told, still, settings.procedural_share)
        if not settings.procedural_clips:
            return real
        stills = settings.procedural_clips, settings.procedural_styles, settings.procedural_ways
        made = procedural_clips(data, *stills, *self._prompt_arguments())
        return joined(real, made, settings.procedural_share)

    def build_network(self) -> torch.nn.Module:
        """The trained image network, extended by temporal blocks that start as identities."""
        image_denoiser = load_component(UNet, self.model_folder, self.component)
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

    @dataclass(frozen=True)
    class Settings(DiffuserTask.Settings):
        """As for every diffuser.

        Attributes:
            voices: voices of the collection to learn to speak with, all if none is named: one says each name one way.
            procedural_sounds: how many recordings on the beat of a motion (``stickers.soundtrack``) to learn from as well.
            procedural_ways: on how many beats each motion goes; 0: on one of its own in every recording.
            procedural_share: share of the draws that are such sounds, if there are any.
        """

        voices: tuple[str, ...] = ()
        procedural_sounds: int = 0
        procedural_ways: int = 0
        procedural_share: float = 0.2

    def load_sets(self, data: Path) -> tuple[PairedSet, PairedSet]:
        """Sounds and speech of the shards, and sounds on the beat."""
        settings, real = self.settings, audio_set(*self._set_arguments(data), self.settings.voices)
        if not settings.procedural_sounds:
            return real
        made_of = settings.procedural_sounds, settings.procedural_ways
        made = procedural_sounds(data, *made_of, *self._prompt_arguments())
        return joined(real, made, settings.procedural_share)

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

    def load_sets(self, data: Path) -> tuple[PairedSet, PairedSet]:
        """Names, each with every prompt it is paired with."""
        return text_set(*self._set_arguments(data))

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
