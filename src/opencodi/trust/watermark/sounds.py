"""The mark of sounds: noise that repeats about every second, shaped like the sound and about 25 dB below it.

It lies between 300 and 3,400 hertz, which telephones, mp3 and a resampling to 8 kHz keep. A detector makes every part of the
sound equally loud, but for those that other noise would fill, lays the seconds over one another, and looks for the noise at
every delay.
"""

import numpy as np

from ...media import Audio, resample
from .evidence import normal_numbers

SAMPLE_RATE = 16_000
PERIOD = 16_384
"""Samples after which the noise repeats; also the number of delays that are tried."""
BAND = (300.0, 3_400.0)
STRENGTHS = (0.02, 0.3)
"""Least and most of the mark, of the sound's root mean square."""
LONGEST = 60 * SAMPLE_RATE
"""Samples that a detector listens to."""
_SURE_IN_NOISE, _SURE_WHEN_CUT = 7.8, 7.0
"""Projections, of which 6.4 are needed; noise differs from time to time by about 0.5."""
_SPARE = 0.15
_DRAWS = 4
_WINDOW, _HOP = 512, 128
_HIDDEN = (2, 2, 1e-5)
"""Frames, frequencies and floor of the loudness that the noise follows: close to the sound, so that pauses stay quiet."""
_HEARD = (3, 6)
"""Frames and frequencies of the loudness that a detector evens out."""
_QUIET = 0.03
"""Of the mean power: where it is quieter, noise at 20 dB soon covers the mark, so a detector trusts it little."""
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
        """The sound with the mark, as strong as it must be to survive noise at 20 dB and the loss of its first tenth.

        The noise begins where the sound resembles it most by chance, which saves half of its amplitude.
        """
        heard = resample(audio, SAMPLE_RATE).samples.astype(np.float64)
        before = self._margins(heard)
        delay = int(before.argmax())
        shape = _shaped(np.resize(np.roll(self._noise, -delay), len(heard)), heard)
        strength, best = STRENGTHS[0], None
        for _ in range(6):
            change = Audio((strength * shape).clip(-1, 1).astype(np.float32), SAMPLE_RATE)
            added = np.resize(resample(change, audio.sample_rate).samples, len(audio.samples))
            marked = Audio((audio.samples + added).clip(-1, 1), audio.sample_rate)
            margin = self._margins(resample(marked, SAMPLE_RATE).samples.astype(np.float64))[delay]
            if margin >= 0 and (best is None or strength < best[0]):
                best = strength, marked
            gained = max(margin - before[delay], 1e-3)
            # The projection grows nearly in proportion to the strength.
            following = np.clip(strength * (_SPARE / 2 - before[delay]) / gained, *STRENGTHS)
            if 0 <= margin <= _SPARE or following == strength:
                break
            strength = following
        return marked if best is None else best[1]

    def score(self, audio: Audio) -> tuple[float, int]:
        """The best projection of a sound on the noise, and of how many that were tried."""
        return float(self.projections(audio).max()), PERIOD

    def projections(self, audio: Audio) -> np.ndarray:
        """The projections of a sound on the noise at every delay, [PERIOD]."""
        return self._delays(resample(audio, SAMPLE_RATE).samples[:LONGEST].astype(np.float64))

    def _margins(self, samples: np.ndarray) -> np.ndarray:
        """By how much the projections after noise and after a cut are larger than they must be, at every delay, [PERIOD]."""
        samples = samples[:LONGEST]
        in_noise = np.mean([self._delays(_noisy(samples, draw)) for draw in range(_DRAWS)], axis=0)
        cut = _cut(samples)
        when_cut = np.roll(self._delays(cut), len(cut) - len(samples))
        return np.minimum(in_noise - _SURE_IN_NOISE, when_cut - _SURE_WHEN_CUT)

    def _delays(self, samples: np.ndarray) -> np.ndarray:
        parts = spectrogram(samples)
        even = waveform(parts * _trust(parts), len(samples))
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


def _shaped(noise: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Noise [S] with the shape of a sound [S] in time and frequency, and its power; a little more where a detector listens."""
    parts = spectrogram(samples)
    frames, frequencies, floor = _HIDDEN
    loudness = np.sqrt(_power(parts, frames, frequencies))
    loudness += floor * loudness.max()
    trust = np.mean([_trust(spectrogram(_noisy(samples, draw))) for draw in range(_DRAWS)], axis=0)
    cut = spectrogram(_cut(samples))
    trust[-len(cut) :] += _trust(cut)
    shaped = waveform(spectrogram(noise) * loudness * np.sqrt(loudness * trust), len(samples))
    return shaped * np.sqrt((samples**2).mean() / max((shaped**2).mean(), 1e-20))


def _trust(parts: np.ndarray) -> np.ndarray:
    """By what a detector multiplies a spectrogram [frames, frequencies]: it evens out what is loud, and lowers what is not."""
    power = _power(parts, *_HEARD)
    loud = power / (power + _QUIET * (np.abs(parts) ** 2).mean() + 1e-20)
    # Tones stand out of what is around them and hide the noise, so they count less.
    return loud**2 / (power**0.1 * (np.abs(parts) ** 2 + _TONE**2 * power) ** 0.4 + 1e-12)


def _power(parts: np.ndarray, frames: int, frequencies: int) -> np.ndarray:
    """The mean power around each place of a spectrogram."""
    return np.maximum(_mean(_mean(np.abs(parts) ** 2, frames, 0), frequencies, 1), 0)


def _mean(values: np.ndarray, radius: int, axis: int) -> np.ndarray:
    """The mean of what is within ``radius`` along an axis."""
    total = np.insert(np.cumsum(values, axis), 0, 0, axis)
    places = np.arange(values.shape[axis])
    first, last = np.maximum(places - radius, 0), np.minimum(places + radius + 1, len(places))
    count = np.expand_dims(last - first, 1 - axis)
    return (np.take(total, last, axis) - np.take(total, first, axis)) / count


def _noisy(samples: np.ndarray, draw: int) -> np.ndarray:
    """Samples with noise at 20 dB."""
    noise = np.random.default_rng(draw).normal(size=len(samples)) * np.sqrt((samples**2).mean() / 100)
    return (samples + noise).clip(-1, 1)


def _cut(samples: np.ndarray) -> np.ndarray:
    """Samples without the first tenth, in whole steps of a spectrogram."""
    return samples[len(samples) // 10 // _HOP * _HOP :]
