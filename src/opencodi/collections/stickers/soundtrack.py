"""Sound on the beat: a recording's first energetic stretch, played at every visible impact of a clip."""

import numpy as np

from ...data.shards import AUDIO_SAMPLES, SAMPLE_RATE

WINDOW = 160
"""Samples (10 ms) over which loudness is measured."""

ONSET, TAIL = 0.3, 0.05
"""Shares of the peak loudness at which a recording counts as having begun, and as having faded."""

LONGEST = 0.6
FADE_IN, FADE_OUT = 0.003, 0.05
"""Seconds."""


def hit(recording: np.ndarray) -> np.ndarray:
    """The first energetic stretch of a recording: float32 [≤ 0.6 s], from where it becomes loud to where it fades.

    recording: int16 [S] at 16 kHz. A silent one gives an empty stretch.
    """
    samples = recording.astype(np.float32) / 32768
    loudness = np.sqrt(np.square(samples[: len(samples) // WINDOW * WINDOW]).reshape(-1, WINDOW).mean(1))
    if not loudness.max(initial=0) > 0:
        return np.zeros(0, np.float32)
    start = int(np.argmax(loudness > ONSET * loudness.max()))
    most = start + round(LONGEST * SAMPLE_RATE / WINDOW)
    faded = np.flatnonzero(loudness[start:most] < TAIL * loudness[start:most].max())
    end = start + faded[0] if len(faded) else most
    return samples[start * WINDOW : end * WINDOW]


def soundtrack(recording: np.ndarray, impacts: np.ndarray) -> np.ndarray:
    """The recording's ``hit`` at every impact, quickly faded out before the next: int16 [AUDIO_SAMPLES].

    recording: int16 [S] at 16 kHz; impacts: rising seconds [K], those past the end are left out.
    """
    stretch = hit(recording)
    track = np.zeros(AUDIO_SAMPLES, np.float32)
    starts = [start for start in np.round(np.asarray(impacts) * SAMPLE_RATE).astype(int) if start < AUDIO_SAMPLES]
    for start, following in zip(starts, [*starts[1:], AUDIO_SAMPLES]):
        played = _faded(stretch[: following - start])
        track[start : start + len(played)] = played
    return np.clip(track * 32767, -32768, 32767).astype(np.int16)


def _faded(stretch: np.ndarray) -> np.ndarray:
    position = np.arange(len(stretch), dtype=np.float32) / SAMPLE_RATE
    return stretch * np.clip(position / FADE_IN, 0, 1) * np.clip((position[::-1]) / FADE_OUT, 0, 1)
