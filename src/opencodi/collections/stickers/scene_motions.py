"""How things move in a scene, when it can be seen to happen, and how it is said.

A motion changes the places of the bodies of a still scene, in each of 16 frames; its events are the frames in which something
is seen to happen: an impact, a start, a passing-by. Sounds belong there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .arrangement import Body
from .motion import NUM_FRAMES


@dataclass(frozen=True)
class Poses:
    """What is added to a body's place in each frame.

    Attributes:
        shift: [frames, 2] to the right and downwards, in the units of the scene.
        scale: [frames, 2] of width and height; the middle of the lower edge stays.
        angle: [frames] in degrees, counter-clockwise, around the centre.
    """

    shift: np.ndarray = field(default_factory=lambda: np.zeros((NUM_FRAMES, 2)))
    scale: np.ndarray = field(default_factory=lambda: np.ones((NUM_FRAMES, 2)))
    angle: np.ndarray = field(default_factory=lambda: np.zeros(NUM_FRAMES))


@dataclass(frozen=True)
class Course:
    """How a scene moves.

    Attributes:
        poses: by number of the part; parts that are not in it rest.
        events: (number of the part that acts, frame).
    """

    poses: dict[int, Poses]
    events: tuple[tuple[int, int], ...]


Draw = Callable[[dict[int, Body], int, float, np.random.Generator], Course]
"""(bodies by part, the event's frame, direction -1 or 1 along x, rng) → course."""


@dataclass(frozen=True)
class SceneMotion:
    """A named motion.

    Attributes:
        draw: makes its course.
        wordings: what it is called; {a} acts, {b} is the other.
        relation: how the things stand in the still scene; empty: one thing alone.
        acting: roles of the thing that acts; none: any.
        other: roles of the other; none: any.
        travels: whether it faces where it goes.
        leaves: whether it comes from or goes beyond the edge of the picture.
    """

    draw: Draw
    wordings: tuple[str, ...]
    relation: str = ""
    acting: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    travels: bool = False
    leaves: bool = False


frames = np.arange(NUM_FRAMES)


def _falls_on(bodies: dict[int, Body], event: int, direction: float, rng: np.random.Generator) -> Course:
    """Hangs in the air, falls, hits, is thrown back a little; what it hits gives way."""
    height = rng.uniform(0.7, 1.0) * bodies[0].height + 0.5
    return _hit(_fallen(event, int(rng.integers(3, 5)), height), event, rng)


def _fallen(event: int, length: int, height: float) -> np.ndarray:
    """[frames] heights: falling for ``length`` frames until the event, then a small rebound."""
    passed = np.clip((frames - event + length) / length, 0, 1)
    up = height * (1 - passed**2)
    up[frames > event] = 0
    up[frames == event + 1] = 0.12 * height
    return up


def _hit(up: np.ndarray, event: int, rng: np.random.Generator) -> Course:
    first, second = Poses(), Poses()
    first.shift[:, 1] = -up
    first.scale[frames == event] = (1.12, 0.82)
    second.scale[frames == event] = (1.05, 0.9)
    return Course({0: first, 1: second}, ((0, event), (1, event)))


def _jumps_onto(bodies: dict[int, Body], event: int, direction: float, rng: np.random.Generator) -> Course:
    """From the ground beside it, in an arc."""
    length = int(rng.integers(4, 6))
    passed = np.clip((frames - event + length) / length, 0, 1)
    down = max(0.0, bodies[1].bottom - bodies[0].bottom)
    away = (bodies[0].width + bodies[1].width) * 0.55
    first = Poses()
    first.shift[:, 0] = -direction * away * (1 - passed)
    first.shift[:, 1] = down * (1 - passed) - 4 * (0.45 + 0.4 * down) * passed * (1 - passed)
    first.scale[frames == event] = (1.1, 0.86)
    second = Poses()
    second.scale[frames == event] = (1.03, 0.94)
    return Course({0: first, 1: second}, ((0, event),))


def _falls_off(bodies: dict[int, Body], event: int, direction: float, rng: np.random.Generator) -> Course:
    """Slides to the edge, falls, hits the ground and lies there."""
    length = int(rng.integers(3, 5))
    down = max(0.1, bodies[1].bottom - bodies[0].bottom)
    away = (bodies[0].width + bodies[1].width) * 0.55
    slid = np.clip((frames - event + length + 3) / (length + 3), 0, 1)
    fallen = np.clip((frames - event + length) / length, 0, 1)
    first = Poses()
    first.shift[:, 0] = direction * away * slid
    first.shift[:, 1] = down * fallen**2
    first.angle[:] = -direction * 90 * fallen**1.5 * rng.choice((0, 1))
    first.scale[frames == event] = (1.1, 0.85)
    return Course({0: first}, ((0, event),))


def _jumps_over(bodies: dict[int, Body], event: int, direction: float, rng: np.random.Generator) -> Course:
    """From one side of the other to the other side, in an arc; the event is the landing."""
    length = int(rng.integers(5, 7))
    passed = np.clip((frames - event + length) / length, 0, 1)
    start, end = bodies[0].centre, 2 * bodies[1].centre - bodies[0].centre
    first = Poses()
    first.shift[:, 0] = (end - start) * passed
    first.shift[:, 1] = -4 * (bodies[1].height * 1.05 + 0.1) * passed * (1 - passed)
    first.scale[frames == event] = (1.12, 0.84)
    first.scale[frames == event - length] = (1.08, 0.9)
    return Course({0: first}, ((0, event),))


def _past(bodies: dict[int, Body], event: int, direction: float, rng: np.random.Generator) -> Course:
    """From one edge of the picture to the other; the event is when both are nearest."""
    speed = rng.uniform(0.28, 0.42)
    first = Poses()
    first.shift[:, 0] = bodies[1].centre - bodies[0].centre + direction * speed * (frames - event)
    first.shift[:, 1] = -0.03 * (frames % 2)
    return Course({0: first}, ((0, event),))


def _rolls_past(bodies: dict[int, Body], event: int, direction: float, rng: np.random.Generator) -> Course:
    course = _past(bodies, event, direction, rng)
    pose = course.poses[0]
    pose.shift[:, 1] = 0
    pose.angle[:] = -np.rad2deg(pose.shift[:, 0] / (bodies[0].height / 2))
    return course


def _rides_off(bodies: dict[int, Body], event: int, direction: float, rng: np.random.Generator) -> Course:
    """Both stand still, set off at the event, and stop before the edge."""
    since = np.clip(frames - event + 1, 0, None)
    way = rng.uniform(0.9, 1.3) * max(body.width for body in bodies.values())
    moved = way * (1 - np.exp(-since * rng.uniform(0.15, 0.25) / way))
    poses = Poses()
    poses.shift[:, 0] = direction * moved
    poses.shift[:, 1] = np.where((since > 0) & (since < 9), -0.04 * (frames % 2), 0)
    return Course({0: poses, 1: poses}, ((1, event),))


def _bumps_into(bodies: dict[int, Body], event: int, direction: float, rng: np.random.Generator) -> Course:
    """Runs into the other, which is pushed aside and leans over."""
    speed, before = rng.uniform(0.18, 0.3), np.clip(event - frames, 0, 5)
    after = np.clip(frames - event, 0, None)
    first, second = Poses(), Poses()
    gap = abs(bodies[1].centre - bodies[0].centre) - (bodies[0].width + bodies[1].width) * 0.46
    first.shift[:, 0] = direction * (gap - speed * before) - direction * np.where(after > 0, 0.06, 0)
    second.shift[:, 0] = direction * 0.22 * (1 - 0.6**after)
    second.angle[:] = -direction * np.where(after > 0, 22 * 0.75 ** (after - 1), 0)
    first.scale[frames == event] = (0.88, 1.05)
    return Course({0: first, 1: second}, ((0, event), (1, min(event + 2, NUM_FRAMES - 1))))


def _appears(bodies: dict[int, Body], event: int, direction: float, rng: np.random.Generator) -> Course:
    """Is suddenly there, a little too large at first."""
    after = frames - event
    size = np.select([after < 0, after == 0, after == 1], [0.0, 0.75, 1.15], 1.0)
    return Course({0: Poses(scale=np.stack([size, size], 1))}, ((0, event),))


def _shakes(bodies: dict[int, Body], event: int, direction: float, rng: np.random.Generator) -> Course:
    after = frames - event
    strength = np.where((after >= 0) & (after < 7), np.where(after % 2, -1, 1) * 0.88 ** np.clip(after, 0, None), 0)
    pose = Poses(angle=strength * rng.uniform(9, 16))
    pose.shift[:, 0] = strength * rng.uniform(0.05, 0.09)
    return Course({0: pose}, ((0, event),))


def _spins(bodies: dict[int, Body], event: int, direction: float, rng: np.random.Generator) -> Course:
    length = int(rng.integers(6, 9))
    turned = np.clip((frames - event + 1) / length, 0, 1)
    eased = turned**2 * (3 - 2 * turned)
    return Course({0: Poses(angle=-direction * 360 * eased)}, ((0, event),))


def _jumps(bodies: dict[int, Body], event: int, direction: float, rng: np.random.Generator) -> Course:
    length = int(rng.integers(4, 6))
    passed = np.clip((frames - event + length) / length, 0, 1)
    pose = Poses()
    pose.shift[:, 1] = -4 * rng.uniform(0.5, 0.8) * bodies[0].height * passed * (1 - passed)
    pose.scale[frames == event] = (1.14, 0.8)
    pose.scale[frames == event - length] = (1.08, 0.88)
    return Course({0: pose}, ((0, event),))


def _bounces(bodies: dict[int, Body], event: int, direction: float, rng: np.random.Generator) -> Course:
    period = int(rng.integers(4, 8))
    passed = (frames - event) % period / period
    pose = Poses()
    pose.shift[:, 1] = -4 * rng.uniform(0.5, 0.8) * bodies[0].height * passed * (1 - passed)
    pose.scale[passed == 0] = (1.14, 0.8)
    return Course({0: pose}, tuple((0, int(frame)) for frame in frames[passed == 0]))


def _grows(bodies: dict[int, Body], event: int, direction: float, rng: np.random.Generator) -> Course:
    grown = np.clip((frames - event + 1) / 4, 0, 1)
    size = rng.uniform(0.35, 0.45) + (1 - 0.4) * grown
    return Course({0: Poses(scale=np.stack([size, size], 1))}, ((0, event),))


def _shrinks(bodies: dict[int, Body], event: int, direction: float, rng: np.random.Generator) -> Course:
    size = 1 - rng.uniform(0.52, 0.62) * np.clip((frames - event + 1) / 4, 0, 1)
    return Course({0: Poses(scale=np.stack([size, size], 1))}, ((0, event),))


def _swings(bodies: dict[int, Body], event: int, direction: float, rng: np.random.Generator) -> Course:
    """Leans to one side and the other, all the time; the event is the first time it leans farthest."""
    period = int(rng.integers(6, 9))
    angle = rng.uniform(18, 28) * direction * np.cos(2 * np.pi * (frames - event) / period)
    return Course({0: Poses(angle=angle)}, tuple((0, int(frame)) for frame in frames[(frames - event) % period == 0]))


def in_place(doing: str, does: str) -> tuple[str, ...]:
    """Wordings of something that a thing does alone."""
    return (f"{{a}} {doing}", f"{{a}} {does}", f"{{a}} that {does}", f"{{a}}, {doing}", f"{{a}} is {doing}")


def passing(
    draw: Draw, wordings: tuple[str, ...], acting: str, other: tuple[str, ...], relation: str = "in front of"
) -> SceneMotion:
    """One thing goes from edge to edge, and passes another."""
    return SceneMotion(draw, wordings, relation, (acting,), other, travels=True, leaves=True)


CHARACTERS = ("animals", "figures")
LIGHT = ("animals", "figures", "objects", "food", "balls")
MOTIONS: dict[str, SceneMotion] = {
    "falls on": SceneMotion(
        _falls_on,
        (
            "{a} falls on {b}",
            "{a} falling on {b}",
            "{a} falls onto {b}",
            "{a} drops on {b}",
            "{a} dropping onto {b}",
            "{a} lands on {b}",
        ),
        "on",
        LIGHT,
        ("carries",),
    ),
    "jumps onto": SceneMotion(
        _jumps_onto,
        ("{a} jumps onto {b}", "{a} jumping on {b}", "{a} hops onto {b}", "{a} leaps on {b}"),
        "on",
        (*CHARACTERS, "balls"),
        ("carries",),
        travels=True,
    ),
    "falls off": SceneMotion(
        _falls_off,
        ("{a} falls off {b}", "{a} falling off {b}", "{a} falls from {b}", "{a} drops off {b}"),
        "on",
        LIGHT,
        ("carries",),
    ),
    "jumps over": SceneMotion(
        _jumps_over,
        ("{a} jumps over {b}", "{a} jumping over {b}", "{a} leaps over {b}", "{a} hops over {b}"),
        "left of",
        (*CHARACTERS, "balls"),
        ("objects", "plants", "animals", "food", "vehicles"),
        travels=True,
    ),
    "drives past": passing(
        _past,
        ("{a} drives past {b}", "{a} driving past {b}", "{a} passes {b}", "{a} drives by {b}"),
        "vehicles",
        ("places", "plants", "objects", "animals", "figures"),
    ),
    "walks past": passing(
        _past,
        ("{a} runs past {b}", "{a} walking past {b}", "{a} passes {b}", "{a} walks by {b}"),
        "animals",
        ("places", "plants", "objects", "vehicles"),
    ),
    "rolls past": passing(
        _rolls_past,
        ("{a} rolls past {b}", "{a} rolling past {b}", "{a} rolls by {b}"),
        "balls",
        ("places", "plants", "objects", "animals", "figures"),
    ),
    "flies over": passing(
        _past,
        ("{a} flies over {b}", "{a} flying over {b}", "{a} flies above {b}", "{a} passes over {b}"),
        "flyers",
        ("places", "plants", "objects", "animals", "figures", "vehicles"),
        "above",
    ),
    "rides": SceneMotion(
        _rides_off,
        ("{a} riding {b}", "{a} rides {b}", "{a} rides away on {b}", "{a} sets off on {b}", "{a} on {b}, moving"),
        "riding",
        CHARACTERS,
        ("ridden",),
        travels=True,
    ),
    "bumps into": SceneMotion(
        _bumps_into,
        ("{a} bumps into {b}", "{a} bumping into {b}", "{a} runs into {b}", "{a} hits {b}", "{a} pushes {b}"),
        "left of",
        ("animals", "figures", "vehicles", "balls"),
        ("animals", "figures", "objects", "plants", "vehicles"),
        travels=True,
    ),
    "appears": SceneMotion(
        _appears,
        ("{a} appears beside {b}", "{a} popping up beside {b}", "{a} appears next to {b}"),
        "beside",
        LIGHT,
        ("animals", "figures", "objects", "places", "plants", "vehicles"),
    ),
    "shakes": SceneMotion(_shakes, in_place("shaking", "shakes") + in_place("trembling", "trembles")),
    "spins": SceneMotion(_spins, in_place("spinning", "spins") + in_place("turning round", "turns round")),
    "jumps": SceneMotion(_jumps, in_place("jumping", "jumps") + in_place("hopping", "hops")),
    "bounces": SceneMotion(
        _bounces, in_place("bouncing", "bounces") + in_place("jumping up and down", "jumps up and down")
    ),
    "grows": SceneMotion(_grows, in_place("growing", "grows") + in_place("getting bigger", "gets bigger")),
    "shrinks": SceneMotion(_shrinks, in_place("shrinking", "shrinks") + in_place("getting smaller", "gets smaller")),
    "swings": SceneMotion(_swings, in_place("swinging", "swings") + in_place("swaying", "sways")),
}
"""Every motion by its name."""
IN_PLACE = tuple(name for name, motion in MOTIONS.items() if not motion.relation)
"""What a thing does alone, or on, under or beside another."""


def beside_wordings(name: str, relation: str) -> tuple[str, ...]:
    """Wordings for what one thing does in place while it stands in a relation to another."""
    doing = {
        "shakes": "shaking",
        "spins": "spinning",
        "jumps": "jumping",
        "bounces": "bouncing",
        "grows": "growing",
        "shrinks": "shrinking",
        "swings": "swinging",
    }[name]
    word = {"beside": "beside", "left of": "to the left of", "right of": "to the right of"}.get(relation, relation)
    return (f"{{a}} {doing} {word} {{b}}", f"{{a}} {name} {word} {{b}}", f"{{a}} {word} {{b}}, {doing}")


def both_wordings(first: str, second: str) -> Sequence[str]:
    """Wordings for two things that act one after the other."""
    return (
        f"{{a}} {first} and {{b}} {second}",
        f"{{a}} {first}, {{b}} {second}",
        f"{{a}} {first} while {{b}} {second}",
    )
