"""Sound → condition. It hears both real sounds and spoken words."""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers.configuration_utils import register_to_config
from torch import nn

from ..errors import ArgumentError
from ..latents.mel import MelSpectrogram, prepare_waveform
from ..media.audio import resample
from ..media.objects import Audio
from .condition import Condition, check_unconditional
from .encoder import PromptEncoder
from .tower import Tower


class AudioPromptEncoder(PromptEncoder):
    """Log-mel spectrogram, a convolutional tower and a projection into the shared space.

    Args:
        sample_rate: Hz.
        num_samples: samples heard (2.048 s by default); a multiple of ``hop_length``.
        n_fft: FFT size in samples.
        win_length: window in samples.
        hop_length: samples per mel frame.
        num_mel_bins: mel bins.
        f_min: lowest mel frequency in Hz.
        f_max: highest mel frequency in Hz.
        waveform_peak: waveforms are scaled to this peak first: loudness is not heard.
        mel_mean: subtracted from the log-mel values before the first layer.
        mel_std: they are divided by this.
        patch_size: spectrogram positions folded into channels per side before the first convolution.
        block_out_channels: width of each level; the last is the width of the features.
        layers_per_block: residual blocks of each level.
        num_attention_heads: heads of the tower's attention layer.
        norm_num_groups: groups of every GroupNorm.
        dropout: dropout in the tower's attention layer.
        projection_dim: D, width of the shared space.
        unconditional: ``"zeros"``: the unconditional token is zero; ``"empty"``: the embedding of silence, as in the
            reference (SPEC §1.2).
    """

    @register_to_config
    def __init__(
        self,
        sample_rate: int = 16000,
        num_samples: int = 32768,
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
        block_out_channels: Sequence[int] = (32, 64, 144),
        layers_per_block: Sequence[int] = (1, 1, 2),
        num_attention_heads: int = 4,
        norm_num_groups: int = 8,
        dropout: float = 0.1,
        projection_dim: int = 256,
        unconditional: str = "zeros",
    ):
        super().__init__()
        check_unconditional(unconditional)
        self.mel_spectrogram = MelSpectrogram(sample_rate, n_fft, win_length, hop_length, num_mel_bins, f_min, f_max)
        self.tower = Tower(
            1,
            (num_samples // hop_length, num_mel_bins),
            patch_size,
            block_out_channels,
            layers_per_block,
            num_attention_heads,
            norm_num_groups,
            dropout,
        )
        self.projection = nn.Linear(block_out_channels[-1], projection_dim, bias=False)

    def preprocess(self, sounds: Sequence[Audio]) -> dict[str, torch.Tensor]:
        """Mono sounds → ``waveform`` [B, num_samples].

        Of a longer sound the loudest stretch is heard (the reference crops at random); a shorter one is followed by
        silence.
        """
        length = self.config.num_samples
        batch = np.zeros((len(sounds), length), dtype=np.float32)
        for row, sound in zip(batch, sounds):
            samples = _loudest_stretch(resample(sound, self.config.sample_rate).samples, length)
            row[: len(samples)] = samples
        return {"waveform": torch.from_numpy(batch)}

    def mel(self, waveform: torch.Tensor) -> torch.Tensor:
        """``waveform`` [B, num_samples], any loudness → log-mel [B, 1, T, M], float32."""
        return self.mel_spectrogram(prepare_waveform(waveform, self.config.waveform_peak)).unsqueeze(1)

    def forward(self, waveform: torch.Tensor | None = None, mel: torch.Tensor | None = None) -> Condition:
        """``waveform`` [B, num_samples], or its ``mel`` [B, 1, T, M] made before → Condition [B, 1, D].

        Raises:
            ArgumentError: if not exactly one of the two is given.
        """
        if (waveform is None) == (mel is None):
            raise ArgumentError("AudioPromptEncoder: give either waveform or mel")
        mel = self.mel(waveform) if mel is None else mel
        hidden = (mel - self.config.mel_mean) / self.config.mel_std
        return Condition.from_embedding(self.projection(self.tower(hidden.to(self.dtype))))

    def unconditional(self, batch_size: int) -> Condition:
        """The condition [B, 1, D] of hearing nothing, for classifier-free guidance."""
        if self.config.unconditional == "zeros":
            return Condition.zeros(batch_size, self.config.projection_dim, like=self)
        silence = Audio(np.zeros(self.config.num_samples, dtype=np.float32), self.config.sample_rate)
        return self.encode([silence] * batch_size)


def _loudest_stretch(samples: np.ndarray, length: int) -> np.ndarray:
    """The ``length`` consecutive samples of most energy; all of them if there are no more."""
    if len(samples) <= length:
        return samples
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    start = int(np.argmax(energy[length:] - energy[:-length]))
    return samples[start : start + length]
