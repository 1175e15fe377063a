"""Which scenes there are: drawn at random, sensible ones only, and some withheld so that composition can be measured."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from .colours import COLOURS, GREYS, MOODS, colour_name, main_hue
from .grounds import BACKGROUNDS, GROUNDS
from .scenes import SCALES, Part, Scene
from .things import Drawings, things

WITHHELD_PAIRS, WITHHELD_TRIPLES = 0.04, 0.06
"""Shares of all pairs of things, and of all (thing, relation, thing), that are never learned from."""

STANDING = ("animals", "figures", "objects", "food", "vehicles", "plants", "places", "balls")
CHARACTERS = ("animals", "figures")
OUTDOORS = tuple(name for name, ground in GROUNDS.items() if ground.horizon and name not in ("room", "neon city"))
COLOURABLE = ("animals", "food", "objects", "vehicles", "boats", "balls", "flyers", "swimmers")
BY_NIGHT = ("full moon", "crescent moon", "star", "glowing star", "comet", "ringed planet")
BY_DAY = ("sun", "rainbow", "cloud", "cloud with rain", "cloud with snow", "cloud with lightning")

KINDS = {
    "on": 0.12,
    "riding": 0.07,
    "in": 0.06,
    "under": 0.08,
    "above": 0.07,
    "below": 0.04,
    "beside": 0.06,
    "left of": 0.035,
    "right of": 0.035,
    "in front of": 0.06,
    "behind": 0.06,
    "between": 0.05,
    "wearing": 0.03,
    "together": 0.08,
    "number": 0.06,
    "alone": 0.095,
}
"""How often which kind of scene is drawn."""


def is_withheld(scene: Scene) -> bool:
    """Whether a scene has a pair of things, or a (thing, relation, thing), that is kept for validation.

    Things count by what they are called: a dog is one whether its face is drawn or all of it.
    """
    nouns = [things()[name].nouns[0] for name in scene.names]
    pairs = (" | ".join(sorted(pair)) for pair in combinations(nouns, 2) if pair[0] != pair[1])
    if any(_position(pair) < WITHHELD_PAIRS for pair in pairs):
        return True
    if not scene.relation or len(scene.parts) < 2:
        return False
    first, second = nouns[:2]
    relation, first, second = _canonical(scene.relation, first, second)
    return _position(f"{first} | {relation} | {second}") < WITHHELD_TRIPLES


def _canonical(relation: str, first: str, second: str) -> tuple[str, str, str]:
    """Relations that show the same have one name: A below B is B above A."""
    if relation in ("below", "right of", "behind"):
        return {"below": "above", "right of": "left of", "behind": "in front of"}[relation], second, first
    if relation in ("beside", "together"):
        return relation, *sorted((first, second))
    return {"riding": "on"}.get(relation, relation), first, second


def _position(key: str) -> float:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32


def random_scene(drawings: Drawings, rng: np.random.Generator, withheld: bool | None = False) -> Scene:
    """A sensible scene in one of the styles.

    withheld: False for training; True draws only scenes that training never sees; None draws any.
    """
    while True:
        scene = _propose(drawings, rng)
        if scene is None or not drawings.has(scene.style, scene.names):
            continue
        if withheld is None or is_withheld(scene) == withheld:
            return scene


def _propose(drawings: Drawings, rng: np.random.Generator) -> Scene | None:
    style = _pick(rng, drawings.styles)
    kind = _pick(rng, tuple(KINDS), tuple(KINDS.values()))
    parts = _parts(kind, style, drawings, rng)
    if parts is None or len({things()[part.name].nouns[0] for part in parts}) < len({part.name for part in parts}):
        return None
    relation = "" if kind in ("together", "number", "alone") else kind
    plain = kind != "alone"
    if plain and rng.random() < 0.12:
        parts = _coloured(parts, style, drawings, rng)
    if plain and kind not in ("wearing", "number", "in") and rng.random() < 0.06:
        parts = _scaled(parts, kind, rng)
    ground, mood, sky = "", "", None
    chance = rng.random()
    if kind == "alone":
        return _alone(parts[0], style, drawings, rng)
    if chance < 0.3:
        ground = sensible_ground(parts, rng)
    elif chance < 0.38:
        ground = _pick(rng, tuple(BACKGROUNDS))
    elif chance < 0.47:
        mood = _pick(rng, tuple(MOODS))
        ground = MOODS[mood].ground or (sensible_ground(parts, rng) if rng.random() < 0.3 else "")
    if mood:
        parts = tuple(replace(part, colour="") for part in parts)  # a mood leaves few colours to tell apart
    outdoors = not ground or ground in OUTDOORS
    if relation in ("on", "riding", "beside", "between", "") and outdoors and not mood and rng.random() < 0.1:
        sky = _sky(style, ground, drawings, rng)
        if sky and sky.name in {part.name for part in parts}:
            sky = None
    if "sky" in set().union(*(things()[part.name].roles for part in parts)) and not _suits_sky(parts, ground):
        return None
    return Scene(style, parts, relation, sky, ground, mood)


def _parts(kind: str, style: str, drawings: Drawings, rng: np.random.Generator) -> tuple[Part, ...] | None:
    def one(*roles: str, most: float = 9.0, least: float = 0.0) -> str:
        names = [name for role in roles for name in drawings.named(style, role) if least <= things()[name].size <= most]
        return _pick(rng, names) if names else ""

    def size(name: str) -> float:
        return things()[name].size if name else 0.0

    if kind == "alone":
        names = [one(*STANDING, "flyers", "swimmers", "sky")]
    elif kind == "number":
        name = one("animals", "food", "objects", "balls", "flyers", "swimmers", "vehicles", "plants", most=1.0)
        if not name or things()[name].plural:
            return None
        return (Part(name, int(rng.choice((2, 2, 3, 3, 3, 4, 4, 5, 6)))),)
    elif kind == "together":
        names = [one(*STANDING) for _ in range(3 if rng.random() < 0.35 else 2)]
        sizes = [size(name) for name in names]
        if not all(names) or max(sizes) > 2.4 * min(sizes):
            return None
        if len(names) == 2 and rng.random() < 0.25 and not any(things()[name].plural for name in names):
            counts = [1, int(rng.integers(2, 4))]
            return tuple(Part(name, count) for name, count in zip(names, rng.permutation(counts).tolist()))
    elif kind == "on":
        lower = one("carries")
        names = [one("animals", "figures", "objects", "food", "balls", most=1.25 * size(lower) + 0.15), lower]
    elif kind == "riding":
        lower = one("ridden")
        names = [one(*CHARACTERS, most=1.1 * size(lower)), lower]
    elif kind == "in":
        names = [one("animals", "figures", "food", "balls", most=0.8), one("contains")]
    elif kind == "under":
        names = [one("animals", "figures", "objects", "vehicles", "food", most=1.0), one("shelters")]
    elif kind in ("above", "below"):
        names = [one("flyers"), one("sky")] if rng.random() < 0.15 else [one("flyers", "sky"), one(*STANDING)]
        if not all(names) or size(names[0]) > 2.4 * size(names[1]):
            return None
        names = names if kind == "above" else names[::-1]
    elif kind in ("beside", "left of", "right of"):
        names = [one(*STANDING), one(*STANDING)]
        if not all(names) or not 0.35 <= size(names[0]) / size(names[1]) <= 2.8:
            return None
    elif kind == "in front of":
        names = [
            one("animals", "figures", "vehicles", "objects", most=1.3),
            one("places", "plants", "vehicles", least=1.0),
        ]
        if all(names) and not 0.4 <= size(names[0]) / size(names[1]) <= 1:
            return None
    elif kind == "behind":
        front = one("objects", "plants", "vehicles", least=0.75, most=1.3)
        names = [one(*CHARACTERS, most=1.35), front]
        if not all(names) or not 0.6 <= size(names[0]) / size(front) <= 1.5:
            return None
    elif kind == "between":
        outer = one("plants", "places", "animals", "objects", "vehicles")
        other = outer if rng.random() < 0.5 else one("plants", "places", "animals", "objects", "vehicles")
        names = [one("animals", "figures", "objects", "vehicles"), outer, other]
        sizes = [size(name) for name in names]
        if not all(names) or max(sizes) > 2.4 * min(sizes) or things()[outer].plural:
            return None
    else:
        names = [one("heads"), one("hats")]
    if not all(names) or (len(set(names)) < len(names) and kind != "between") or names[0] in names[1:]:
        return None
    return tuple(Part(name) for name in names)


def _alone(part: Part, style: str, drawings: Drawings, rng: np.random.Generator) -> Scene | None:
    """One thing with something to say about it."""
    what = _pick(rng, ("ground", "background", "mood", "colour", "scale"), (0.32, 0.12, 0.22, 0.22, 0.12))
    ground, mood = "", ""
    if what == "colour":
        (coloured,) = _coloured((part,), style, drawings, rng)
        if not coloured.colour:
            return None
        part = coloured
    elif what == "scale":
        part = Part(part.name, scale=_pick(rng, tuple(SCALES)))
    elif what == "background":
        ground = _pick(rng, tuple(BACKGROUNDS))
    elif what == "mood":
        mood = _pick(rng, tuple(MOODS))
        ground = MOODS[mood].ground
    if what == "ground" or (what in ("mood", "colour") and not ground and rng.random() < 0.25):
        ground = sensible_ground((part,), rng)
    return Scene(style, (part,), ground=ground, mood=mood) if _suits_sky((part,), ground) else None


def _suits_sky(parts: Sequence[Part], ground: str) -> bool:
    """Whether sun, moon, clouds and so on can be at this place."""
    names = [part.name for part in parts if "sky" in things()[part.name].roles]
    if not names or ground in ("", "sky", "neon city") or ground in BACKGROUNDS:
        return True
    if ground in ("night", "space"):
        return all(name in BY_NIGHT for name in names)
    return ground in OUTDOORS and ground not in ("rain", "snow") and all(name in BY_DAY for name in names)


def sensible_ground(parts: Sequence[Part], rng: np.random.Generator) -> str:
    """A place where all of the parts can be."""
    roles = [things()[part.name].roles for part in parts]
    names = [
        name
        for name, ground in GROUNDS.items()
        if ground.phrases and (not ground.suits or all(each & set(ground.suits) for each in roles))
    ]
    if any("places" in each or things()[part.name].size > 1.4 for each, part in zip(roles, parts)):
        names.remove("room")
    return _pick(rng, names)


def _sky(style: str, ground: str, drawings: Drawings, rng: np.random.Generator) -> Part | None:
    if ground in ("rain", "snow"):
        return None
    names = [
        name
        for name in (BY_NIGHT if ground == "night" else BY_DAY if ground else (*BY_DAY, *BY_NIGHT))
        if name in drawings.places[style]
    ]
    return Part(_pick(rng, names)) if names else None


def _coloured(parts: tuple[Part, ...], style: str, drawings: Drawings, rng: np.random.Generator) -> tuple[Part, ...]:
    """One of the parts in another colour, if any has a colour of its own that can be changed."""
    which = int(rng.integers(len(parts)))
    part = parts[which]
    outline = drawings.outline(style, part.name)
    hue = None if outline is None else main_hue(outline.picture)
    if hue is None or not things()[part.name].roles & set(COLOURABLE):
        return parts
    colour = _pick(rng, [name for name in (*COLOURS, *COLOURS, *GREYS) if name != colour_name(hue)])
    changed = Part(part.name, part.count, colour)
    return (*parts[:which], changed, *parts[which + 1 :])


def _scaled(parts: tuple[Part, ...], kind: str, rng: np.random.Generator) -> tuple[Part, ...]:
    """One of the parts tiny, or huge beside the others."""
    which = int(rng.integers(len(parts)))
    if kind in ("on", "riding", "under", "in front of", "behind"):
        return parts  # their sizes already follow from how they stand
    changed = Part(parts[which].name, parts[which].count, parts[which].colour, _pick(rng, tuple(SCALES)))
    return (*parts[:which], changed, *parts[which + 1 :])


def _pick(rng: np.random.Generator, values: Sequence[str], weights: Sequence[float] | None = None) -> str:
    if weights is None:
        return values[int(rng.integers(len(values)))]
    return values[int(rng.choice(len(values), p=np.array(weights) / sum(weights)))]
