"""Synchrony: does something sound when something moves?"""

from collections.abc import Sequence
from itertools import pairwise, permutations
from typing import Any

import numpy as np
import torch

from ....evaluation.share import mean
from ....latents.mel import MelSpectrogram
from ....media import Audio, Video, resample
from ....modality import Modality
from ..captions import article
from ..motion import MOTIONS, animate
from ..soundtrack import soundtrack
from .bench import Bench
from .collection import clip, sound
from .judging import known_concepts

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


def measure(bench: Bench) -> dict[str, Any]:
    """Synchrony of clips and sounds made together, made apart from the same noise, and of procedural pairs.

    Procedural pairs (``stickers.motion``, ``stickers.soundtrack``) are real pictures in motion with real sounds on their beat:
    what a perfect model of this data would score.

    Returns:
        ``{"together": {"matched", "mismatched"}, "apart": {"matched"}, "procedural": {…}}``, each a mean and its n.
    """
    count, rng = bench.budget.synchrony, bench.rng("synchrony")
    bench.progress.begin("synchrony", 3 * count)
    known = [code for code in known_concepts(bench.judges, Modality.AUDIO) if code in bench.collection.concepts]
    motions = list(MOTIONS)
    names = [bench.collection.name(known[place]) for place in rng.integers(0, len(known), count)]
    texts = [f"{article(name)}, {MOTIONS[motions[i % len(motions)]].doing}" for i, name in enumerate(names)]
    prompts = {Modality.TEXT: texts}
    both = bench.make("synchrony", prompts, [Modality.VIDEO, Modality.AUDIO])
    apart = {m: bench.make("synchrony", prompts, [m])[m] for m in (Modality.VIDEO, Modality.AUDIO)}
    for text, video in zip(texts[:4], both[Modality.VIDEO]):
        bench.show("synchrony", "clip and sound made together", [(Modality.TEXT, text)], [(Modality.VIDEO, video)])
    together = list(zip(both[Modality.VIDEO], both[Modality.AUDIO]))
    separately = list(zip(apart[Modality.VIDEO], apart[Modality.AUDIO]))
    return {
        "together": compare(together),
        "apart": {"matched": mean(synchrony(*pair) for pair in separately)},
        "procedural": compare(procedural_pairs(bench, rng, max(12, 2 * count))),
    }


def procedural_pairs(bench: Bench, rng: np.random.Generator, count: int) -> list[tuple[Video, Audio]]:
    """Pictures of concepts that have a sound, in motion, with that sound at every impact; validation items first."""
    stills, sounds = (bench.collection.one_per_concept(kind, rng) for kind in ("image", "sound"))
    codes = sorted((c for c in stills if c in sounds), key=lambda c: -(stills[c].held_out + sounds[c].held_out))[:count]
    pairs, motions = [], list(MOTIONS)
    pictures = bench.collection.items("image", [stills[code].number for code in codes]).media if codes else []
    recordings = bench.collection.items("sound", [sounds[code].number for code in codes]).media if codes else []
    for number, (still, recording) in enumerate(zip(pictures, recordings)):
        frames, impacts = animate(still, motions[number % len(motions)], rng)
        pairs.append((clip(frames), sound(soundtrack(recording, impacts))))
    return pairs
