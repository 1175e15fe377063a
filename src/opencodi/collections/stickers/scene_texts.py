"""Captions of scenes that are not drawn: sentences for whatever learns from text alone."""

from pathlib import Path

import numpy as np

from ...data.shards import Items, load_images
from .moving_scenes import Sounds, random_moving_scene
from .scene_captions import scene_caption
from .scene_sampling import random_scene
from .splits import split
from .things import Drawings

MOVING_SHARE = 0.3


def scene_drawings(folder: Path) -> Drawings:
    """The drawings that scenes are made of: those that a run may learn from."""
    return Drawings(split(load_images(folder, ("images",)))[0])


def scene_texts(drawings: Drawings, count: int, seed: int, withheld: bool = False) -> list[str]:
    """``count`` captions, a part of them of moving scenes, sorted and each once; always the same for the same seed."""
    rng = np.random.default_rng((seed, withheld))
    silent = Sounds(Items(np.zeros((0, 1), np.int16), []))
    found: set[str] = set()
    while len(found) < count:
        if rng.random() < MOVING_SHARE:
            found.add(random_moving_scene(drawings, silent, rng, withheld, audible=0.0).caption(rng))
        else:
            found.add(scene_caption(random_scene(drawings, rng, withheld), rng))
    return sorted(found)
