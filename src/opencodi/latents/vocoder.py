"""Log-mel spectrogram → waveform: a Vocos (Siuzdak 2023, arXiv 2306.00814), ConvNeXt blocks and an inverse STFT."""

import math

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from torch import nn

from .mel import LOG_FLOOR, MelSpectrogram

_LOG_SILENCE = math.log(LOG_FLOOR)

MAX_LOG_MAGNITUDE = 7.0
"""A full-scale sine has an STFT magnitude of n_fft / 4 (256 = e^5.5); the network may not go far above."""


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, then a two-layer perceptron per frame, added to the input (Liu et al. 2022).

    Args:
        dim: channels.
        intermediate_dim: width of the perceptron.
        kernel_size: frames seen by the convolution.
        scale: first value of the per-channel gain on what is added.
    """

    def __init__(self, dim: int, intermediate_dim: int, kernel_size: int, scale: float):
        super().__init__()
        self.depthwise = nn.Conv1d(dim, dim, kernel_size, padding=kernel_size // 2, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.expand = nn.Linear(dim, intermediate_dim)
        self.contract = nn.Linear(intermediate_dim, dim)
        self.scale = nn.Parameter(torch.full((dim,), scale))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """frames [B, T, dim] → the same shape."""
        hidden = rearrange(self.depthwise(rearrange(frames, "b t c -> b c t")), "b c t -> b t c")
        return frames + self.scale * self.contract(F.gelu(self.expand(self.norm(hidden))))


class Vocoder(ModelMixin, ConfigMixin):
    """A small neural vocoder, called like transformers' ``SpeechT5HifiGan``: log-mel [B, T, M] → waveform [B, T * hop].

    It works at the mel frame rate and predicts, for each frame, the magnitude and phase of its spectrum; the inverse
    STFT does the rest. Magnitudes start from the mel values spread over the frequencies by the filter bank (a linear
    layer initialised so), so that an untrained vocoder has the right loudness and colour and silence stays silence.

    Args:
        sample_rate: Hz.
        n_fft: FFT size in samples.
        win_length: window in samples.
        hop_length: samples per mel frame.
        num_mel_bins: M.
        f_min: lowest mel frequency in Hz.
        f_max: highest mel frequency in Hz.
        mel_mean: mean of the log-mel values, subtracted before the first layer.
        mel_std: their standard deviation.
        dim: channels of the blocks.
        intermediate_dim: width of the perceptron inside each block.
        num_blocks: number of blocks.
        kernel_size: frames seen by each convolution, odd.
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
        mel_mean: float = -5.0,
        mel_std: float = 3.0,
        dim: int = 160,
        intermediate_dim: int = 480,
        num_blocks: int = 6,
        kernel_size: int = 7,
    ):
        super().__init__()
        self.mel_spectrogram = MelSpectrogram(sample_rate, n_fft, win_length, hop_length, num_mel_bins, f_min, f_max)
        bins = n_fft // 2 + 1
        self.embed = nn.Conv1d(num_mel_bins, dim, kernel_size, padding=kernel_size // 2)
        self.norm_in = nn.LayerNorm(dim, eps=1e-6)
        self.blocks = nn.ModuleList(
            [ConvNeXtBlock(dim, intermediate_dim, kernel_size, scale=1 / num_blocks) for _ in range(num_blocks)]
        )
        self.norm_out = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, 2 * bins)
        self.mel_to_magnitude = nn.Linear(num_mel_bins, bins)
        for linear in (module for module in self.modules() if isinstance(module, nn.Linear | nn.Conv1d)):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        self._spread_mel_over_frequencies()
        # A phase of pi * k puts a frame's energy at its centre; phase 0 puts it at the edges, where the window is zero.
        self.head.bias.data[bins:] = torch.pi * (torch.arange(bins) % 2)

    @torch.no_grad()
    def _spread_mel_over_frequencies(self) -> None:
        """Start ``mel_to_magnitude`` as an interpolation; a mel bin is the sum of filter x magnitude."""
        filters = self.mel_spectrogram.filters()
        gain = filters.sum(0).log()
        covered = filters.sum(1) > 0
        weight = filters / filters.sum(1, keepdim=True).clamp_min(1e-12)
        # Frequencies under no filter (0 Hz, Nyquist) copy their nearest neighbour's bin.
        nearest = filters.argmax(0).unsqueeze(0).sub(torch.arange(len(filters)).unsqueeze(1)).abs().argmin(1)
        weight[~covered] = F.one_hot(nearest[~covered], filters.shape[1]).float()
        self.mel_to_magnitude.weight.copy_(weight)
        self.mel_to_magnitude.bias.copy_(-(weight @ gain))

    def spectrum(self, spectrogram: torch.Tensor) -> torch.Tensor:
        """Log-mel [B, T, M] → complex spectrum [B, T, n_fft // 2 + 1], float32."""
        spectrogram = spectrogram.to(self.dtype)
        unit = (spectrogram - self.config.mel_mean) / self.config.mel_std
        hidden = self.norm_in(rearrange(self.embed(rearrange(unit, "b t m -> b m t")), "b c t -> b t c"))
        for block in self.blocks:
            hidden = block(hidden)
        residual, phase = self.head(self.norm_out(hidden)).chunk(2, dim=-1)
        # torch.istft and complex numbers need float32, whatever the model runs in.
        log_magnitude = self.mel_to_magnitude(spectrogram.clamp_min(_LOG_SILENCE)).float() + residual.float()
        with torch.autocast(spectrogram.device.type, enabled=False):
            return torch.polar(log_magnitude.clamp_max(MAX_LOG_MAGNITUDE).exp(), phase.float())

    def forward(self, spectrogram: torch.Tensor) -> torch.Tensor:
        """Log-mel [B, T, M] (or [T, M]) → waveform [B, T * hop_length] (or [T * hop_length])."""
        if spectrogram.ndim == 2:
            return self.forward(spectrogram.unsqueeze(0)).squeeze(0)
        return self.mel_spectrogram.istft(self.spectrum(spectrogram))
