"""Stage 1: the autoencoders of pictures and of mel spectrograms (paper §3.2, latent diffusion)."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ...collections.stickers.splits import split
from ...data.augment import audio_batch, over_white, random_affine
from ...data.shards import load_audio, load_images, load_videos
from ...latents.image import ImageAutoencoder
from ..components import load_component
from ..pictures import save_grid
from ..task import Task

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


@torch.no_grad()
def channel_statistics(raw: torch.Tensor) -> tuple[list[float], list[float]]:
    """Per-channel mean and standard deviation of raw latents [B, C, ...]."""
    flat = raw.float().transpose(0, 1).flatten(1)
    return [round(x, 5) for x in flat.mean(1).tolist()], [round(max(x, 1e-4), 5) for x in flat.std(1).tolist()]


class ImageAutoencoderTask(Task):
    """Learn pictures ↔ latents from every picture of the shards and single frames of the clips."""

    @dataclass(frozen=True)
    class Settings:
        """Network widths (see ``ImageAutoencoder``), shards and loss weights.

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
        image_shards: tuple[str, ...]
        video_shards: tuple[str, ...]
        frames_per_clip: int
        kl_weight: float
        edge_weight: float
        freeze_encoder: bool = False
        latents_weight: float = 0.0
        decibel_weight: float = 0.0

    def __init__(self, settings: Settings, data: Path, model_folder: Path):
        super().__init__()
        values = asdict(settings)
        self.settings = settings
        self.autoencoder = ImageAutoencoder(**{k: values[k] for k in list(values)[:6]})
        self.learned = None
        if self._keeps_latents:
            stored = load_component(ImageAutoencoder, model_folder, "image_autoencoder")
            self.autoencoder.register_to_config(**{name: stored.config[name] for name in LATENT_STATISTICS})
            if settings.latents_weight:
                self.learned = stored.requires_grad_(False)
        if settings.freeze_encoder:
            for part in (self.autoencoder.vae.encoder, self.autoencoder.vae.quant_conv):
                part.requires_grad_(False)
        images, held = split(load_images(data, settings.image_shards))
        pixels, held_pixels = [images.media], [held.media]
        if settings.video_shards:
            clips, _ = split(load_videos(data, settings.video_shards))
            step = clips.media.shape[1] // settings.frames_per_clip
            pixels.append(clips.media[:, ::step].reshape(-1, *clips.media.shape[2:]))
        self.pixels, self.held = np.concatenate(pixels), np.concatenate(held_pixels)

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> dict[str, torch.Tensor]:
        """``pixels``, uint8 RGBA [B, H, W, 4]."""
        return {"pixels": torch.from_numpy(self.pixels[rng.integers(0, len(self.pixels), batch_size)])}

    def _varied(self, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """[B, 3, H, W] in [-1, 1], over white, half of them mirrored, all a little moved."""
        rng, pixel_values = np.random.default_rng(generator.initial_seed()), over_white(pixels)
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
        errors = []
        for start in range(0, min(len(self.held), 512), 64):
            pixel_values = over_white(self.held[start : start + 64]).to(self.device)
            difference = (self.autoencoder(pixel_values) - pixel_values) / 2
            errors.append(difference.square().flatten(1).mean(1))
        return {"psnr": float((-10 * torch.log10(torch.cat(errors))).mean())}

    def sample(self, path: Path, generator: torch.Generator) -> None:
        """Rows of validation pictures, each above its reconstruction."""
        pixel_values = over_white(self.held[:: max(1, len(self.held) // 32)][:32]).to(self.device)
        rows = [row for pair in zip(pixel_values.split(16), self.autoencoder(pixel_values).split(16)) for row in pair]
        save_grid(torch.cat(rows), path, columns=16)

    def finish(self) -> None:
        """Record the latents' per-channel statistics, unless latents were kept."""
        if self._keeps_latents:
            return
        latents = [
            self.autoencoder.posterior(over_white(part).to(self.device)).mode()
            for part in np.array_split(self.pixels[:: max(1, len(self.pixels) // 2048)], 32)
        ]
        mean, std = channel_statistics(torch.cat(latents))
        self.autoencoder.register_to_config(latents_mean=mean, latents_std=std)

    def components(self) -> dict[str, torch.nn.Module]:
        """The image autoencoder."""
        return {"image_autoencoder": self.autoencoder}


class AudioAutoencoderTask(Task):
    """Learn log-mel spectrograms ↔ latents from sounds and speech."""

    @dataclass(frozen=True)
    class Settings:
        """Network widths (see ``AudioAutoencoder``), shards and loss weights."""

        patch_size: int
        latent_channels: int
        block_out_channels: tuple[int, ...]
        layers_per_block: int
        shards: tuple[str, ...]
        sound_share: float
        kl_weight: float
        edge_weight: float

    def __init__(self, settings: Settings, data: Path, model_folder: Path):
        from ...latents.audio import AudioAutoencoder

        super().__init__()
        values = asdict(settings)
        self.settings = settings
        self.autoencoder = AudioAutoencoder(**{k: values[k] for k in list(values)[:4]})
        self.items, self.held = split(load_audio(data, settings.shards))
        self.is_sound = np.array([record["shard"] == "sounds" for record in self.items.records])
        with torch.no_grad():
            mel = self.autoencoder.mel(audio_batch(self.items.media[:: max(1, len(self.items) // 512)]))
        self.autoencoder.register_to_config(mel_mean=round(float(mel.mean()), 4), mel_std=round(float(mel.std()), 4))

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> dict[str, torch.Tensor]:
        """waveform [B, samples] in [-1, 1]; real sounds are few, so ``sound_share`` of the batch is drawn from them."""
        chosen = draw_balanced(rng, self.is_sound, self.settings.sound_share, batch_size)
        return {"waveform": audio_batch(self.items.media[chosen], rng)}

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
        mel = self.autoencoder.mel(audio_batch(self.held.media[:256]).to(self.device))
        return {"log_mel_error": float((self.autoencoder.decode(self.autoencoder.encode(mel)) - mel).abs().mean())}

    def sample(self, path: Path, generator: torch.Generator) -> None:
        """Spectrograms, each above its reconstruction."""
        waveform = audio_batch(self.held.media[:: max(1, len(self.held) // 16)][:16]).to(self.device)
        mel = self.autoencoder.mel(waveform)
        rows = torch.cat([mel, self.autoencoder.decode(self.autoencoder.encode(mel))]).transpose(-1, -2).flip(-2)
        save_grid((rows + 5) / 6, path, columns=16)

    def finish(self) -> None:
        """Record the latents' per-channel statistics."""
        waveform = audio_batch(self.items.media[:: max(1, len(self.items) // 1024)])
        latents = [
            self.autoencoder.posterior(self.autoencoder.mel(w.to(self.device))).mode() for w in waveform.split(64)
        ]
        mean, std = channel_statistics(torch.cat(latents))
        self.autoencoder.register_to_config(latents_mean=mean, latents_std=std)

    def components(self) -> dict[str, torch.nn.Module]:
        """The audio autoencoder."""
        return {"audio_autoencoder": self.autoencoder}


def draw_balanced(rng: np.random.Generator, flags: np.ndarray, share: float, count: int) -> np.ndarray:
    """``count`` indices, each from the flagged items with probability ``share``, else from the others."""
    flagged, others = np.flatnonzero(flags), np.flatnonzero(~flags)
    if not len(flagged) or not len(others):
        return rng.integers(0, len(flags), count)
    pick = rng.random(count) < share
    return np.where(pick, flagged[rng.integers(0, len(flagged), count)], others[rng.integers(0, len(others), count)])
