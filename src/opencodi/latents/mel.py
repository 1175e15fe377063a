"""Waveform ↔ log-mel spectrogram: AudioLDM's front end (SPEC §4) for any sample rate, hop and number of bins."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from transformers.audio_utils import mel_filter_bank

LOG_FLOOR = 1e-5
"""Mel magnitudes are clamped here before the logarithm: silence is log(1e-5) = -11.5."""

SILENCE_PEAK = 1e-4
"""Below this peak (-80 dB of full scale) a waveform counts as silence and is not amplified."""


def prepare_waveform(waveform: torch.Tensor, peak: float, num_samples: int | None = None) -> torch.Tensor:
    """Give waveforms one loudness, then one length: subtract the mean, scale to ``peak``, cut or pad with zeros.

    The reference does exactly this with ``peak=0.5`` (SPEC §4). Loudness is not part of what the models learn: a quiet
    recording of a sound and a loud one have the same latents. Silence stays silence.

    Args:
        waveform: [..., S], any scale.
        peak: largest absolute sample of the result.
        num_samples: samples of the result; None keeps S.

    Returns:
        [..., num_samples or S], float32.
    """
    waveform = waveform.float()
    waveform = waveform - waveform.mean(-1, keepdim=True)
    largest = waveform.abs().amax(-1, keepdim=True)
    waveform = waveform * torch.where(largest > SILENCE_PEAK, peak / largest.clamp_min(SILENCE_PEAK), 1.0)
    if num_samples is not None:
        waveform = waveform[..., :num_samples]
        waveform = torch.nn.functional.pad(waveform, (0, num_samples - waveform.shape[-1]))
    return waveform


@dataclass(frozen=True)
class MelSpectrogram:
    """Log-mel spectrogram: magnitude STFT (hann, centred, reflected), slaney mel bins, log(max(., 1e-5)); SPEC §4.

    It has no parameters and always computes in float32, whatever the dtype of the model that holds it.

    Attributes:
        sample_rate: Hz.
        n_fft: FFT size in samples.
        win_length: window in samples, at most ``n_fft``.
        hop_length: samples from one frame to the next.
        num_mel_bins: M.
        f_min: lowest frequency in Hz.
        f_max: highest frequency in Hz.
    """

    sample_rate: int = 16000
    n_fft: int = 1024
    win_length: int = 1024
    hop_length: int = 256
    num_mel_bins: int = 64
    f_min: float = 0.0
    f_max: float = 8000.0

    def filters(self, device: torch.device | str = "cpu") -> torch.Tensor:
        """The slaney filter bank [n_fft // 2 + 1, M]: magnitudes of one frame times this are its mel magnitudes."""
        return _filters(self, str(device))

    def stft(self, waveform: torch.Tensor) -> torch.Tensor:
        """Waveform [B, S] → complex spectrum [B, S // hop_length, n_fft // 2 + 1]; frame t is centred at t * hop."""
        spectrum = torch.stft(
            waveform.float(),
            self.n_fft,
            hop_length=self.hop_length,
            win_length=self.win_length,
            window=self._window(waveform.device),
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        # A centred STFT has one frame more than whole hops; like the reference, drop the last, centred past the end.
        return spectrum[..., : waveform.shape[-1] // self.hop_length].transpose(1, 2)

    def istft(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Complex spectrum [B, T, n_fft // 2 + 1] → waveform [B, T * hop_length]."""
        return torch.istft(
            spectrum.transpose(1, 2),
            self.n_fft,
            hop_length=self.hop_length,
            win_length=self.win_length,
            window=self._window(spectrum.device),
            center=True,
            length=spectrum.shape[1] * self.hop_length,
        )

    def __call__(self, waveform: torch.Tensor) -> torch.Tensor:
        """Waveform [B, S], S > n_fft // 2 → log-mel [B, T, M], T = S // hop_length."""
        with torch.autocast(waveform.device.type, enabled=False):
            mel = self.stft(waveform).abs() @ self.filters(waveform.device)
            return mel.clamp_min(LOG_FLOOR).log()

    def griffin_lim(
        self, log_mel: torch.Tensor, num_iterations: int = 32, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Log-mel [B, T, M] → waveform [B, T * hop_length] without a network (Griffin & Lim 1984; Perraudin 2013).

        The baseline a trained vocoder is compared with. Magnitudes come from the filter bank's pseudo-inverse, the
        first phases from ``generator`` (without one, each frame starts as a pulse at its centre).
        """
        with torch.autocast(log_mel.device.type, enabled=False):
            inverse = torch.linalg.pinv(self.filters(log_mel.device))
            magnitude = (log_mel.float().exp() @ inverse).clamp_min(0.0)
            phase = torch.pi * (torch.arange(magnitude.shape[-1], device=magnitude.device) % 2).expand_as(magnitude)
            if generator is not None:
                noise = torch.rand(magnitude.shape, generator=generator, device=generator.device)
                phase = (2 * torch.pi * noise).to(magnitude.device)
            spectrum, previous = torch.polar(magnitude, phase), None
            for _ in range(num_iterations):
                consistent = self.stft(self.istft(spectrum))
                ahead = consistent if previous is None else consistent + 0.99 * (consistent - previous)
                previous = consistent
                spectrum = torch.polar(magnitude, ahead.angle())
            return self.istft(spectrum)

    def _window(self, device: torch.device) -> torch.Tensor:
        return torch.hann_window(self.win_length, device=device)


@lru_cache(maxsize=16)
def _filters(mel: MelSpectrogram, device: str) -> torch.Tensor:
    bank = mel_filter_bank(
        num_frequency_bins=mel.n_fft // 2 + 1,
        num_mel_filters=mel.num_mel_bins,
        min_frequency=mel.f_min,
        max_frequency=mel.f_max,
        sampling_rate=mel.sample_rate,
        norm="slaney",
        mel_scale="slaney",
    )
    with torch.inference_mode(False):
        return torch.from_numpy(bank).float().to(device)
