"""The mark of sounds: noise that repeats about every second, shaped like the sound and about 20 dB below it.

It lies between 300 and 3,400 hertz, which telephones, mp3 and a resampling to 8 kHz keep. A detector makes every part of the
sound equally loud, lays the seconds over one another, and looks for the noise at every delay.
"""

from collections.abc import Callable

import numpy as np

from ...media import Audio, resample
from .evidence import normal_numbers

SAMPLE_RATE = 16_000
PERIOD = 16_384
"""Samples after which the noise repeats; also the number of delays that are tried."""
BAND = (300.0, 3_400.0)
STRENGTHS = tuple(0.02 * 1.25**step for step in range(10))
"""Of the sound around, in amplitude; tried in this order until the mark is sure to survive."""
LONGEST = 60 * SAMPLE_RATE
"""Samples that a detector listens to."""
_SURE = 7.2
_WINDOW, _HOP = 512, 128
_HIDDEN = (2, 3, 0.001)
"""Frames, frequencies and floor of the loudness that the noise follows: close to the sound, so that pauses stay quiet."""
_HEARD = (3, 6, 0.01)
"""The same, of the loudness that a detector evens out."""
_TONE = 0.1
_ROOT_HANN = np.sqrt(np.hanning(_WINDOW + 1)[:-1])


class SoundMark:
    """The mark of one key.

    Args:
        key: the secret.
    """

    def __init__(self, key: bytes):
        frequencies = np.abs(np.fft.fftfreq(PERIOD, 1 / SAMPLE_RATE))
        self._band = (frequencies >= BAND[0]) & (frequencies <= BAND[1])
        spectrum = np.fft.fft(normal_numbers(key, "sound", PERIOD))
        self._spectrum = spectrum / np.abs(spectrum) * self._band
        noise = np.fft.ifft(self._spectrum).real
        self._noise = noise / noise.std()

    def embed(self, audio: Audio) -> Audio:
        """The sound with the mark, as strong as it must be to survive ``CHANGES``."""
        heard = resample(audio, SAMPLE_RATE).samples.astype(np.float64)
        parts = spectrogram(heard)
        noise = spectrogram(np.resize(self._noise, len(heard))) / np.sqrt(_WINDOW / 2)
        shaped = waveform(noise * _loudness(parts, *_HIDDEN), len(heard))
        for strength in STRENGTHS:
            change = Audio((strength * shaped).clip(-1, 1).astype(np.float32), SAMPLE_RATE)
            added = np.resize(resample(change, audio.sample_rate).samples, len(audio.samples))
            marked = Audio((audio.samples + added).clip(-1, 1), audio.sample_rate)
            changed = resample(marked, SAMPLE_RATE).samples.astype(np.float64)
            if all(self._delays(change(changed)).max() >= _SURE for change in CHANGES):
                break
        return marked

    def score(self, audio: Audio) -> tuple[float, int]:
        """The best projection of a sound on the noise, and of how many that were tried."""
        return float(self.projections(audio).max()), PERIOD

    def projections(self, audio: Audio) -> np.ndarray:
        """The projections of a sound on the noise at every delay, [PERIOD]."""
        return self._delays(resample(audio, SAMPLE_RATE).samples[:LONGEST].astype(np.float64))

    def _delays(self, samples: np.ndarray) -> np.ndarray:
        parts = spectrogram(samples)
        loudness = _loudness(parts, *_HEARD)
        # Tones stand out of what is around them and hide the noise, so they count less.
        even = parts / (loudness**0.2 * (np.abs(parts) ** 2 + (_TONE * loudness) ** 2) ** 0.4 + 1e-12)
        even = waveform(even, len(samples))
        folded = np.pad(even, (0, -len(even) % PERIOD)).reshape(-1, PERIOD).sum(0)
        spectrum = np.fft.fft(folded) * self._band
        length = np.sqrt((np.abs(spectrum) ** 2).sum())
        if length < 1e-9:  # silence
            return np.zeros(PERIOD)
        return np.fft.ifft(np.conj(spectrum) * self._spectrum).real * PERIOD / length


def spectrogram(samples: np.ndarray) -> np.ndarray:
    """Samples [S] → complex [frames, frequencies], with silence before and behind."""
    padded = np.pad(samples, (_WINDOW, _WINDOW + -len(samples) % _HOP))
    return np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP] * _ROOT_HANN)


def waveform(parts: np.ndarray, length: int) -> np.ndarray:
    """The way back from ``spectrogram``: samples [length]."""
    frames = (np.fft.irfft(parts, _WINDOW) * _ROOT_HANN).reshape(len(parts), -1, _HOP)
    overlap = frames.shape[1]
    added = np.zeros((len(parts) + overlap - 1, _HOP))
    for place in range(overlap):
        added[place : place + len(parts)] += frames[:, place]
    return added.reshape(-1)[_WINDOW : _WINDOW + length] * 2 / overlap


def _loudness(parts: np.ndarray, frames: int, frequencies: int, floor: float) -> np.ndarray:
    """How loud it is around each place of a spectrogram, and at least a little where it is silent."""
    power = _mean(_mean(np.abs(parts) ** 2, frames, 0), frequencies, 1)
    loudness = np.sqrt(np.maximum(power, 0))
    return loudness + floor * loudness.max()


def _mean(values: np.ndarray, radius: int, axis: int) -> np.ndarray:
    """The mean of what is within ``radius`` along an axis."""
    total = np.insert(np.cumsum(values, axis), 0, 0, axis)
    places = np.arange(values.shape[axis])
    first, last = np.maximum(places - radius, 0), np.minimum(places + radius + 1, len(places))
    count = np.expand_dims(last - first, 1 - axis)
    return (np.take(total, last, axis) - np.take(total, first, axis)) / count


def _telephone(samples: np.ndarray) -> np.ndarray:
    audio = Audio(samples.astype(np.float32), SAMPLE_RATE)
    return resample(resample(audio, SAMPLE_RATE // 2), SAMPLE_RATE).samples.astype(np.float64)


def _noisy(samples: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=len(samples)) * np.sqrt((samples**2).mean() / 100)
    return (samples + noise).clip(-1, 1)


CHANGES: tuple[Callable[[np.ndarray], np.ndarray], ...] = (_telephone, _noisy)
"""What sounds commonly go through, at its worst."""
