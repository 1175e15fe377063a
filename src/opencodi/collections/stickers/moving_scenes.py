"""Scenes in motion: clips of 16 frames with the sounds of what acts, in the moment in which it is seen to act."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from ...data.shards import AUDIO_SAMPLES, SAMPLE_RATE, Items
from .arrangement import Body, bounds
from .compositing import lay, resized
from .motion import FRAMES_PER_SECOND, NUM_FRAMES
from .scene_captions import plain_caption, scene_caption
from .scene_motions import IN_PLACE, MOTIONS, Course, Poses, beside_wordings, both_wordings
from .scene_sampling import is_withheld, sensible_ground
from .scenes import SIDE, Part, Scene, finish, fitted, place
from .soundtrack import hit
from .things import Drawings, things

FACING_RIGHT = ("airplane", "small airplane", "rocket", "kite", "turtle", "snail")
"""Drawings that look to the right in most styles; the others look to the left."""


@dataclass(frozen=True)
class MovingScene:
    """A scene and how it moves.

    Attributes:
        scene: what is shown.
        motions: what the first part does, and what the second does if both act.
        frames: of their events, one each.
        direction: -1 to the left, 1 to the right.
    """

    scene: Scene
    motions: tuple[str, ...]
    frames: tuple[int, ...]
    direction: int = -1

    @property
    def wordings(self) -> Sequence[str]:
        """What it is called, of {a} and {b}."""
        if len(self.motions) == 2:
            return both_wordings(*self.motions)
        motion = MOTIONS[self.motions[0]]
        if motion.relation or len(self.scene.parts) == 1:
            return motion.wordings
        return beside_wordings(self.motions[0], self.scene.relation)

    def caption(self, rng: np.random.Generator) -> str:
        """What is seen, in one of many wordings."""
        return scene_caption(self.scene, rng, self.wordings)

    def plain_caption(self) -> str:
        """The plainest words, always the same."""
        return plain_caption(self.scene, self.wordings)


@dataclass(frozen=True)
class Clip:
    """A moving scene as it is seen and heard.

    Attributes:
        frames: straight uint8 RGBA [16, H, W, 4], 8 frames a second.
        events: (name of the thing that acts, seconds).
        sound: int16 [AUDIO_SAMPLES] at 16 kHz; silent where nothing that acts has a sound.
    """

    frames: np.ndarray
    events: tuple[tuple[str, float], ...]
    sound: np.ndarray


class Sounds:
    """Recordings of things, by what they are called.

    Args:
        items: recordings, int16 [N, S], and records with the ``name`` of their concept.
    """

    def __init__(self, items: Items):
        self.items = items
        self.places: dict[str, list[int]] = {}
        for number, record in enumerate(items.records):
            if record.get("name") in things():
                self.places.setdefault(things()[record["name"]].nouns[0], []).append(number)

    def has(self, name: str) -> bool:
        """Whether there is a recording of this thing."""
        return things()[name].nouns[0] in self.places

    def draw(self, name: str, rng: np.random.Generator) -> np.ndarray:
        """The first energetic stretch of one of its recordings, float32 of one loudness."""
        places = self.places[things()[name].nouns[0]]
        stretch = hit(self.items.media[places[int(rng.integers(len(places)))]])
        return stretch / max(float(np.abs(stretch).max(initial=0)), 1e-4) * 0.8


def random_moving_scene(
    drawings: Drawings, sounds: Sounds, rng: np.random.Generator, withheld: bool | None = False, audible: float = 0.75
) -> MovingScene:
    """A moving scene in one of the styles; in a share of ``audible`` of them, what acts has a sound."""
    heard = rng.random() < audible
    while True:
        moving = _propose(drawings, rng)
        if moving is None or not drawings.has(moving.scene.style, moving.scene.names):
            continue
        acting = _acting(moving)
        if heard and not all(sounds.has(moving.scene.parts[part].name) for part in acting):
            continue
        if withheld is None or is_withheld(moving.scene) == withheld:
            return moving


def _acting(moving: MovingScene) -> tuple[int, ...]:
    if len(moving.motions) == 2:
        return (0, 1)
    return (1,) if moving.motions[0] == "rides" else (0,)


def _propose(drawings: Drawings, rng: np.random.Generator) -> MovingScene | None:
    style = str(rng.choice(drawings.styles))
    kind = rng.choice(3, p=(0.62, 0.26, 0.12))
    if kind == 0:
        name = str(rng.choice([name for name, motion in MOTIONS.items() if motion.relation]))
        motion = MOTIONS[name]
        parts = [_thing(style, roles, drawings, rng) for roles in (motion.acting, motion.other)]
        relation, motions = motion.relation, (name,)
    else:
        motions = tuple(str(rng.choice(IN_PLACE)) for _ in range(2 if kind == 2 else 1))
        alone = kind == 1 and rng.random() < 0.5
        parts = [_thing(style, (), drawings, rng) for _ in range(1 if alone else 2)]
        relation = "" if alone else "beside"
        if kind == 1 and not alone and rng.random() < 0.5 and "carries" in _roles(parts[1]):
            relation = "on"
    if not all(parts) or len(set(parts)) < len(parts) or not _sizes_suit(parts, relation):
        return None
    if len({things()[name].nouns[0] for name in parts}) < len(parts):
        return None
    members = tuple(Part(name) for name in parts)
    ground = sensible_ground(members, rng) if rng.random() < 0.4 else ""
    scene = Scene(style, members, relation, ground=ground)
    frames = tuple(int(frame) for frame in rng.integers(2, NUM_FRAMES - 2, len(motions)))
    return MovingScene(scene, motions, frames, int(rng.choice((-1, 1))))


def _thing(style: str, roles: Sequence[str], drawings: Drawings, rng: np.random.Generator) -> str:
    roles = roles or ("animals", "figures", "objects", "vehicles", "food", "balls", "flyers")
    names = drawings.named(style, roles[int(rng.integers(len(roles)))])
    return names[int(rng.integers(len(names)))] if names else ""


def _roles(name: str) -> frozenset[str]:
    return things()[name].roles if name else frozenset()


def _sizes_suit(names: Sequence[str], relation: str) -> bool:
    if not all(names):
        return False
    sizes = [things()[name].size for name in names]
    if len(sizes) == 1:
        return True
    if relation in ("on", "riding"):
        return sizes[0] <= 1.25 * sizes[1] + 0.15
    if relation == "in front of":
        return 0.35 <= sizes[0] / sizes[1] <= 1.2
    return 0.35 <= sizes[0] / sizes[1] <= 2.8


def draw_moving_scene(
    moving: MovingScene, drawings: Drawings, sounds: Sounds, rng: np.random.Generator, side: int = SIDE
) -> Clip | None:
    """The clip of a moving scene; None if a colour is not sound for a drawing."""
    placed = place(moving.scene, drawings, rng)
    if placed is None:
        return None
    placed = _facing(placed, moving, drawings)
    course = _course(moving, placed, rng)
    scale, placed = _fitted(placed, course, moving, rng, side)
    variant, falling = int(rng.integers(1 << 30)), int(rng.integers(1 << 30))
    frames = []
    for frame in range(NUM_FRAMES):
        canvas = np.zeros((side, side, 4), np.uint8)
        for each in placed:
            _lay_posed(canvas, each, course.poses.get(each.part), frame, scale)
        weather = np.random.default_rng(falling)
        frames.append(finish(canvas, moving.scene, variant, weather, frame / FRAMES_PER_SECOND))
    events = _named_events(moving, course)
    return Clip(np.stack(frames), events, soundtrack(events, sounds, rng))


def moving_events(moving: MovingScene, drawings: Drawings, rng: np.random.Generator) -> tuple[tuple[str, float], ...]:
    """The events of the clip that ``draw_moving_scene`` draws with such an ``rng``, without drawing it."""
    placed = place(moving.scene, drawings, rng)
    if placed is None:
        return ()
    course = _course(moving, _facing(placed, moving, drawings), rng)
    return _named_events(moving, course)


def soundtrack(events: Sequence[tuple[str, float]], sounds: Sounds, rng: np.random.Generator) -> np.ndarray:
    """Every event's thing is heard from its second on: int16 [AUDIO_SAMPLES]. A thing sounds alike at all its events."""
    track = np.zeros(AUDIO_SAMPLES, np.float32)
    for name in dict.fromkeys(name for name, _ in events):
        if not sounds.has(name):
            continue
        stretch = sounds.draw(name, rng)
        starts = sorted(round(second * SAMPLE_RATE) for other, second in events if other == name)
        for start, following in zip(starts, [*starts[1:], AUDIO_SAMPLES]):
            played = stretch[: following - start]
            fade = np.clip(np.arange(len(played), 0, -1) / (0.05 * SAMPLE_RATE), 0, 1)
            track[start : start + len(played)] += played * fade
    return (track.clip(-1, 1) * 32767).astype(np.int16)


def _named_events(moving: MovingScene, course: Course) -> tuple[tuple[str, float], ...]:
    names = [part.name for part in moving.scene.parts]
    return tuple((names[part], event / FRAMES_PER_SECOND) for part, event in course.events)


def _facing(placed: Sequence[Body], moving: MovingScene, drawings: Drawings) -> list[Body]:
    """What travels looks where it goes, and stands on the side that it comes from."""
    if not MOTIONS[moving.motions[0]].travels:
        return list(placed)
    turned = []
    for each in placed:
        name = moving.scene.parts[each.part].name
        looks = 1 if name in FACING_RIGHT else -1
        if each.part == 0 or moving.scene.relation == "riding":
            own = drawings.outline(moving.scene.style, name)
            each = replace(each, outline=own.mirrored() if own and looks != moving.direction else own or each.outline)
        turned.append(each)
    if moving.scene.relation == "left of" and moving.direction < 0:
        left, _, right, _ = bounds(turned)
        turned = [each.at(left=left + right - each.right) for each in turned]
    return turned


def _course(moving: MovingScene, placed: Sequence[Body], rng: np.random.Generator) -> Course:
    bodies = {each.part: each for each in placed}
    if len(moving.motions) == 1:
        return MOTIONS[moving.motions[0]].draw(bodies, moving.frames[0], moving.direction, rng)
    poses, events = {}, []
    for part, (name, frame) in enumerate(zip(moving.motions, moving.frames)):
        course = MOTIONS[name].draw({0: bodies[part]}, frame, moving.direction, rng)
        poses[part] = course.poses[0]
        events += [(part, when) for _, when in course.events]
    return Course(poses, tuple(sorted(events, key=lambda event: event[1])))


def _fitted(
    placed: Sequence[Body], course: Course, moving: MovingScene, rng: np.random.Generator, side: int
) -> tuple[float, list[Body]]:
    """Pixels per unit, and the bodies in pixels: so that all that is not meant to leave the picture stays in it."""
    motion = MOTIONS[moving.motions[0]]
    ghosts = list(placed)
    for each in placed:
        poses = course.poses.get(each.part, Poses())
        for frame in range(NUM_FRAMES):
            dx, dy = poses.shift[frame]
            if motion.leaves:
                dx = poses.shift[moving.frames[0], 0]
            ghosts.append(each.at(left=each.left + dx, top=each.top + dy))
    moved = fitted(ghosts, moving.scene, rng, side)
    return moved[0].height / placed[0].height, moved[: len(placed)]


def _lay_posed(canvas: np.ndarray, each: Body, poses: Poses | None, frame: int, scale: float) -> None:
    poses = poses or Poses()
    (dx, dy), (wide, high), angle = poses.shift[frame] * scale, poses.scale[frame], poses.angle[frame]
    height, width = round(each.height * high), round(each.width * wide)
    if height < 1 or width < 1:
        return
    picture = resized(each.outline.picture, height, width)
    x, bottom = each.centre + dx, each.bottom + dy
    y = bottom - height / 2
    if abs(angle) > 0.5:
        image = Image.frombuffer("RGBa", (width, height), picture.tobytes())
        turned = Image.merge("RGBA", image.split()).rotate(angle, Image.Resampling.BILINEAR, expand=True)
        picture = np.asarray(turned)
    lay(canvas, picture, round(y - picture.shape[0] / 2), round(x - picture.shape[1] / 2))
