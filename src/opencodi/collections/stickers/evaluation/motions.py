"""Named motions: does a clip of "a guitar, bouncing" bounce?

The judge is fitted in a second, on real pictures of the training split in procedural motion: it looks only at where what is
drawn is, how large and how it is turned, not at what it is. Real pictures of the validation split are its ceiling.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ....evaluation.accuracy import in_top
from ....evaluation.share import share
from ....media import Video
from ....modality import Modality
from ..captions import moving_captions
from ..motion import MOTIONS, animate
from .bench import Bench
from .collection import clip
from .judging import judge, known_concepts

HARMONICS = 8
TRAINING, VALIDATION = 900, 180
"""Most real pictures that are set in motion to fit the judge, and to see how good it is."""


def course_features(video: Video) -> np.ndarray:
    """How the outline of what a clip shows changes: [7 * 8], the strength of each harmonic of seven courses.

    The courses are size, centre (x, y), spread (x, y) and turn (as the cosine and sine of twice the angle of the longer
    axis, as far as one is longer). Strength does not tell when in the clip a motion begins.
    """
    ink = 1 - video.frames.min(axis=-1) / 255.0
    ink = np.where(ink > 0.1, ink, 0.0) + 1e-6
    rows, columns = (np.linspace(-1, 1, size) for size in ink.shape[1:])
    mass = ink.sum((1, 2))
    x, y = (ink.sum(1) * columns).sum(1) / mass, (ink.sum(2) * rows).sum(1) / mass
    dx, dy = columns[None, None] - x[:, None, None], rows[None, :, None] - y[:, None, None]
    xx, yy, xy = ((ink * product).sum((1, 2)) / mass for product in (dx * dx, dy * dy, dx * dy))
    turns = (xx - yy) / (xx + yy), 2 * xy / (xx + yy)
    courses = np.stack([np.log(mass) / 2, x, y, np.log(xx) / 2, np.log(yy) / 2, *turns])
    strengths = np.abs(np.fft.rfft(courses, axis=1))[:, 1 : HARMONICS + 1] / courses.shape[1]
    return np.pad(strengths, ((0, 0), (0, HARMONICS - strengths.shape[1]))).ravel()


class MotionJudge:
    """A linear classifier of ``course_features`` (their logarithms) into the names of ``MOTIONS``.

    Args:
        clips: real pictures in motion.
        motions: the name of each one's.
    """

    def __init__(self, clips: Sequence[Video], motions: Sequence[str]):
        known = list(MOTIONS)
        features = self._features(clips)
        self.mean, self.std = features.mean(0), features.std(0) + 1e-3
        labels = torch.tensor([known.index(motion) for motion in motions])
        self.weight = torch.zeros(features.shape[1], len(known), requires_grad=True)
        self.bias = torch.zeros(len(known), requires_grad=True)
        optimizer = torch.optim.LBFGS([self.weight, self.bias], max_iter=100)

        def loss() -> torch.Tensor:
            optimizer.zero_grad()
            value = F.cross_entropy(self._logits(features), labels) + 1e-3 * self.weight.square().sum()
            value.backward()
            return value

        with torch.enable_grad():
            optimizer.step(loss)

    @torch.no_grad()
    def __call__(self, clips: Sequence[Video]) -> list[str]:
        """The motion of each clip."""
        known = list(MOTIONS)
        return [known[place] for place in self._logits(self._features(clips)).argmax(1).tolist()]

    def _features(self, clips: Sequence[Video]) -> torch.Tensor:
        return torch.from_numpy(np.log(np.stack([course_features(video) for video in clips]) + 1e-3)).float()

    def _logits(self, features: torch.Tensor) -> torch.Tensor:
        return (features - self.mean) / self.std @ self.weight + self.bias


def real_clips(bench: Bench, numbers: Sequence[int], rng: np.random.Generator) -> tuple[list[Video], list[str]]:
    """These pictures, each in a random motion, and its name."""
    motions = [str(motion) for motion in rng.choice(list(MOTIONS), len(numbers))]
    stills = bench.collection.items("image", numbers).media
    return [clip(animate(still, motion, rng)[0]) for still, motion in zip(stills, motions)], motions


def measure(bench: Bench) -> dict[str, Any]:
    """Share of clips in which the judge sees the motion that was named, and the thing that was.

    Returns:
        ``{"motion", "concept_top5", "real": shares with their n, "by_motion": {name: share}}``; ``real`` is the ceiling of
        ``motion``.
    """
    count, rng = bench.budget.motions, bench.rng("motions")
    bench.progress.begin("motions", count)
    training = bench.collection.training("image", TRAINING, rng)
    judge_motion = MotionJudge(*real_clips(bench, training, rng))
    held, named = real_clips(bench, bench.collection.validation("image", VALIDATION, rng), rng)
    known = [code for code in known_concepts(bench.judges, Modality.VIDEO) if code in bench.collection.concepts]
    concepts = [known[place] for place in rng.integers(0, len(known), count)]
    motions = [list(MOTIONS)[number % len(MOTIONS)] for number in range(count)]
    texts = [moving_captions(bench.collection.name(code), MOTIONS[m])[0] for code, m in zip(concepts, motions)]
    made = bench.make("motions", {Modality.TEXT: texts}, [Modality.VIDEO])[Modality.VIDEO]
    seen = judge_motion(made)
    for text, video, motion in list(zip(texts, made, seen))[: len(MOTIONS)]:
        caption = f"judged as {MOTIONS[motion].doing}"
        bench.show("motions", caption, [(Modality.TEXT, text)], [(Modality.VIDEO, video)])
    logits, labels = (
        judge(bench.judges, Modality.VIDEO, made).concept_logits,
        known_concepts(bench.judges, Modality.VIDEO),
    )
    return {
        "motion": share(a == b for a, b in zip(seen, motions)),
        "real": share(a == b for a, b in zip(judge_motion(held), named)),
        "concept_top5": share(in_top(logits, labels, concepts, 5)),
        "by_motion": {
            MOTIONS[name].doing: share(a == b for a, b in zip(seen, motions) if b == name) for name in MOTIONS
        },
    }
