"""What a scene is called: many wordings of the same, with and without its style, and with ornaments that mean nothing."""

from collections.abc import Sequence

import numpy as np

from .captions import STYLE_NAMES, article
from .colours import MOODS
from .grounds import BACKGROUNDS, GROUNDS
from .scenes import Part, Scene
from .things import naming, things

NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
SIZES = {
    "tiny": ("tiny", "very small", "little", "miniature"),
    "small": ("small", "little"),
    "big": ("big", "large"),
    "huge": ("huge", "giant", "enormous", "gigantic"),
}
IRREGULAR = {
    "mouse": "mice",
    "wolf": "wolves",
    "sheep": "sheep",
    "fish": "fish",
    "tropical fish": "tropical fish",
    "goose": "geese",
    "deer": "deer",
    "ox": "oxen",
    "moose": "moose",
    "bison": "bison",
    "elf": "elves",
    "snowman": "snowmen",
    "squid": "squid",
    "tomato": "tomatoes",
    "scarf": "scarves",
    "loaf": "loaves",
    "computer mouse": "computer mice",
    "bread": "loaves of bread",
    "popcorn": "boxes of popcorn",
    "sushi": "pieces of sushi",
    "broccoli": "pieces of broccoli",
    "fire": "fires",
    "wood": "pieces of wood",
}
"""Plurals that no rule gives."""
UNCOUNTED = (
    "bread",
    "popcorn",
    "sushi",
    "broccoli",
    "fire",
    "Santa Claus",
    "french fries",
    "grapes",
    "cherries",
    "pancakes",
    "sunglasses",
)
"""What has no article before it."""

WORDINGS = {
    "on": (
        "{a} on {b}",
        "{a} on {b}",
        "{a} on top of {b}",
        "{b} with {a} on it",
        "there is {a} on {b}",
        "{a} is on {b}",
    ),
    "riding": (
        "{a} riding {b}",
        "{a} riding {b}",
        "{a} on {b}",
        "{a} rides {b}",
        "{b} with {a} on it",
        "{a} that rides {b}",
    ),
    "in": ("{a} in {b}", "{a} in {b}", "{a} inside {b}", "{b} with {a} in it"),
    "under": (
        "{a} under {b}",
        "{a} under {b}",
        "{a} underneath {b}",
        "{a} beneath {b}",
        "{b} over {a}",
        "{b} with {a} under it",
    ),
    "above": (
        "{a} above {b}",
        "{a} above {b}",
        "{a} over {b}",
        "{b} below {a}",
        "{b} with {a} above it",
        "{b} under {a}",
    ),
    "below": ("{a} below {b}", "{a} under {b}", "{a} beneath {b}", "{b} above {a}", "{b} over {a}"),
    "beside": (
        "{a} beside {b}",
        "{a} next to {b}",
        "{a} by {b}",
        "{a} near {b}",
        "{a} and {b} side by side",
        "{a} at the side of {b}",
    ),
    "left of": (
        "{a} to the left of {b}",
        "{a} left of {b}",
        "{a} on the left of {b}",
        "{b} to the right of {a}",
        "{a} on the left and {b} on the right",
    ),
    "right of": (
        "{a} to the right of {b}",
        "{a} right of {b}",
        "{a} on the right of {b}",
        "{b} to the left of {a}",
        "{b} on the left and {a} on the right",
    ),
    "in front of": (
        "{a} in front of {b}",
        "{a} in front of {b}",
        "{a} before {b}",
        "{b} behind {a}",
        "{b} with {a} in front of it",
    ),
    "behind": (
        "{a} behind {b}",
        "{a} behind {b}",
        "{b} in front of {a}",
        "{a} hiding behind {b}",
        "{a} looking out from behind {b}",
    ),
    "between": (
        "{a} between {b}",
        "{a} between {b}",
        "{b} with {a} between them",
        "{a} in between {b}",
        "{a} in the middle of {b}",
    ),
    "wearing": ("{a} wearing {b}", "{a} with {b}", "{a} in {b}", "{a} with {b} on its head", "{b} on the head of {a}"),
}
"""Relation → how it is said."""
ANIMATE = {
    "on": ("{a} standing on {b}", "{a} sitting on {b}", "{a} stands on {b}", "{a} sits on {b}"),
    "in": ("{a} sitting in {b}", "{a} sits in {b}", "{a} looks out of {b}"),
    "under": ("{a} standing under {b}", "{a} sheltering under {b}"),
    "in front of": ("{a} standing in front of {b}",),
    "beside": ("{a} standing beside {b}", "{a} standing next to {b}"),
    "between": ("{a} standing between {b}",),
}
"""The same of animals and figures."""
FLYING = ("{a} flying over {b}", "{a} flying above {b}", "{a} flies over {b}", "{a} hovering over {b}")
SKIES = ("{x} under {s}", "{x}, {s} above", "{x} with {s} in the sky", "{x}, with {s} above", "{x} below {s}")
OPENINGS = (
    "a picture of {}",
    "an image of {}",
    "a drawing of {}",
    "a sticker of {}",
    "picture of {}",
    "an illustration of {}",
    "draw {}",
    "{}, please",
)
ORNAMENTS = (
    "4k",
    "4k, high resolution",
    "high resolution",
    "hd",
    "highly detailed",
    "digital art",
    "best quality",
    "8k",
    "detailed",
    "beautiful",
    "trending on artstation",
    "high quality",
    "sharp",
    "masterpiece",
    "professional",
    "wonderful",
    "nice",
)
ADORNED = ("cute", "lovely", "nice", "funny", "beautiful", "happy", "adorable", "little")
"""Words before a noun that mean nothing here."""


def plain_caption(scene: Scene, wordings: Sequence[str] = ()) -> str:
    """The plainest words for a scene, always the same: what an evaluation asks for."""
    return _sentence(scene, None, wordings)


def scene_caption(scene: Scene, rng: np.random.Generator, wordings: Sequence[str] = ()) -> str:
    """A caption of a scene in one of many wordings; ``wordings`` of {a} and {b} take the place of the relation's own."""
    text = _sentence(scene, rng, wordings)
    says_what = text.startswith(("a ", "an ", "two ", "three ", "four ", "the ")) and " is " not in text
    if rng.random() < 0.1 and says_what:
        text = str(rng.choice(OPENINGS)).format(text)
    if rng.random() < 0.14:
        text = f"{text}, {rng.choice(ORNAMENTS)}"
    if rng.random() < 0.08:
        text = _without_articles(text)
    if rng.random() < 0.12:
        text = text[:1].upper() + text[1:] + ("." if rng.random() < 0.4 else "")
    return text


def _sentence(scene: Scene, rng: np.random.Generator | None, wordings: Sequence[str] = ()) -> str:
    where = _where(scene, rng)
    style = STYLE_NAMES[scene.style] if rng is not None and rng.random() < 0.35 else ""
    mood = MOODS.get(scene.mood)
    mood_word = "" if mood is None else str(_pick(rng, mood.adjectives))
    single = len(scene.parts) == 1
    mood_before = mood is not None and rng is not None and rng.random() < (0.5 if single else 0.2)
    style_before = bool(style) and rng is not None and rng.random() < (0.5 if single else 0.25)
    before = " ".join(word for word, used in ((mood_word, mood_before), (style, style_before)) if used)
    text = _relation(scene, before, rng, wordings)
    if scene.sky:
        text = str(_pick(rng, SKIES)).format(x=text, s=_noun_phrase(scene.sky, rng))
    if where:
        text = f"{text} {where}" if rng is None or rng.random() < 0.8 else f"{where}, {text}"
    if mood is not None and not mood_before:
        text = f"{text}, {_pick(rng, mood.phrases)}"
    if style and not style_before:
        text += str(rng.choice((", {} style", " in {} style", ", {}", ", in the style of {}"))).format(style)  # type: ignore[union-attr]
    return text


def _relation(scene: Scene, before: str, rng: np.random.Generator | None, given: Sequence[str]) -> str:
    """The things and how they stand, with adjectives ``before`` the first noun."""
    first = _noun_phrase(scene.parts[0], rng, before)
    if len(scene.parts) == 1:
        return str(_pick(rng, given or ("{a}",))).format(a=first)
    if scene.relation == "between" and scene.parts[1].name == scene.parts[2].name:
        others = _noun_phrase(Part(scene.parts[1].name, 2, scene.parts[1].colour, scene.parts[1].scale), rng)
    else:
        others = _list([_noun_phrase(part, rng) for part in scene.parts[1:]])
    if given:
        return str(_pick(rng, given)).format(a=first, b=others)
    if not scene.relation:
        words = _list([first, *(_noun_phrase(part, rng) for part in scene.parts[1:])])
        return words if len(scene.parts) > 2 or rng is None or rng.random() < 0.6 else f"{first} with {others}"
    wordings = list(WORDINGS[scene.relation])
    roles = things()[scene.parts[0].name].roles
    if roles & {"animals", "figures"}:
        wordings += ANIMATE.get(scene.relation, ())
    elif scene.relation == "behind":
        wordings = wordings[:3]
    if scene.relation == "above" and "flyers" in roles:
        wordings += FLYING
    return str(wordings[0] if rng is None else rng.choice(wordings)).format(a=first, b=others)


def _where(scene: Scene, rng: np.random.Generator | None) -> str:
    if scene.ground in BACKGROUNDS:
        colour = scene.ground
        return str(_pick(rng, ("on {} background", "with {} background", "before {} background"))).format(
            article(colour)
        )
    ground = GROUNDS.get(scene.ground)
    return str(_pick(rng, ground.phrases)) if ground and ground.phrases else ""


def _noun_phrase(part: Part, rng: np.random.Generator | None, before: str = "") -> str:
    """ "three tiny blue apples", "the moon", "a cute cyberpunk cat"; with adjectives ``before`` all others."""
    thing = things()[part.name]
    noun = (
        thing.nouns[0]
        if rng is None or len(thing.nouns) == 1 or rng.random() < 0.65
        else str(rng.choice(thing.nouns[1:]))
    )
    noun = _uncoloured(noun) if part.colour else noun
    adjectives = [word for word in (before, *_adjectives(part, rng)) if word]
    unique, articles = naming()
    if part.count > 1:
        return " ".join([NUMBERS[part.count], *adjectives, plural(noun)])
    if noun in unique and not adjectives:
        return f"{unique[noun]} {noun}"
    words = " ".join([*adjectives, noun])
    if (thing.plural and noun == part.name) or noun in UNCOUNTED:
        return words if rng is None or rng.random() < 0.7 or noun == "Santa Claus" else f"some {words}"
    if not adjectives and noun in articles:
        return f"{articles[noun]} {noun}"
    return f"a {words}" if words.startswith(("unicorn", "UFO", "one")) else article(words)


def _adjectives(part: Part, rng: np.random.Generator | None) -> list[str]:
    found = []
    if rng is not None and "animals" in things()[part.name].roles and rng.random() < 0.06:
        found.append(str(rng.choice(ADORNED)))
    if part.scale:
        found.append(str(_pick(rng, SIZES[part.scale])))
    if part.colour:
        found.append(part.colour)
    return found


def _uncoloured(noun: str) -> str:
    """ "red apple" → "apple"."""
    words = noun.split(" ")
    return " ".join(words[1:]) if words[0] in ("red", "green", "black", "blue", "yellow") and len(words) > 1 else noun


def plural(noun: str) -> str:
    """ "foxes", "slices of pizza"."""
    if noun in IRREGULAR:
        return IRREGULAR[noun]
    for middle in (" of ", " with "):
        if middle in noun:
            head, rest = noun.split(middle, 1)
            return f"{plural(head)}{middle}{rest}"
    last = noun.rsplit(" ", 1)[-1]
    if last in IRREGULAR:
        return noun[: -len(last)] + IRREGULAR[last]
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh", "z")) else "s")


def _list(phrases: Sequence[str]) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def _without_articles(text: str) -> str:
    """As people type: "cat on skateboard"."""
    return " ".join(word for word in text.split(" ") if word not in ("a", "an", "the"))


def _pick(rng: np.random.Generator | None, values: Sequence[str]) -> str:
    return values[0] if rng is None else values[int(rng.integers(len(values)))]
