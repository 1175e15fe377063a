"""Judges of the smallest size, untrained, that know the sample data's concepts."""

from pathlib import Path

import torch

from opencodi.collections.stickers.judges.networks import AudioJudge, ImageJudge, Judges
from opencodi.data.shards import load_concepts

from ....training.tiny_recipes import DATA

SMALL = {"block_out_channels": (8, 8), "layers_per_block": (0, 1), "feature_dim": 8}
HEARD = ("1f436", "1f4a7", "1f3ce", "2764", "26a1", "1f3b8", "1f941")
STYLES = ("noto", "twemoji", "fluent-emoji-flat", "fluent-3d")


def judges() -> Judges:
    """Image and audio judge with random weights from a seed; no word judge."""
    concepts = load_concepts(DATA)
    heard = [code for code in HEARD if code in concepts]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        image = ImageJudge(list(concepts), [c["name"] for c in concepts.values()], list(STYLES), **SMALL)
        audio = AudioJudge(heard, [concepts[code]["name"] for code in heard], **SMALL)
    return Judges(image.eval(), audio.eval(), None)


def save(folder: Path) -> Path:
    """The same as files."""
    made = judges()
    made.image.save_pretrained(folder / "image_judge")
    made.audio.save_pretrained(folder / "audio_judge")
    return folder
