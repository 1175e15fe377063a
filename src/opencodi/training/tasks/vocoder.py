"""Stage 1, sound: from a mel spectrogram back to a waveform."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from ...data.augment import audio_batch
from ...latents.vocoder import Vocoder
from ..components import ModelFolder
from ..discriminator import SpectrogramDiscriminator, adversarial_losses
from ..pictures import save_grid
from ..recipe import Values
from ..task import Task
from .autoencoders import Recordings

RESOLUTIONS = ((256, 64), (512, 128), (1024, 256), (2048, 512))
"""FFT sizes and hops of the spectral loss, in samples."""

FEATURE_WEIGHT = 2.0
"""Of the distance of the discriminator's features beside its verdict (HiFi-GAN, Kong et al. 2020)."""


def spectral_distance(predicted: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
    """Multi-resolution STFT loss (Yamamoto et al. 2020): spectral convergence and log-magnitude error.

    predicted, target: waveforms [B, S].
    """
    convergence, logarithm = 0.0, 0.0
    for n_fft, hop in RESOLUTIONS:
        window = torch.hann_window(n_fft, device=target.device)
        a, b = (
            torch.stft(x.float(), n_fft, hop, window=window, return_complex=True).abs().clamp_min(1e-4)
            for x in (predicted, target)
        )
        convergence = convergence + (a - b).norm() / b.norm().clamp_min(1e-3) / len(RESOLUTIONS)
        logarithm = logarithm + (a.log() - b.log()).abs().mean() / len(RESOLUTIONS)
    return {"spectral_convergence": convergence, "log_magnitude": logarithm}


class VocoderTask(Task):
    """Learn mel → waveform on random stretches of real recordings."""

    class Settings(Values):
        """What learns, from what.

        Attributes:
            dim, intermediate_dim, num_blocks: widths of the network, see ``Vocoder``.
            sound_share: share of the stretches that are no speech.
            segment_frames: length of a stretch in mel frames.
            mel_weight: of the log-mel error beside the multi-resolution spectral distance.
            adversarial_weight: of the losses against a discriminator that learns beside the vocoder; 0: none.
        """

        dim: int
        intermediate_dim: int
        num_blocks: int
        sound_share: float
        segment_frames: int
        mel_weight: float = 1.0
        adversarial_weight: float = 0.0

    def __init__(self, settings: Settings, data: Recordings, parts: ModelFolder):
        super().__init__()
        self.settings, self.data = settings, data
        self.vocoder = Vocoder(**settings.model_dump(include={"dim", "intermediate_dim", "num_blocks"}))
        self.discriminator = SpectrogramDiscriminator(RESOLUTIONS[1:]) if settings.adversarial_weight else None

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> dict[str, torch.Tensor]:
        """waveform [B, segment_frames * hop]: stretches that are not silent where the recording has any sound."""
        chosen = self.data.draw(rng, self.settings.sound_share, batch_size)
        waveforms = audio_batch(self.data.samples[chosen], rng)
        length = self.settings.segment_frames * self.vocoder.config.hop_length
        stretches = []
        for waveform in waveforms:
            audible = max(length, int(torch.nonzero(waveform.abs() > 0.01).max()) + 1) if waveform.any() else length
            start = int(rng.integers(0, audible - length + 1))
            stretches.append(waveform[start : start + length])
        return {"waveform": torch.stack(stretches)}

    def forward(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Spectral distance between a recording and the sound vocoded from its mel, and the adversarial losses."""
        waveform = batch["waveform"]
        mel = self.vocoder.mel_spectrogram(waveform)
        predicted = self.vocoder(mel)
        losses = spectral_distance(predicted, waveform)
        losses["mel"] = (self.vocoder.mel_spectrogram(predicted) - mel).abs().mean()
        loss = losses["spectral_convergence"] + losses["log_magnitude"] + self.settings.mel_weight * losses["mel"]
        if self.discriminator is not None:
            against = adversarial_losses(self.discriminator, predicted, waveform)
            fooling = against["adversarial"] + FEATURE_WEIGHT * against["feature_matching"]
            loss = loss + self.settings.adversarial_weight * fooling + against["discriminator"]
            losses |= against
        return {"loss": loss, **losses}

    def validate(self, generator: torch.Generator) -> dict[str, float]:
        """Log-mel error and spectral convergence on held-out recordings, beside Griffin-Lim's on the same ones."""
        waveform = audio_batch(self.data.held[:64]).to(self.device)
        mel = self.vocoder.mel_spectrogram(waveform)
        found = {}
        for name, made in {
            "": self.vocoder(mel),
            "griffin_lim_": self.vocoder.mel_spectrogram.griffin_lim(mel, generator=generator),
        }.items():
            found[f"{name}log_mel_error"] = float((self.vocoder.mel_spectrogram(made) - mel).abs().mean())
            found[f"{name}spectral_convergence"] = float(spectral_distance(made, waveform)["spectral_convergence"])
        return found

    def score(self, measures: Mapping[str, float]) -> float | None:
        """The log-mel error, negated."""
        return -measures["log_mel_error"] if measures else None

    def sample(self, path: Path, generator: torch.Generator) -> None:
        """Spectrograms of recordings, each above that of the vocoded sound."""
        waveform = audio_batch(self.data.held[:16]).to(self.device)
        mel = self.vocoder.mel_spectrogram(waveform)
        again = self.vocoder.mel_spectrogram(self.vocoder(mel))
        save_grid((torch.cat([mel, again]).unsqueeze(1).transpose(-1, -2).flip(-2) + 5) / 6, path, columns=16)

    def components(self) -> dict[str, torch.nn.Module]:
        """The vocoder."""
        return {"audio_vocoder": self.vocoder}
