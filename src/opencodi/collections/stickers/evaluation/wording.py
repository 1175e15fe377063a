"""Free wording: does what nobody wrote in a caption ("puppy", "a scary movie monster") give something sensible?"""

from typing import Any

from ....evaluation.share import share
from ....modality import Modality
from ..captions import captions_of, kind_captions
from .bench import Bench
from .judging import best_concepts, known_concepts

WORDINGS: dict[str, tuple[str, ...]] = {
    "puppy": ("dog", "dog face", "poodle", "guide dog", "service dog"),
    "a baby cat": ("cat", "cat face", "black cat"),
    "a scary movie monster": (
        "zombie",
        "ghost",
        "vampire",
        "ogre",
        "goblin",
        "alien monster",
        "skull",
        "jack-o-lantern",
    ),
    "something that flies": (
        "airplane",
        "helicopter",
        "bird",
        "fly",
        "butterfly",
        "eagle",
        "duck",
        "rocket",
        "bat",
        "kite",
    ),
    "foal": ("horse", "horse face", "donkey"),
    "a hen": ("chicken", "rooster", "baby chick", "front-facing baby chick", "hatching chick"),
    "it swims in the ocean": (
        "fish",
        "dolphin",
        "whale",
        "shark",
        "octopus",
        "tropical fish",
        "seal",
        "person swimming",
    ),
    "a big African animal with a trunk": ("elephant",),
    "hound": ("dog", "dog face", "poodle", "guide dog", "wolf"),
    "a shelter from rain": ("umbrella", "umbrella with rain drops", "closed umbrella", "umbrella on ground"),
    "wristwatch": ("watch",),
    "an instrument with six strings": ("guitar", "banjo", "violin"),
    "percussion": ("drum", "long drum", "maracas"),
    "sedan": ("automobile", "oncoming automobile", "taxi", "oncoming taxi"),
    "a car for emergencies": ("ambulance", "police car", "fire engine", "oncoming police car"),
    "a two-wheeled vehicle": ("bicycle", "motorcycle", "motor scooter", "kick scooter"),
    "a jet plane": ("airplane", "small airplane", "airplane departure", "airplane arrival"),
    "breakfast from a hen": ("egg", "cooking", "hatching chick"),
    "Italian dish": ("pizza", "spaghetti"),
    "a yellow curved fruit": ("banana",),
    "a cold sweet dessert": ("ice cream", "soft ice cream", "shaved ice", "custard"),
    "physician": ("health worker", "man health worker", "woman health worker", "stethoscope"),
    "a frozen person made of snow": ("snowman", "snowman without snow"),
    "it shines at night": (
        "full moon",
        "crescent moon",
        "star",
        "glowing star",
        "full moon face",
        "new moon face",
        "flashlight",
    ),
}
"""{what one may write: the names in the collection that are a sensible answer}."""


def unseen_wordings(bench: Bench) -> dict[str, list[str]]:
    """{wording: codes of the sensible concepts}, of those that are no caption and whose answers are in the collection."""
    concepts = bench.collection.concepts
    captions = {text.lower() for concept in concepts.values() for text in kind_captions(concept)}
    for kind in bench.collection.records.values():
        captions |= {text.lower() for record in kind for text in captions_of(record, concepts)}
    codes = {concept["name"]: code for code, concept in concepts.items()}
    found = {
        wording: [codes[name] for name in names if name in codes]
        for wording, names in WORDINGS.items()
        if wording.lower() not in captions
    }
    return {wording: answers for wording, answers in found.items() if answers}


def measure(bench: Bench) -> dict[str, Any]:
    """Share of texts and pictures, some seeds of each wording, that are one of its sensible answers.

    Returns:
        ``{"text": {"share", "n"}, "image": {"share", "n"}, "by_wording": {wording: {"text", "image": names made}}}``.
    """
    wanted, seeds = unseen_wordings(bench), bench.budget.wording_seeds
    prompts = [wording for wording in wanted for _ in range(seeds)]
    bench.progress.begin("free wording", 2 * len(prompts))
    if not prompts:
        return {"text": share([]), "image": share([]), "by_wording": {}}
    given, name = {Modality.TEXT: prompts}, bench.collection.name
    texts = bench.make("wording", given, [Modality.TEXT])[Modality.TEXT]
    images = bench.make("wording", given, [Modality.IMAGE])[Modality.IMAGE]
    shown = best_concepts(bench.judges, Modality.IMAGE, images)
    judged = set(known_concepts(bench.judges, Modality.IMAGE))
    answers = {wording: {name(code) for code in codes} for wording, codes in wanted.items()}
    for place in range(0, len(prompts), seeds):
        bench.show(
            "wording",
            "written freely",
            [(Modality.TEXT, prompts[place])],
            [(Modality.TEXT, texts[place]), *((Modality.IMAGE, image) for image in images[place : place + seeds])],
        )
    return {
        "text": share([text in answers[prompt] for text, prompt in zip(texts, prompts)]),
        "image": share(
            [code in wanted[prompt] for code, prompt in zip(shown, prompts) if not judged.isdisjoint(wanted[prompt])]
        ),
        "by_wording": {
            wording: {
                "text": texts[place : place + seeds],
                "image": [name(code) for code in shown[place : place + seeds]],
            }
            for wording, place in zip(wanted, range(0, len(prompts), seeds))
        },
    }
