"""Audio ↔ latents: log-mel spectrogram as a one-channel image, pixel-unshuffle, then a library AutoencoderKL."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import nn

from ..errors import ArgumentError
from ..media import Audio, resample
from .mel import MelSpectrogram, prepare_waveform
from .normalisation import denormalise, normalise, require_finite


class AudioAutoencoder(ModelMixin, ConfigMixin):
    """A variational autoencoder for log-mel spectrograms [B, 1, T, M] (time, mel bins).

    The published AudioLDM autoencoder (SPEC §4) is the configuration with ``hop_length=160, patch_size=1,
    latent_channels=8, block_out_channels=(128, 256, 512), layers_per_block=2, mel_mean=0, mel_std=1, waveform_peak=0.5,
    scaling_factor=0.9228, mid_block_add_attention=True``. Small ones fold patches of the spectrogram into channels
    first, as ``ImageAutoencoder`` does.

    Args:
        sample_rate: Hz.
        n_fft: FFT size in samples.
        win_length: window in samples.
        hop_length: samples per mel frame.
        num_mel_bins: M; a multiple of ``downsampling``.
        f_min: lowest mel frequency in Hz.
        f_max: highest mel frequency in Hz.
        waveform_peak: waveforms are scaled to this peak before the spectrogram (0.5 in the reference).
        mel_mean: mean of the log-mel values of the training data, subtracted before the first layer.
        mel_std: their standard deviation.
        patch_size: spectrogram positions folded into channels per side before the first convolution; 1 folds nothing.
        latent_channels: C of the latents.
        block_out_channels: width of each level; every level but the last halves the resolution.
        layers_per_block: residual blocks per level (one more in the decoder).
        norm_num_groups: groups of every GroupNorm; must divide the widths.
        mid_block_add_attention: self-attention at the lowest resolution.
        scaling_factor: latents are multiplied by this.
        latents_mean: per-channel mean of the raw latents, or None.
        latents_std: per-channel standard deviation of the raw latents, or None.
        sample_seconds: length of sounds made by default.
    """

    @register_to_config
    def __init__(
        self,
        sample_rate: int = 16000,
        n_fft: int = 1024,
        win_length: int = 1024,
        hop_length: int = 256,
        num_mel_bins: int = 64,
        f_min: float = 0.0,
        f_max: float = 8000.0,
        waveform_peak: float = 0.9,
        mel_mean: float = -5.0,
        mel_std: float = 3.0,
        patch_size: int = 4,
        latent_channels: int = 16,
        block_out_channels: Sequence[int] = (64, 96),
        layers_per_block: int = 1,
        norm_num_groups: int = 32,
        mid_block_add_attention: bool = False,
        scaling_factor: float = 1.0,
        latents_mean: Sequence[float] | None = None,
        latents_std: Sequence[float] | None = None,
        sample_seconds: float = 2.048,
    ):
        super().__init__()
        self.mel_spectrogram = MelSpectrogram(sample_rate, n_fft, win_length, hop_length, num_mel_bins, f_min, f_max)
        levels = len(block_out_channels)
        self.vae = AutoencoderKL(
            in_channels=patch_size**2,
            out_channels=patch_size**2,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=tuple(block_out_channels),
            layers_per_block=layers_per_block,
            latent_channels=latent_channels,
            norm_num_groups=norm_num_groups,
            mid_block_add_attention=mid_block_add_attention,
        )

    @property
    def downsampling(self) -> int:
        """Mel frames (and mel bins) per latent position."""
        return self.config.patch_size * 2 ** (len(self.config.block_out_channels) - 1)

    def mel(self, waveform: torch.Tensor) -> torch.Tensor:
        """Waveform [B, S] at ``sample_rate`` (from ``mel.prepare_waveform``) → log-mel [B, 1, S // hop_length, M]."""
        return self.mel_spectrogram(waveform).unsqueeze(1)

    def posterior(self, mel: torch.Tensor) -> DiagonalGaussianDistribution:
        """The distribution of raw latents for log-mel [B, 1, T, M]; T and M multiples of ``downsampling``."""
        unit = (mel - self.config.mel_mean) / self.config.mel_std
        return self.vae.encode(F.pixel_unshuffle(unit.to(self.dtype), self.config.patch_size)).latent_dist

    def reconstruct(self, raw: torch.Tensor) -> torch.Tensor:
        """Raw latents [B, C, t, m] → log-mel [B, 1, T, M]."""
        unit = F.pixel_shuffle(self.vae.decode(raw).sample, self.config.patch_size)
        return unit * self.config.mel_std + self.config.mel_mean

    @apply_forward_hook
    def encode(self, mel: torch.Tensor, generator: torch.Generator | None = None, sample: bool = False) -> torch.Tensor:
        """Log-mel [B, 1, T, M] → normalised latents [B, C, t, m]; the posterior mean unless ``sample``."""
        posterior = self.posterior(mel)
        return normalise(posterior.sample(generator) if sample else posterior.mode(), self.config)

    @apply_forward_hook
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Normalised latents [B, C, t, m] → log-mel [B, 1, T, M]."""
        return self.reconstruct(denormalise(latents, self.config))

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        """Log-mel [B, 1, T, M] through the autoencoder and back, from the posterior mean."""
        return self.decode(self.encode(mel))


class AudioCodec:
    """``Audio`` objects ↔ latents [B, C, t, m].

    Every sound is brought to the autoencoder's sample rate, to one loudness (``mel.prepare_waveform``) and to one
    length; what comes back has that length too, trailing silence included.

    Args:
        autoencoder: turns log-mel spectrograms into latents and back.
        vocoder: turns log-mel [B, T, M] into a waveform, such as ``Vocoder`` or transformers' ``SpeechT5HifiGan``;
            without one the Griffin-Lim algorithm does, roughly.
    """

    def __init__(self, autoencoder: AudioAutoencoder, vocoder: nn.Module | None = None):
        self.autoencoder = autoencoder
        self.vocoder = vocoder
        self.defaults = {"seconds": autoencoder.config.sample_seconds}

    def latent_shape(self, batch_size: int, seconds: float | None = None, **_: object) -> tuple[int, ...]:
        """[B, C, t, m] for sounds of ``seconds``, rounded to whole latent positions.

        Raises:
            ArgumentError: if ``seconds`` is not positive.
        """
        factor = self.autoencoder.downsampling
        frames, bins = self._num_frames(seconds), self.autoencoder.config.num_mel_bins
        return batch_size, self.autoencoder.config.latent_channels, frames // factor, bins // factor

    def waveform(self, audios: Sequence[Audio], seconds: float | None = None) -> torch.Tensor:
        """Sounds of any rate, loudness and length → [B, S] as the autoencoder's ``mel`` wants it."""
        config = self.autoencoder.config
        num_samples = self._num_frames(seconds) * config.hop_length
        samples = [torch.from_numpy(resample(audio, config.sample_rate).samples) for audio in audios]
        return torch.stack([prepare_waveform(item, config.waveform_peak, num_samples) for item in samples])

    def encode(self, audios: Sequence[Audio], seconds: float | None = None, **_: object) -> torch.Tensor:
        """Sounds, cut or padded with silence to ``seconds`` → latents [B, C, t, m]."""
        waveform = self.waveform(audios, seconds).to(self.autoencoder.device)
        return self.autoencoder.encode(self.autoencoder.mel(waveform))

    def decode(self, latents: torch.Tensor) -> list[Audio]:
        """Latents [B, C, t, m] → sounds."""
        config = self.autoencoder.config
        mel = self.autoencoder.decode(latents.to(self.autoencoder.dtype)).squeeze(1)
        if self.vocoder is None:
            waveform = self.autoencoder.mel_spectrogram.griffin_lim(mel)
        else:
            waveform = self.vocoder(mel.to(self.vocoder.dtype))
        # A HiFi-GAN adds a few samples of its own (32 in the published one).
        waveform = require_finite("audio", waveform[:, : mel.shape[1] * config.hop_length].float()).clamp(-1, 1)
        return [Audio(samples, config.sample_rate) for samples in waveform.cpu().numpy()]

    def decode_arrays(self, latents: torch.Tensor) -> np.ndarray:
        """Latents [B, C, t, m] → float32 samples [B, S]."""
        return np.stack([audio.samples for audio in self.decode(latents)])

    def _num_frames(self, seconds: float | None) -> int:
        seconds = self.defaults["seconds"] if seconds is None else seconds
        if not seconds > 0:
            raise ArgumentError(f"seconds: must be positive, not {seconds}")
        config, factor = self.autoencoder.config, self.autoencoder.downsampling
        return max(1, round(seconds * config.sample_rate / config.hop_length / factor)) * factor
