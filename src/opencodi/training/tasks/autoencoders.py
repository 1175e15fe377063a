"""Stage 1: the autoencoders of pictures and of mel spectrograms (paper §3.2, latent diffusion)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio

from ...data.augment import audio_batch, over_white, random_affine
from ...data.epochs import draw_items
from ...data.sampling import draw_balanced
from ...latents.audio import AudioAutoencoder
from ...latents.image import ImageAutoencoder
from ...latents.normalisation import channel_statistics
from ..components import ModelFolder
from ..pictures import save_grid
from ..processes import items_rng
from ..recipe import Values
from ..task import Task

IMAGE_WIDTHS = (
    *("patch_size", "latent_channels", "block_out_channels"),
    *("layers_per_block", "norm_num_groups", "mid_block_add_attention"),
)
AUDIO_WIDTHS = ("patch_size", "latent_channels", "block_out_channels", "layers_per_block")
LATENT_STATISTICS = ("latents_mean", "latents_std")


def reconstruction_losses(
    predicted: torch.Tensor, target: torch.Tensor, edge_weight: float, decibel_weight: float = 0.0
) -> dict[str, torch.Tensor]:
    """Absolute and squared error, and the absolute error of horizontal and vertical differences: edges stay sharp.

    predicted, target: [B, C, H, W]. ``reconstruction`` is their sum, plus ``decibel_weight`` times the logarithm of each item's
    squared error: what PSNR counts, where one that is nearly right matters as much as one that is far off.
    """
    error = predicted.float() - target
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    absolute, squared = error.abs().mean(), error.square().flatten(1).mean(1)
    total = absolute + squared.mean() + edge_weight * edges
    if decibel_weight:
        total = total + decibel_weight * squared.clamp_min(1e-6).log().mean()
    return {"reconstruction": total, "squared_error": squared.mean()}


@dataclass
class Pictures:
    """What an image autoencoder learns from, uint8 RGBA: ``pixels`` [N, H, W, 4], and ``held`` [M, H, W, 4] to validate on.

    ``in_epochs``: each picture is drawn once per epoch.
    """

    pixels: np.ndarray
    held: np.ndarray
    in_epochs: bool = False


@dataclass
class Recordings:
    """What the networks of sound learn from.

    Attributes:
        samples: int16 [N, S] at 16 kHz.
        held: int16 [M, S] to validate on.
        is_sound: bool [N]: no speech.
        in_epochs: each recording is drawn once per epoch, whatever it is.
    """

    samples: np.ndarray
    held: np.ndarray
    is_sound: np.ndarray
    in_epochs: bool = False

    def draw(self, rng: np.random.Generator, sound_share: float, count: int) -> np.ndarray:
        """``count`` positions; of those drawn at random, ``sound_share`` are no speech."""
        if self.in_epochs:
            return draw_items(rng, len(self.samples), count)
        return draw_balanced(rng, self.is_sound, sound_share, count)


class ImageAutoencoderTask(Task):
    """Learn pictures ↔ latents."""

    class Settings(Values):
        """Network widths (see ``ImageAutoencoder``) and loss weights.

        Attributes:
            freeze_encoder: the decoder alone learns, from the posterior mean: latents stay what denoisers have learned.
            latents_weight: of the squared distance, in standard deviations, between latents and what the encoder of the model
                folder makes of the same pictures; 0: latents are free. With it both learn from the posterior mean, and the
                decoder also from those other latents: more fits into latents that stay nearly what denoisers have learned.
            decibel_weight: of the logarithm of each picture's squared error, where latents are kept.
        """

        patch_size: int
        latent_channels: int
        block_out_channels: tuple[int, ...]
        layers_per_block: int
        norm_num_groups: int
        mid_block_add_attention: bool
        kl_weight: float
        edge_weight: float
        freeze_encoder: bool = False
        latents_weight: float = 0.0
        decibel_weight: float = 0.0

    def __init__(self, settings: Settings, data: Pictures, parts: ModelFolder):
        super().__init__()
        self.settings, self.pixels, self.held, self.in_epochs = settings, data.pixels, data.held, data.in_epochs
        size = data.pixels.shape[1]
        self.autoencoder = ImageAutoencoder(**settings.model_dump(include=set(IMAGE_WIDTHS)), sample_size=size)
        self.learned = None
        if self._keeps_latents:
            stored = parts.load(ImageAutoencoder, "image_autoencoder")
            self.autoencoder.register_to_config(**{name: stored.config[name] for name in LATENT_STATISTICS})
            if settings.latents_weight:
                self.learned = stored.requires_grad_(False)
        if settings.freeze_encoder:
            for part in (self.autoencoder.vae.encoder, self.autoencoder.vae.quant_conv):
                part.requires_grad_(False)

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> dict[str, torch.Tensor]:
        """``pixels``, uint8 RGBA [B, H, W, 4]."""
        count = len(self.pixels)
        chosen = draw_items(rng, count, batch_size) if self.in_epochs else rng.integers(0, count, batch_size)
        return {"pixels": torch.from_numpy(self.pixels[chosen])}

    def _varied(self, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """[B, 3, H, W] in [-1, 1], over white, half of them mirrored, all a little moved."""
        rng, pixel_values = items_rng(generator), over_white(pixels)
        flip = torch.from_numpy(rng.random(len(pixels)) < 0.5)[:, None, None, None].to(pixels.device)
        return random_affine(torch.where(flip, pixel_values.flip(-1), pixel_values), rng)

    def forward(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Reconstruction of a sampled latent plus a light Kullback–Leibler term; of the mean, if latents are kept."""
        pixel_values = self._varied(batch["pixels"], generator)
        posterior = self.autoencoder.posterior(pixel_values)
        if self._keeps_latents:
            return self._losses_near_latents(posterior.mode(), pixel_values)
        predicted = self.autoencoder.reconstruct(posterior.sample(generator))
        losses = reconstruction_losses(predicted, pixel_values, self.settings.edge_weight)
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        return {"loss": losses["reconstruction"] + self.settings.kl_weight * kl, **losses, "kl": kl}

    @property
    def _keeps_latents(self) -> bool:
        return self.settings.freeze_encoder or self.settings.latents_weight > 0

    def _losses_near_latents(self, raw: torch.Tensor, pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
        """Losses of latents [B, C, h, w] that may not go far from those which denoisers have learned."""
        weights = self.settings.edge_weight, self.settings.decibel_weight
        losses = reconstruction_losses(self.autoencoder.reconstruct(raw), pixel_values, *weights)
        if self.learned is None:
            return {"loss": losses["reconstruction"], **losses}
        with torch.no_grad():
            learned = self.learned.posterior(pixel_values).mode()
        std = torch.tensor(self.autoencoder.config.latents_std, device=raw.device)[:, None, None]
        distance = ((raw - learned).float() / std).square().mean()
        some = slice(-(-len(raw) // 4))
        from_learned = reconstruction_losses(self.autoencoder.reconstruct(learned[some]), pixel_values[some], *weights)[
            "reconstruction"
        ]
        loss = losses["reconstruction"] + 0.25 * from_learned + self.settings.latents_weight * distance
        return {"loss": loss, **losses, "from_learned": from_learned, "latents_distance": distance}

    def validate(self, generator: torch.Generator) -> dict[str, float]:
        """Mean PSNR in decibels over the validation pictures."""
        decibels = []
        for start in range(0, min(len(self.held), 512), 64):
            pixel_values = over_white(self.held[start : start + 64]).to(self.device)
            pair = self.autoencoder(pixel_values).float(), pixel_values
            decibels.append(peak_signal_noise_ratio(*pair, data_range=2.0, reduction="none", dim=(1, 2, 3)))
        return {"psnr": float(torch.cat(decibels).mean())}

    def score(self, measures: Mapping[str, float]) -> float | None:
        """PSNR."""
        return measures.get("psnr")

    def sample(self, path: Path, generator: torch.Generator) -> None:
        """Rows of validation pictures, each above its reconstruction."""
        pixel_values = over_white(self.held[:: max(1, len(self.held) // 32)][:32]).to(self.device)
        rows = [row for pair in zip(pixel_values.split(16), self.autoencoder(pixel_values).split(16)) for row in pair]
        save_grid(torch.cat(rows), path, columns=16)

    def finish(self) -> None:
        """Record the latents' per-channel statistics, unless latents were kept."""
        if self._keeps_latents:
            return
        some = self.pixels[:: max(1, len(self.pixels) // 2048)]
        latents = [
            self.autoencoder.posterior(over_white(part).to(self.device)).mode()
            for part in np.array_split(some, min(32, len(some)))
        ]
        mean, std = channel_statistics(torch.cat(latents))
        self.autoencoder.register_to_config(latents_mean=mean, latents_std=std)

    def components(self) -> dict[str, torch.nn.Module]:
        """The image autoencoder."""
        return {"image_autoencoder": self.autoencoder}


class AudioAutoencoderTask(Task):
    """Learn log-mel spectrograms ↔ latents from sounds and speech."""

    class Settings(Values):
        """Network widths (see ``AudioAutoencoder``) and loss weights; ``sound_share`` of the items drawn are no speech."""

        patch_size: int
        latent_channels: int
        block_out_channels: tuple[int, ...]
        layers_per_block: int
        sound_share: float
        kl_weight: float
        edge_weight: float

    def __init__(self, settings: Settings, data: Recordings, parts: ModelFolder):
        super().__init__()
        self.settings, self.data = settings, data
        self.autoencoder = AudioAutoencoder(**settings.model_dump(include=set(AUDIO_WIDTHS)))
        seconds = data.samples.shape[1] / self.autoencoder.config.sample_rate
        self.autoencoder.register_to_config(sample_seconds=seconds)
        with torch.no_grad():
            mel = self.autoencoder.mel(audio_batch(data.samples[:: max(1, len(data.samples) // 512)]))
        self.autoencoder.register_to_config(mel_mean=round(float(mel.mean()), 4), mel_std=round(float(mel.std()), 4))

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> dict[str, torch.Tensor]:
        """waveform [B, samples] in [-1, 1]; real sounds are few, so ``sound_share`` of the batch is drawn from them."""
        chosen = self.data.draw(rng, self.settings.sound_share, batch_size)
        return {"waveform": audio_batch(self.data.samples[chosen], rng)}

    def forward(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Reconstruction of the normalised log-mel from a sampled latent, plus a light Kullback–Leibler term."""
        with torch.no_grad():
            mel = self.autoencoder.mel(batch["waveform"])
        posterior = self.autoencoder.posterior(mel)
        predicted = self.autoencoder.reconstruct(posterior.sample(generator))
        scale = self.autoencoder.config.mel_std
        losses = reconstruction_losses(predicted / scale, mel / scale, self.settings.edge_weight)
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        return {"loss": losses["reconstruction"] + self.settings.kl_weight * kl, **losses, "kl": kl}

    def validate(self, generator: torch.Generator) -> dict[str, float]:
        """Mean absolute error of the log-mel (natural logarithm) on held-out recordings."""
        mel = self.autoencoder.mel(audio_batch(self.data.held[:256]).to(self.device))
        return {"log_mel_error": float((self.autoencoder.decode(self.autoencoder.encode(mel)) - mel).abs().mean())}

    def score(self, measures: Mapping[str, float]) -> float | None:
        """The log-mel error, negated."""
        return -measures["log_mel_error"] if measures else None

    def sample(self, path: Path, generator: torch.Generator) -> None:
        """Spectrograms, each above its reconstruction."""
        waveform = audio_batch(self.data.held[:: max(1, len(self.data.held) // 16)][:16]).to(self.device)
        mel = self.autoencoder.mel(waveform)
        rows = torch.cat([mel, self.autoencoder.decode(self.autoencoder.encode(mel))]).transpose(-1, -2).flip(-2)
        save_grid((rows + 5) / 6, path, columns=16)

    def finish(self) -> None:
        """Record the latents' per-channel statistics."""
        waveform = audio_batch(self.data.samples[:: max(1, len(self.data.samples) // 1024)])
        latents = [
            self.autoencoder.posterior(self.autoencoder.mel(w.to(self.device))).mode() for w in waveform.split(64)
        ]
        mean, std = channel_statistics(torch.cat(latents))
        self.autoencoder.register_to_config(latents_mean=mean, latents_std=std)

    def components(self) -> dict[str, torch.nn.Module]:
        """The audio autoencoder."""
        return {"audio_autoencoder": self.autoencoder}
