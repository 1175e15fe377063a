"""Scenes: two or three things in a relation, or one with a number, a size, a colour, a place or a mood.

A ``Scene`` says what is shown; ``draw_scene`` draws it from the drawings of one art style, and ``scene_captions`` says it in
words. Both are deterministic: every choice comes from a generator.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from . import arrangement
from .arrangement import Body, body, bounds
from .colours import MOODS, recoloured
from .compositing import lay, resized, straight
from .grounds import BACKGROUNDS, GROUNDS, fall, painted
from .outline import Outline
from .things import Drawings, things

SIDE = 128
SCALES = {"tiny": 0.42, "small": 0.6, "big": 1.5, "huge": 2.1}
"""How much longer or shorter a thing gets by what it is called."""


@dataclass(frozen=True)
class Part:
    """A thing in a scene, or several of a kind.

    Attributes:
        name: of the thing.
        count: how many there are.
        colour: what it is recoloured to; empty: its own.
        scale: a key of ``SCALES``; empty: its own size.
    """

    name: str
    count: int = 1
    colour: str = ""
    scale: str = ""


@dataclass(frozen=True)
class Scene:
    """What a picture shows.

    Attributes:
        style: art style of all its drawings.
        parts: its things; a relation holds between the first and the second (``between``: and the third).
        relation: a name in ``RELATIONS``; empty with one part, or where things only stand together.
        sky: a thing over all of it, or None.
        ground: a name in ``GROUNDS`` or ``BACKGROUNDS``; empty: transparent.
        mood: a name in ``MOODS``; empty: none.
    """

    style: str
    parts: tuple[Part, ...]
    relation: str = ""
    sky: Part | None = None
    ground: str = ""
    mood: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all its things."""
        return tuple(part.name for part in (*self.parts, *((self.sky,) if self.sky else ())))


RELATIONS = {
    **{"on": arrangement.on, "riding": arrangement.on, "in": arrangement.inside, "under": arrangement.under},
    **{"above": arrangement.above, "left of": arrangement.beside, "beside": arrangement.beside},
    **{"in front of": arrangement.in_front, "behind": arrangement.behind, "wearing": arrangement.wearing},
}
"""Relation → how its two bodies are placed. ``below``, ``right of`` and ``between`` are placed from these."""


def draw_scene(scene: Scene, drawings: Drawings, rng: np.random.Generator, side: int = SIDE) -> np.ndarray | None:
    """The picture of a scene, straight uint8 RGBA [side, side, 4]; None if a colour is not sound for a drawing."""
    placed = place(scene, drawings, rng)
    if placed is None:
        return None
    return render(fitted(placed, scene, rng, side), scene, rng, side)


def place(scene: Scene, drawings: Drawings, rng: np.random.Generator) -> list[Body] | None:
    """The bodies of a scene in drawing order, in units of a middle-sized thing; None if a colour is not sound."""
    groups = []
    for number, part in enumerate(scene.parts):
        bodies = _bodies(part, scene, drawings, rng)
        if bodies is None:
            return None
        groups.append([replace(each, part=number) for each in bodies])
    if scene.relation == "between":
        placed = arrangement.between(groups[0][0], groups[1][0], groups[2][0], rng)
    elif len(scene.parts) == 1:
        placed = arrangement.group(groups[0], rng)
    elif len(scene.parts) == 3 or not scene.relation or max(map(len, groups)) > 1:
        placed = _together(groups, scene, rng)
    else:
        placed = _related(groups[0][0], groups[1][0], scene.relation, rng)
    if scene.sky:
        sky = _bodies(scene.sky, scene, drawings, rng)
        if sky is None:
            return None
        left, top, right, _ = bounds(placed)
        wide = replace(sky[0], part=len(scene.parts)).scaled(
            np.clip(sky[0].length, 0.45 * (right - left), 0.9 * (right - left)) / sky[0].length
        )
        shift = rng.uniform(-0.25, 0.25) * (right - left)
        placed = [wide.at(centre=(left + right) / 2 + shift, bottom=top - rng.uniform(0.05, 0.15)), *placed]
    return placed


def _related(first: Body, second: Body, relation: str, rng: np.random.Generator) -> list[Body]:
    if relation == "right of":
        return arrangement.beside(second, first, rng)
    if relation == "below":
        return arrangement.above(second, first, rng)
    if relation == "beside" and rng.random() < 0.5:
        return arrangement.beside(second, first, rng)
    return RELATIONS[relation](first, second, rng)


def _together(groups: list[list[Body]], scene: Scene, rng: np.random.Generator) -> list[Body]:
    """Groups side by side, in the order of the parts; ``right of`` turns it round."""
    order = groups[::-1] if scene.relation == "right of" else groups
    placed: list[Body] = []
    edge = 0.0
    for bodies in order:
        own = arrangement.group(bodies, rng)
        left, _, right, bottom = bounds(own)
        placed += [each.at(left=each.left - left + edge, top=each.top - bottom) for each in own]
        edge += right - left + rng.uniform(0.06, 0.14)
    return placed


def _bodies(part: Part, scene: Scene, drawings: Drawings, rng: np.random.Generator) -> list[Body] | None:
    thing, outline = things()[part.name], drawings.outline(scene.style, part.name)
    if outline is None:
        return None
    if part.colour:
        picture = recoloured(outline.picture, part.colour)
        if picture is None:
            return None
        outline = Outline(picture)
    length = thing.size * SCALES.get(part.scale, 1.0)
    bodies = []
    for _ in range(part.count):
        each = body(outline, length * rng.uniform(0.95, 1.05), thing.seat, thing.rim)
        bodies.append(each.mirrored() if rng.random() < 0.5 else each)
    return bodies


def fitted(placed: Sequence[Body], scene: Scene, rng: np.random.Generator, side: int) -> list[Body]:
    """The bodies moved and scaled into the picture, in pixels."""
    left, top, right, bottom = bounds(placed)
    share = rng.uniform(0.86, 0.97)
    alone = len(placed) == 1 and scene.parts[0].scale
    ground = GROUNDS.get(scene.ground)
    if ground and ground.horizon is not None:
        share = rng.uniform(0.62, 0.84)
    elif scene.ground:
        share = rng.uniform(0.66, 0.86)
    if alone:
        share = {"tiny": 0.24, "small": 0.42, "big": 0.94, "huge": 1.0}[scene.parts[0].scale] * rng.uniform(0.9, 1.1)
    scale = side * share / max(right - left, bottom - top)
    scale = min(
        scale, 1.6 * min(each.outline.height / each.height for each in placed)
    )  # enlarged further, drawings get soft
    x = (side - scale * (left + right)) / 2 + rng.uniform(-1, 1) * max(0.0, side - scale * (right - left)) * 0.2
    y = (side - scale * (top + bottom)) / 2
    if ground and ground.horizon is not None:
        feet = rng.uniform(min(0.95, ground.horizon + 0.14), 0.96) * side
        y = max(feet - scale * bottom, 2 - scale * top)
        if not _stands(scene):
            y = rng.uniform(0.1, 0.25) * side - scale * top
    return [
        replace(each, height=each.height * scale, left=each.left * scale + x, top=each.top * scale + y)
        for each in placed
    ]


def _stands(scene: Scene) -> bool:
    """Whether anything stands on the ground, or all of it flies."""
    return any(
        not things()[part.name].roles & {"flyers", "sky"} or "animals" in things()[part.name].roles
        for part in scene.parts
    )


def render(placed: Sequence[Body], scene: Scene, rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """Bodies in pixels → straight uint8 RGBA [side, side, 4], over the scene's ground and in its light and mood."""
    canvas = np.zeros((side, side, 4), np.uint8)
    for each in placed:
        height, width = max(2, round(each.height)), max(2, round(each.width))
        lay(canvas, resized(each.outline.picture, height, width), round(each.top), round(each.left))
    return finish(canvas, scene, int(rng.integers(1 << 30)), rng, time=0.0)


def finish(canvas: np.ndarray, scene: Scene, variant: int, rng: np.random.Generator, time: float) -> np.ndarray:
    """Things on a clear canvas (premultiplied) → the finished picture, straight uint8 RGBA of the same size.

    variant: which painting of the ground. time: in seconds; moves what falls.
    """
    if not scene.ground and not scene.mood:
        return straight(canvas)
    alpha = canvas[..., 3:].astype(np.float32) / 255
    colour = canvas[..., :3].astype(np.float32)
    ground = GROUNDS.get(scene.ground)
    side = len(canvas)
    mood = MOODS.get(scene.mood)
    if mood and scene.mood != "pixel art":
        safe = np.where(alpha > 0, alpha, 1)
        colour = mood.paint(colour / safe, alpha).astype(np.float32) * alpha
    if ground:
        haze, amount = ground.haze
        colour = (
            colour * np.array(ground.light, np.float32) * (1 - amount) + np.array(haze, np.float32) * amount * alpha
        )
        below = painted(scene.ground, side, variant)
        if mood and not mood.ground and scene.mood != "golden":
            below = mood.paint(below, np.ones_like(alpha))
        picture = colour + below * (1 - alpha)
        fall(picture, ground.falls, rng, time)
        alpha = np.ones_like(alpha)
    elif scene.ground:
        picture = colour + np.array(BACKGROUNDS[scene.ground], np.float32) * (1 - alpha)
        alpha = np.ones_like(alpha)
    else:
        picture = colour
    finished = np.concatenate([picture, alpha * 255], -1)
    if scene.mood == "pixel art":
        blocks = finished.reshape(side // 4, 4, side // 4, 4, 4).mean((1, 3))
        solid = blocks[..., 3:] > 110
        blocks = np.where(solid, blocks * 255 / np.maximum(blocks[..., 3:], 1), 0)
        finished = blocks.repeat(4, 0).repeat(4, 1)
    return straight(finished.clip(0, 255).round().astype(np.uint8))
