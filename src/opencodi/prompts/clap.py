"""Sound → condition with LAION-CLAP's audio tower (HTSAT-large), as in the published model (SPEC §1.1)."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from transformers import ClapAudioConfig, ClapAudioModelWithProjection
from transformers.audio_utils import mel_filter_bank

from ..media.audio import resample
from ..media.objects import Audio
from .condition import Condition, check_unconditional
from .encoder import PromptEncoder

UPSAMPLING = 3
"""CLAP hears 48 kHz, CoDi gives it 16 kHz: what lies above 8 kHz is never heard."""


class ClapAudioPromptEncoder(PromptEncoder):
    """CLAP's audio tower and projection.

    Args:
        sample_rate: Hz of the sounds before they are brought to three times that rate.
        num_samples: samples heard at three times ``sample_rate`` (10 s at 48 kHz).
        n_fft: FFT size and window in samples.
        hop_length: samples per mel frame.
        num_mel_bins: mel bins.
        f_min: lowest mel frequency in Hz.
        f_max: highest mel frequency in Hz.
        spec_size: side of the square the spectrogram is folded into.
        patch_embeds_hidden_size: width of the first level; each level doubles it.
        depths: transformer layers of each level.
        num_attention_heads: attention heads of each level.
        projection_dim: D, width of the shared space.
        unconditional: ``"empty"``: the unconditional token is the embedding of silence, as in the reference
            (SPEC §1.2); ``"zeros"``: it is zero.
    """

    @register_to_config
    def __init__(
        self,
        sample_rate: int = 16000,
        num_samples: int = 480000,
        n_fft: int = 1024,
        hop_length: int = 480,
        num_mel_bins: int = 64,
        f_min: float = 50.0,
        f_max: float = 14000.0,
        spec_size: int = 256,
        patch_embeds_hidden_size: int = 256,
        depths: Sequence[int] = (2, 2, 12, 2),
        num_attention_heads: Sequence[int] = (4, 8, 16, 32),
        projection_dim: int = 768,
        unconditional: str = "empty",
    ):
        super().__init__()
        check_unconditional(unconditional)
        self.audio = ClapAudioModelWithProjection(
            ClapAudioConfig(
                num_mel_bins=num_mel_bins,
                spec_size=spec_size,
                patch_embeds_hidden_size=patch_embeds_hidden_size,
                hidden_size=patch_embeds_hidden_size * 2 ** (len(depths) - 1),
                depths=list(depths),
                num_attention_heads=list(num_attention_heads),
                projection_dim=projection_dim,
                hidden_dropout_prob=0.0,
            )
        )

    def preprocess(self, sounds: Sequence[Audio]) -> dict[str, torch.Tensor]:
        """Mono sounds → ``input_features``: log-mel in dB [B, 1, T, M], float32.

        Of a sound longer than 10 s the middle is heard (the reference takes any 10 s, at random); a shorter one is
        repeated as often as it fits whole, and silence follows.
        """
        waveforms = [self._waveform(resample(sound, self.config.sample_rate).samples) for sound in sounds]
        return {"input_features": self.log_mel(torch.stack(waveforms)).unsqueeze(1)}

    def _waveform(self, samples: np.ndarray) -> torch.Tensor:
        """Samples at ``sample_rate`` → waveform [num_samples] at three times that rate."""
        waveform, length = upsample(torch.from_numpy(samples)), self.config.num_samples
        if len(waveform) > length:
            start = (len(waveform) - length) // 2
            return waveform[start : start + length]
        waveform = waveform.repeat(length // len(waveform))
        return F.pad(waveform, (0, length - len(waveform)))

    def log_mel(self, waveform: torch.Tensor) -> torch.Tensor:
        """Waveform [B, S] → mel powers in dB [B, S // hop_length + 1, M], float32, not below -100."""
        config = self.config
        spectrum = torch.stft(
            waveform.float(),
            config.n_fft,
            hop_length=config.hop_length,
            window=torch.hann_window(config.n_fft, device=waveform.device),
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        filters = _filters(
            config.n_fft, config.num_mel_bins, config.f_min, config.f_max, UPSAMPLING * config.sample_rate
        )
        mel = spectrum.abs().square().transpose(1, 2) @ filters.to(waveform.device)
        return 10 * mel.clamp_min(1e-10).log10()

    def forward(self, input_features: torch.Tensor) -> Condition:
        """``input_features`` [B, 1, T, M], log-mel in dB → Condition [B, 1, D]."""
        return Condition.from_embedding(self.audio(input_features=input_features.to(self.dtype)).audio_embeds)

    def unconditional(self, batch_size: int) -> Condition:
        """The condition [B, 1, D] of hearing nothing, for classifier-free guidance."""
        if self.config.unconditional == "zeros":
            return Condition.zeros(batch_size, self.config.projection_dim, like=self)
        silence = Audio(np.zeros(self.config.sample_rate, dtype=np.float32), self.config.sample_rate)
        condition = self.encode([silence])
        return Condition(condition.tokens.expand(batch_size, -1, -1), condition.mask.expand(batch_size, -1))


def upsample(samples: torch.Tensor, factor: int = UPSAMPLING) -> torch.Tensor:
    """[S] → [factor * S] by a Hann-windowed sinc of six zero crossings that passes 99% of the band.

    These are torchaudio's defaults, which the reference uses.
    """
    crossings, rolloff = 6, 0.99
    reach = math.ceil(crossings / rolloff)
    # Distances, in input samples, from the output samples between two input samples to the input samples around them
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    phases = torch.arange(factor, dtype=torch.float64) / factor
    distance = ((offsets[None] - phases[:, None]) * rolloff).clamp(-crossings, crossings)
    kernels = torch.sinc(distance) * torch.cos(distance * torch.pi / crossings / 2) ** 2 * rolloff
    padded = F.pad(samples.float(), (reach, reach))[None, None]
    return F.conv1d(padded, kernels.float()[:, None])[0].T.flatten()


@lru_cache(maxsize=16)
def _filters(n_fft: int, num_mel_bins: int, f_min: float, f_max: float, sample_rate: int) -> torch.Tensor:
    bank = mel_filter_bank(
        num_frequency_bins=n_fft // 2 + 1,
        num_mel_filters=num_mel_bins,
        min_frequency=f_min,
        max_frequency=f_max,
        sampling_rate=sample_rate,
        norm="slaney",
        mel_scale="slaney",
    )
    with torch.inference_mode(False):
        return torch.from_numpy(bank).float()
