"""Stage 1 of the second model, pictures: RGBA ↔ latents, first both ways, then the decoder alone until it is sharp."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from ...latents.image import ImageAutoencoder
from ...latents.normalisation import channel_statistics
from ...latents.transparent import over, to_channels
from ..components import ModelFolder
from ..perceptual import PerceptualDistance
from ..picture_critic import PictureCritic, critic_losses
from ..pictures import save_grid
from ..recipe import Values
from ..task import Task
from .autoencoders import reconstruction_losses

NETWORK = (
    *("patch_size", "latent_channels", "block_out_channels", "layers_per_block", "norm_num_groups"),
    *("mid_block_add_attention", "sample_size"),
)


class TransparentPictures(Protocol):
    """Pictures to learn from, straight uint8 RGBA.

    Attributes:
        held: {kind: [N, H, W, 4]} to validate on; one kind is ``single``.
    """

    held: dict[str, np.ndarray]

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """One picture [H, W, 4]."""
        ...


class PictureSettings(Values):
    """What both stages are told.

    Attributes:
        edge_weight: of the absolute error of differences between neighbouring pixels.
        alpha_weight: of the absolute error of alpha.
        perceptual_weight: of the distance between features of the pretrained vision network.
        perceptual_share: of the pictures of a batch whose features are compared; they take a third of a step if all are.
    """

    edge_weight: float
    alpha_weight: float
    perceptual_weight: float
    perceptual_share: float


class TransparentPictureTask(Task):
    """What both stages share: pictures, losses over random grounds, measures and sample grids."""

    autoencoder: ImageAutoencoder

    def __init__(self, settings: PictureSettings, data: TransparentPictures):
        super().__init__()
        self.settings = settings
        self.pictures = data
        self.perceptual = PerceptualDistance()

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> dict[str, torch.Tensor]:
        """``pixels``, straight uint8 RGBA [B, H, W, 4]."""
        return {"pixels": torch.from_numpy(np.stack([self.pictures.draw(rng) for _ in range(batch_size)]))}

    def losses(self, made: torch.Tensor, real: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Errors of channels [B, 4, H, W] over random grounds, of alpha, and of what a vision network sees in some of them.

        ``similarity`` adds them up. Over one ground a wrong edge can hide, in its own colour; over any it cannot.
        """
        grounds = _random_grounds(len(real), generator, real.device)
        made, real = made.float(), real.float()
        over_made = torch.cat([over(made, ground) for ground in grounds])
        over_real = torch.cat([over(real, ground) for ground in grounds])
        losses = reconstruction_losses(over_made, over_real, self.settings.edge_weight)
        some = math.ceil(self.settings.perceptual_share * len(real))
        losses["alpha_error"] = (made[:, 3] - real[:, 3]).abs().mean()
        losses["perceptual"] = self.perceptual(over_made[:some], over_real[:some])
        losses["similarity"] = (
            losses["reconstruction"]
            + self.settings.alpha_weight * losses["alpha_error"]
            + self.settings.perceptual_weight * losses["perceptual"]
        )
        return losses

    def validate(self, generator: torch.Generator) -> dict[str, float]:
        """Over white, black and red grounds: PSNR in decibels of each kind of picture. Of single ones also: how much of alpha's
        shape is right (intersection over union), what shows around it over black and white, and the perceptual distance.
        """
        found = {}
        for kind, pixels in self.pictures.held.items():
            real = to_channels(pixels).to(self.device)
            made = torch.cat([self.autoencoder(part) for part in real.split(32)]).float()
            found[f"psnr_{kind}"] = float(psnr_over_grounds(made, real).mean())
            if kind == "single":
                found["alpha_iou"] = float(alpha_iou(made, real).mean())
                found["halo"] = halo(made, real)
                found["perceptual"] = float(
                    np.mean(
                        [float(self.perceptual(over(a, 1), over(b, 1))) for a, b in zip(made.split(32), real.split(32))]
                    )
                )
        return found

    def score(self, measures: Mapping[str, float]) -> float | None:
        """The mean PSNR of all kinds of pictures."""
        decibels = [value for name, value in measures.items() if name.startswith("psnr_")]
        return float(np.mean(decibels)) if decibels else None

    def sample(self, path: Path, generator: torch.Generator) -> None:
        """Rows of withheld pictures of every kind over a coloured ground, each above its reconstruction."""
        few = [pixels[:: max(1, len(pixels) // 8)][:8] for pixels in self.pictures.held.values()]
        real = to_channels(np.concatenate(few)).to(self.device)
        ground = torch.tensor([0.4, 0.75, 0.55], device=self.device)[:, None, None] * 2 - 1
        made = self.autoencoder(real).float()
        rows = [over(row, ground) for pair in zip(real.split(8), made.split(8)) for row in pair]
        save_grid(torch.cat(rows), path, columns=8)

    def components(self) -> dict[str, torch.nn.Module]:
        """The image autoencoder."""
        return {"image_autoencoder": self.autoencoder}


def _random_grounds(count: int, generator: torch.Generator, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Plain grounds [B, 3, 1, 1] for each picture: one of any colour, and one that is black or white."""
    any_colour = torch.rand(count, 3, 1, 1, generator=generator, device=device) * 2 - 1
    extreme = torch.rand(count, 1, 1, 1, generator=generator, device=device).round() * 2 - 1
    return any_colour, extreme.expand(-1, 3, -1, -1)


def psnr_over_grounds(made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """PSNR in decibels of channels [B, 4, H, W] → [B]; the error is the mean over a white, a black and a red ground."""
    red = torch.tensor([1.0, -1.0, -1.0], device=real.device)[:, None, None]
    errors = [(over(made, g).clamp(-1, 1) - over(real, g)).square().flatten(1).mean(1) / 4 for g in (1.0, -1.0, red)]
    return -10 * torch.log10(torch.stack(errors).mean(0).clamp_min(1e-10))


def alpha_iou(made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Intersection over union of the opaque parts (alpha above a half) of channels [B, 4, H, W] → [B]."""
    a, b = made[:, 3].flatten(1) > 0, real[:, 3].flatten(1) > 0
    return (a & b).sum(1) / (a | b).sum(1).clamp_min(1)


def halo(made: torch.Tensor, real: torch.Tensor, width: int = 4) -> float:
    """Mean brightness (0 to 1) that shows over black, or is missing over white, within ``width`` pixels around the thing.

    Channels [B, 4, H, W]; only pixels count whose alpha is 0 in the real picture.
    """
    clear = real[:, 3:] <= -1
    near = torch.nn.functional.max_pool2d(real[:, 3:], 2 * width + 1, 1, width) > 0
    around = (clear & near).expand(-1, 3, -1, -1)
    if not around.any():
        return 0.0
    wrong = [(over(made, g).clamp(-1, 1) - g).abs() / 2 for g in (-1.0, 1.0)]
    return float(torch.stack([each[around].mean() for each in wrong]).mean())


class TransparentImageAutoencoderTask(TransparentPictureTask):
    """Encoder and decoder learn from absolute, squared and perceptual errors."""

    class Settings(PictureSettings):
        """Network widths (see ``ImageAutoencoder``) and the weight of the Kullback–Leibler term."""

        patch_size: int
        latent_channels: int
        block_out_channels: tuple[int, ...]
        layers_per_block: int
        norm_num_groups: int
        mid_block_add_attention: bool
        sample_size: int
        kl_weight: float

    def __init__(self, settings: Settings, data: TransparentPictures, parts: ModelFolder):
        super().__init__(settings, data)
        values = settings.model_dump()
        self.autoencoder = ImageAutoencoder(**{name: values[name] for name in NETWORK}, image_channels=4)

    def forward(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Losses of the reconstruction from a sampled latent."""
        real = to_channels(batch["pixels"])
        posterior = self.autoencoder.posterior(real)
        losses = self.losses(self.autoencoder.reconstruct(posterior.sample(generator)), real, generator)
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        return {"loss": losses["similarity"] + self.settings.kl_weight * kl, **losses, "kl": kl}

    def finish(self) -> None:
        """Record the latents' per-channel statistics."""
        rng = np.random.default_rng(0)
        pixels = np.stack([self.pictures.draw(rng) for _ in range(1024)])
        latents = [
            self.autoencoder.posterior(to_channels(p).to(self.device)).mode() for p in np.array_split(pixels, 32)
        ]
        mean, std = channel_statistics(torch.cat(latents))
        self.autoencoder.register_to_config(latents_mean=mean, latents_std=std)


class TransparentImageDecoderTask(TransparentPictureTask):
    """The decoder alone goes on, with a critic that tells reconstructions from pictures; latents stay what they are."""

    class Settings(PictureSettings):
        """The weight of the critic's verdict, and of the noise that the decoder learns to forgive.

        Attributes:
            adversarial_weight: of the critic's verdict.
            critic_width: channels of the critic's first layer.
            noise: largest standard deviation of noise on latents, relative to theirs: a denoiser's latents are not perfect.
        """

        adversarial_weight: float
        critic_width: int
        noise: float

    def __init__(self, settings: Settings, data: TransparentPictures, parts: ModelFolder):
        super().__init__(settings, data)
        self.autoencoder = parts.load(ImageAutoencoder, "image_autoencoder")
        for part in (self.autoencoder.vae.decoder, self.autoencoder.vae.post_quant_conv):
            part.requires_grad_(True)
        self.critic = PictureCritic(self.autoencoder.config.image_channels, settings.critic_width)

    def forward(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Losses of reconstructions from latents with noise, and the critic's."""
        real = to_channels(batch["pixels"])
        with torch.no_grad():
            raw = self.autoencoder.posterior(real).mode()
            std = torch.tensor(self.autoencoder.config.latents_std or [1.0], device=raw.device)[:, None, None]
            level = self.settings.noise * torch.rand(len(raw), 1, 1, 1, generator=generator, device=raw.device)
            raw = raw + level * std * torch.randn(raw.shape, generator=generator, device=raw.device)
        made = self.autoencoder.reconstruct(raw)
        losses = self.losses(made, real, generator) | critic_losses(self.critic, made, real)
        return {
            "loss": losses["similarity"] + self.settings.adversarial_weight * losses["adversarial"] + losses["critic"],
            **losses,
        }
