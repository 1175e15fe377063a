"""What kind of thing a concept is, in the words people use when they leave open which: "an animal", "a vehicle"."""

from collections.abc import Mapping
from typing import Any

_FACES = ("face", "smiley")
_ANIMAL, _VEHICLE, _PERSON, _FOOD, _SYMBOL = ("animal",), ("vehicle",), ("person",), ("food",), ("symbol",)

KINDS: dict[str, tuple[str, ...]] = {
    "animal-mammal": (*_ANIMAL, "mammal"),
    "animal-bird": (*_ANIMAL, "bird"),
    "animal-amphibian": _ANIMAL,
    "animal-reptile": (*_ANIMAL, "reptile"),
    "animal-marine": (*_ANIMAL, "sea creature"),
    "animal-bug": (*_ANIMAL, "insect"),
    "cat-face": (*_ANIMAL, *_FACES),
    "monkey-face": (*_ANIMAL, *_FACES),
    "plant-flower": ("plant", "flower"),
    "plant-other": ("plant",),
    "food-fruit": (*_FOOD, "fruit"),
    "food-vegetable": (*_FOOD, "vegetable"),
    "food-prepared": (*_FOOD, "meal"),
    "food-asian": (*_FOOD, "meal"),
    "food-sweet": (*_FOOD, "dessert"),
    "drink": ("drink",),
    "dishware": ("household thing",),
    "household": ("household thing",),
    "place-geographic": ("place", "landscape"),
    "place-building": ("place", "building"),
    "place-religious": ("place", "building"),
    "place-other": ("place",),
    "transport-ground": _VEHICLE,
    "transport-water": (*_VEHICLE, "boat"),
    "transport-air": (*_VEHICLE, "aircraft"),
    "time": ("clock",),
    "sky-weather": ("weather",),
    "event": ("celebration",),
    "award-medal": ("prize",),
    "sport": ("sport",),
    "game": ("game",),
    "arts-crafts": ("art",),
    "clothing": ("piece of clothing",),
    "music": ("music",),
    "musical-instrument": ("musical instrument", "instrument"),
    "phone": ("device",),
    "computer": ("device",),
    "light-video": ("device",),
    "tool": ("tool",),
    "office": ("office thing",),
    "science": ("scientific instrument",),
    "medical": ("medical thing",),
    "heart": ("heart",),
    "hand-fingers-open": ("hand", "gesture"),
    "hand-fingers-partial": ("hand", "gesture"),
    "hand-fingers-closed": ("hand", "gesture"),
    "hand-single-finger": ("hand", "gesture"),
    "hands": ("hand", "gesture"),
    "body-parts": ("body part",),
    "person": _PERSON,
    "person-gesture": _PERSON,
    "person-role": (*_PERSON, "job"),
    "person-fantasy": ("fantasy creature",),
    "person-activity": _PERSON,
    "person-sport": (*_PERSON, "athlete"),
    "family": ("family",),
    "zodiac": (*_SYMBOL, "star sign"),
    "arrow": (*_SYMBOL, "arrow"),
    "geometric": (*_SYMBOL, "shape"),
    "alphanum": _SYMBOL,
    "keycap": _SYMBOL,
    "flag": ("flag",),
}
"""{subgroup: what its concepts are}; all whose name begins with ``face-`` are faces. Others are of no kind."""

STRAYS = frozenset(
    {
        *("station", "bus stop", "motorway", "railway track", "oil drum", "fuel pump", "wheel", "police car light"),
        *("horizontal traffic light", "vertical traffic light", "stop sign", "construction", "anchor", "ring buoy"),
        *("seat", "parachute", "airplane departure", "airplane arrival", "paw prints", "pig nose"),
        *("muted speaker", "level slider", "control knobs"),
    }
)
"""Names that stand in a subgroup without being of its kind."""


def kinds_of(concept: Mapping[str, Any]) -> tuple[str, ...]:
    """The kinds of a record of ``concepts.jsonl``, broadest first; none for a few."""
    subgroup = str(concept.get("subgroup", ""))
    if concept.get("name") in STRAYS:
        return ()
    return _FACES if subgroup.startswith("face-") else KINDS.get(subgroup, ())
