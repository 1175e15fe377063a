"""Composition: style from one input and concept from another, two concepts at once, and the way from one to the other."""

import json
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from ....evaluation.accuracy import in_top
from ....evaluation.share import mean, share
from ....modality import Modality
from ..captions import STYLE_NAMES
from ..splits import style_family
from .bench import Bench
from .collection import Collection
from .judging import judge_images, known_concepts, known_styles

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
SECTION = "composition"
EXAMPLES = 4


def measure(bench: Bench) -> dict[str, Any]:
    """Every composition; each is a dictionary of shares with their n."""
    bench.progress.begin("composition", bench.budget.composition * (4 + len(WEIGHTS)))
    return {
        "picture_and_style": picture_and_style(bench),
        "named_style_seen": named_style(bench, "seen"),
        "named_style_unseen": named_style(bench, "unseen"),
        "sound_and_picture": sound_and_picture(bench),
        "weight_sweep": weight_sweep(bench),
    }


def drawn_styles(bench: Bench) -> list[str]:
    """Styles that have pictures, a name in captions, and a place among the judge's labels; one per family."""
    present = {record["style"] for record in bench.collection.records["image"]}
    known = [style for style in known_styles(bench.judges) if style in STYLE_NAMES and style in present]
    return list({style_family(style): style for style in reversed(known)}.values())[::-1]


def picture_and_style(bench: Bench) -> dict[str, Any]:
    """A validation picture and the words "openmoji style": is it still the picture's concept, now in that style?"""
    rng, styles = bench.rng("picture and style"), drawn_styles(bench)
    known, records = set(known_concepts(bench.judges, Modality.IMAGE)), bench.collection.records["image"]
    numbers = [n for n in bench.collection.validation("image") if records[n]["concept"] in known]
    numbers = [numbers[place] for place in rng.permutation(len(numbers))[: bench.budget.composition]]
    wanted, kept = [], []
    for number in numbers:
        others = [s for s in styles if style_family(s) != style_family(records[number]["style"])]
        if others:
            kept.append(number)
            wanted.append(others[rng.integers(len(others))])
    texts = [f"{STYLE_NAMES[style]} style" for style in wanted]
    prompts = {Modality.TEXT: texts, Modality.IMAGE: bench.collection.media("image", kept)}
    return _make_and_score(bench, "a picture and a style", prompts, [records[n]["concept"] for n in kept], wanted)


def named_style(bench: Bench, which: str) -> dict[str, Any]:
    """The words "dog face, openmoji style", of pairs whose picture training had (``seen``) or had not (``unseen``)."""
    rng = bench.rng(f"named style {which}")
    known, styles = set(known_concepts(bench.judges, Modality.IMAGE)), drawn_styles(bench)
    pairs = [(c, s) for c, s in style_pairs(bench.collection, styles)[which] if c in known]
    pairs = [pairs[place] for place in rng.permutation(len(pairs))[: bench.budget.composition]]
    texts = [f"{bench.collection.name(concept)}, {STYLE_NAMES[style]} style" for concept, style in pairs]
    return _make_and_score(
        bench, f"{which} pairs", {Modality.TEXT: texts}, [c for c, _ in pairs], [style for _, style in pairs]
    )


def style_pairs(collection: Collection, styles: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """(concept, style) pairs that training saw, and those it did not: validation items and the collection's own withheld.

    A style stands for its family: what was seen in one Fluent style was seen in all.
    """
    held, records = collection.held_out["image"], collection.records["image"]
    families = {style_family(style): style for style in styles}
    seen = {(r["concept"], style_family(r["style"])) for number, r in enumerate(records) if number not in held}
    withheld = {(r["concept"], style_family(r["style"])) for number, r in enumerate(records) if number in held}
    splits = collection.folder / "splits.json"
    if splits.is_file():
        rows = json.loads(splits.read_text(encoding="utf-8")).get("image_style", [])
        withheld |= {(concept, style_family(style)) for concept, style in rows}
    return {
        name: sorted((c, families[family]) for c, family in pairs if family in families and c in collection.concepts)
        for name, pairs in (("seen", seen), ("unseen", withheld - seen))
    }


def sound_and_picture(bench: Bench) -> dict[str, Any]:
    """A sound of one concept and a picture of another, never paired in training: does the picture made show either?"""
    rng, known = bench.rng("sound and picture"), set(known_concepts(bench.judges, Modality.IMAGE))
    sounds, pictures = (
        [n for n in bench.collection.validation(kind) if bench.collection.records[kind][n]["concept"] in known]
        for kind in ("sound", "image")
    )
    heard, seen = [], []
    for number in rng.permutation(sounds)[: bench.budget.composition].tolist():
        concept = bench.collection.records["sound"][number]["concept"]
        others = [n for n in pictures if bench.collection.records["image"][n]["concept"] != concept]
        if others:
            heard.append(number)
            seen.append(others[rng.integers(len(others))])
    if not heard:
        return {"either": share([])}
    prompts = {
        Modality.IMAGE: bench.collection.media("image", seen),
        Modality.AUDIO: bench.collection.media("sound", heard),
    }
    made = _make(bench, "a sound and a picture", prompts)
    logits, labels = judge_images(bench.judges, made).concept_logits, known_concepts(bench.judges, Modality.IMAGE)
    of_sound = in_top(logits, labels, [bench.collection.records["sound"][n]["concept"] for n in heard], 5)
    of_picture = in_top(logits, labels, [bench.collection.records["image"][n]["concept"] for n in seen], 5)
    return {
        "concept_of_sound_top5": share(of_sound),
        "concept_of_picture_top5": share(of_picture),
        "either_top5": share(of_sound | of_picture),
        "both_top5": share(of_sound & of_picture),
    }


def weight_sweep(bench: Bench) -> dict[str, Any]:
    """From a picture to the words for something else, in five weights: the judge's mean probability of each concept.

    Returns:
        ``{"weights_of_text": […], "probability_of_text": […], "probability_of_picture": […], "n": …}``.
    """
    rng, known = bench.rng("weight sweep"), known_concepts(bench.judges, Modality.IMAGE)
    places, records = {code: place for place, code in enumerate(known)}, bench.collection.records["image"]
    named = [code for code in known if code in bench.collection.concepts]
    numbers = [n for n in bench.collection.validation("image") if records[n]["concept"] in places]
    numbers = [numbers[place] for place in rng.permutation(len(numbers))[: bench.budget.composition]]
    if not numbers or len(named) < 2:
        return {"n": 0}
    seen = [records[n]["concept"] for n in numbers]
    said = [rng.choice([code for code in named if code != concept]) for concept in seen]
    prompts = {
        Modality.TEXT: [bench.collection.name(code) for code in said],
        Modality.IMAGE: bench.collection.media("image", numbers),
    }
    curves: dict[str, list[Any]] = {"probability_of_text": [], "probability_of_picture": []}
    strips: list[list[Image.Image]] = []
    for weight in WEIGHTS:
        made = bench.make("weight sweep", prompts, [Modality.IMAGE], weights={"text": weight, "image": 1 - weight})
        strips.append(made[Modality.IMAGE])
        chances = judge_images(bench.judges, made[Modality.IMAGE]).concept_logits.softmax(1)
        rows = torch.arange(len(chances))
        for name, concepts in (("probability_of_text", said), ("probability_of_picture", seen)):
            curves[name].append(mean(chances[rows, [places[code] for code in concepts]].tolist())["mean"])
    for number in range(min(EXAMPLES, len(numbers))):
        given = [(modality, items[number]) for modality, items in prompts.items()]
        made = [(Modality.IMAGE, strip[number]) for strip in strips]
        bench.show(SECTION, "from the picture to the words", given, made)
    return {"weights_of_text": list(WEIGHTS), **curves, "n": len(numbers)}


def _make(bench: Bench, purpose: str, prompts: dict[Modality, list[Any]]) -> list[Image.Image]:
    made = bench.make(purpose, prompts, [Modality.IMAGE])[Modality.IMAGE]
    for number, picture in enumerate(made[:EXAMPLES]):
        given = [(modality, items[number]) for modality, items in prompts.items()]
        bench.show(SECTION, purpose, given, [(Modality.IMAGE, picture)])
    return made


def _make_and_score(
    bench: Bench, purpose: str, prompts: dict[Modality, list[Any]], concepts: Sequence[str], styles: Sequence[str]
) -> dict[str, Any]:
    if not concepts:
        return {name: share([]) for name in ("concept_top1", "concept_top5", "style", "both")}
    opinion = judge_images(bench.judges, _make(bench, purpose, prompts))
    labels, drawn = known_concepts(bench.judges, Modality.IMAGE), known_styles(bench.judges)
    first = in_top(opinion.concept_logits, labels, concepts, 1)
    styled = [
        style_family(drawn[place]) == style_family(want)
        for place, want in zip(opinion.style_logits.argmax(1).tolist(), styles)
    ]
    return {
        "concept_top1": share(first),
        "concept_top5": share(in_top(opinion.concept_logits, labels, concepts, 5)),
        "style": share(styled),
        "both": share(a and b for a, b in zip(first, styled)),
    }
