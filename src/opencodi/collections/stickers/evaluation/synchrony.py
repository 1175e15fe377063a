"""Synchrony: does something sound when something moves?"""

from typing import Any

import numpy as np

from ....evaluation.share import mean
from ....evaluation.synchrony import compare, synchrony
from ....media import Audio, Video
from ....modality import Modality
from ..captions import article
from ..motion import MOTIONS, animate
from ..soundtrack import soundtrack
from .bench import Bench
from .collection import clip, sound
from .judging import known_concepts


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
