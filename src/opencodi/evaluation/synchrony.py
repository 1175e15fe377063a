"""Does something sound when something moves? Impacts that can be seen against onsets that can be heard."""

from collections.abc import Sequence
from itertools import pairwise, permutations
from typing import Any

import numpy as np
import torch

from ..latents.mel import MelSpectrogram
from ..media import Audio, Video, resample
from .share import mean

MEL = MelSpectrogram()


def impacts_over_time(video: Video) -> np.ndarray:
    """[F - 2], how much the motion changes at each frame but the first and last: mean absolute second difference.

    Not the motion itself: what hits a wall and turns round is as fast after it as before.
    """
    frames = video.frames.astype(np.float32) / 255
    return np.abs(frames[2:] - 2 * frames[1:-1] + frames[:-2]).mean((1, 2, 3))


def onsets_over_time(audio: Audio, num_frames: int, fps: float) -> np.ndarray:
    """[F - 2], the strongest onset around the start of each of these frames: half a frame before to half after.

    An onset is spectral flux, the rise of the log-mel values summed over bins (Bello et al. 2005).
    """
    mel = MEL(torch.from_numpy(resample(audio, MEL.sample_rate).samples.copy())[None])[0]
    flux = torch.cat([mel[:1] * 0, mel.diff(dim=0).clamp_min(0)]).sum(1).numpy()
    times = np.arange(len(flux)) * MEL.hop_length / MEL.sample_rate
    borders = (np.arange(num_frames - 1) + 0.5) / fps
    return np.array([flux[(times >= a) & (times < b)].max(initial=0.0) for a, b in pairwise(borders)])


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson correlation of two courses of equal length; 0 if one never changes."""
    if len(one) < 2 or one.std() < 1e-8 or other.std() < 1e-8:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def synchrony(video: Video, audio: Audio) -> float:
    """How well a sound's onsets meet the impacts in a clip, in [-1, 1]; 0 by chance."""
    return correlation(impacts_over_time(video), onsets_over_time(audio, len(video.frames), video.fps))


def compare(pairs: Sequence[tuple[Video, Audio]]) -> dict[str, Any]:
    """Mean synchrony of the pairs, and of the same clips each with the sounds of all others (``mismatched``)."""
    wrong = [synchrony(one[0], other[1]) for one, other in permutations(pairs, 2)]
    return {"matched": mean(synchrony(*pair) for pair in pairs), "mismatched": mean(wrong)}
