"""Animated emoji → clips of 16 square RGBA frames over one loop, stacked top to bottom in one picture."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from .emoji import Emoji, normalise
from .images import SIZE, encode
from .libraries import version
from .shards import Item, Plan

FRAMES = 16
STYLE = "fluent-3d-anim"
LEAST_MOTION = 0.15
"""Clips whose mean frame difference (0–255, over white) is below this look still and are left out."""
FRAME_MS = 41
"""How long a frame counts whose duration is not known."""


def plan_videos(
    shard: str,
    toned: bool,
    concepts: Mapping[str, Emoji],
    emoji: Mapping[str, Emoji],
    folders: Sequence[Path],
    made_from: Iterable[str],
    size: int = SIZE,
) -> Plan:
    """The shard of the concepts' clips of size x size without or with skin tones.

    folders: of the unpacked packages of animations.
    """
    units = [
        (emoji[code], path)
        for folder in folders
        for path in sorted((folder / "assets").glob("*.webp"))
        if (code := normalise(path.stem)) in emoji
        and emoji[code].base in concepts
        and toned == (emoji[code].tone is not None)
    ]

    def make(unit: tuple[Emoji, Path]) -> Iterator[Item]:
        row, path = unit
        loop = read_loop(path, size)
        if loop is None:
            return
        frames, number, milliseconds = loop
        moved = motion(frames)
        if moved < LEAST_MOTION:
            return
        strip = Image.fromarray(frames.reshape(FRAMES * size, size, 4))
        concept = concepts[row.base]
        fields = {"concept": row.base, "code": row.code, "tone": row.tone, "style": STYLE, "src_frames": number}
        fields |= {"src_ms": milliseconds, "motion": round(moved, 2), "name": concept.name, "group": concept.group}
        yield Item(encode(strip, quality=80, alpha_quality=90), "webp", fields)

    return Plan(shard, (*made_from, version("pillow")), units, make, units_per_part=50)


def read_loop(path: Path, size: int = SIZE) -> tuple[np.ndarray, int, int] | None:
    """uint8 RGBA [16, size, size, 4] evenly over the animation, its number of frames and its milliseconds; None if still."""
    with Image.open(path) as animation:
        number = getattr(animation, "n_frames", 1)
        if number < 2:
            return None
        wanted = [min(round(index * number / FRAMES), number - 1) for index in range(FRAMES)]
        frames, milliseconds = {}, 0
        for index in range(number):
            animation.seek(index)
            if index in wanted:
                frame = animation.convert("RGBA").convert("RGBa").resize((size, size), Image.Resampling.BOX)
                frames[index] = np.asarray(frame.convert("RGBA"))
                milliseconds += animation.info.get("duration", FRAME_MS) or FRAME_MS
            else:  # not decoded, so Pillow does not know how long it is shown
                milliseconds += FRAME_MS
    return np.stack([frames[index] for index in wanted]), number, int(milliseconds)


def motion(frames: np.ndarray) -> float:
    """Mean absolute difference of neighbouring frames over white, 0–255. frames: uint8 RGBA [T, H, W, 4]."""
    alpha = frames[..., 3:].astype(float)
    over_white = frames[..., :3] * (alpha / 255) + 255 - alpha
    return float(np.abs(np.diff(over_white, axis=0)).mean())
