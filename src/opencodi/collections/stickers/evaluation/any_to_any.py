"""The any-to-any table: does what comes out show the concept of what went in, for every input set and output?"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch

from ....evaluation.accuracy import in_top
from ....evaluation.share import mean, ratio, share
from ....media import Media, Video
from ....modality import Modality
from ..captions import article
from .bench import Bench
from .ceiling import TOP
from .collection import KIND_OF, Place
from .judging import judge, known_concepts

CAPTION = {
    Modality.TEXT: article,
    Modality.IMAGE: article,
    Modality.VIDEO: lambda name: f"{article(name)}, moving",
    Modality.AUDIO: lambda name: f"the sound of {article(name)}",
}
"""What a text input says, by the output that is asked for."""

SPEECH = "speech"
EXAMPLES = 2
ENOUGH = 8
"""Validation items, each of another concept, from which on no training items are asked with beside them."""


def input_sets() -> list[tuple[Modality, ...]]:
    """The fifteen sets of inputs, small ones first."""
    return [chosen for size in range(1, len(Modality) + 1) for chosen in combinations(Modality, size)]


@dataclass(frozen=True)
class Case:
    """One prompt: a concept, and where its inputs that are no text come from."""

    concept: str
    places: tuple[Place, ...]

    @property
    def held_out(self) -> bool:
        """Whether every input that is no text is a validation item."""
        return all(place.held_out for place in self.places)


def choose_cases(
    available: dict[str, dict[str, Place]],
    kinds: Sequence[str],
    allowed: Sequence[str],
    count: int,
    rng: np.random.Generator,
) -> list[Case]:
    """Concepts that have all these kinds; those with most validation items first, equals in random order.

    Args:
        available: {kind: {concept: item}}.
        kinds: of the inputs that are no text.
        allowed: concepts the output's judge knows.
        count: at most so many.
        rng: orders equals.
    """
    concepts = [c for c in allowed if all(c in available[kind] for kind in kinds)]
    cases = [Case(c, tuple(available[kind][c] for kind in kinds)) for c in concepts]
    order = rng.permutation(len(cases))
    ranked = sorted(order, key=lambda place: -sum(each.held_out for each in cases[place].places))
    return [cases[place] for place in ranked[:count]]


def motion_energy(video: Video) -> float:
    """Mean absolute difference of successive frames, of a range of 1; 0 for a single frame."""
    if len(video.frames) < 2:
        return 0.0
    return float(np.abs(np.diff(video.frames.astype(np.float32) / 255, axis=0)).mean())


def measure(bench: Bench, ceilings: dict[str, Any]) -> dict[str, Any]:
    """Concept accuracy of every input set × output; what is made stays in ``bench.made``.

    Args:
        bench: model, judges and items.
        ceilings: what ``ceiling.measure`` found.

    Returns:
        ``{"text+image": {"audio": {"top1": {"share", "n"}, "top5": …, "ratio_top1": …, "held_out": …}}}``. Text has
        ``exact`` and ``cosine`` instead, video also ``motion_energy`` and ``motion_ratio``. A row ``speech`` is spoken
        names as input; ``text`` has a cell ``speech`` for spoken names as output.
    """
    rows: dict[str, tuple[bool, list[str]]] = {
        "+".join(chosen): (Modality.TEXT in chosen, [KIND_OF[m] for m in chosen if m in KIND_OF])
        for chosen in input_sets()
    }
    rows[SPEECH] = (False, [SPEECH])
    rng = bench.rng("any-to-any items")
    available = {kind: bench.collection.one_per_concept(kind, rng) for kind in (*KIND_OF.values(), SPEECH)}
    cells = {
        (row, output): _cases(bench, available, row, kinds, output, rng)
        for row, (_, kinds) in rows.items()
        for output in Modality
        if output != Modality.VIDEO or bench.budget.clips_from_all or row.count("+") in (0, len(Modality) - 1)
    }
    _read_all(bench, cells)
    bench.progress.begin("any to any", sum(map(len, cells.values())) + bench.budget.spoken_names)
    real_motion = _real_motion(bench)

    table: dict[str, Any] = {row: {} for row in rows}
    for (row, output), cases in cells.items():
        with_text, kinds = rows[row]
        prompts = _prompts(bench, cases, with_text, kinds, output)
        made = bench.make(f"{row} to {output}", prompts, [output])[output] if cases else []
        bench.made[output] += made
        scores = SCORE[output](bench, made, [case.concept for case in cases]) if made else {}
        for k in TOP:
            if f"top{k}" in scores:
                limit = limit_of(ceilings, with_text, kinds, output, k)
                scores[f"ratio_top{k}"] = ratio(scores[f"top{k}"]["share"], limit)
        if "motion_energy" in scores:
            scores["motion_ratio"] = ratio(scores["motion_energy"]["mean"], real_motion)
        table[row][output] = scores | {"held_out": share(case.held_out for case in cases if case.places)}
        for place, case in enumerate(cases[:EXAMPLES]):
            given = [(Modality(name), items[place]) for name, items in prompts.items()]
            name = bench.collection.name(case.concept)
            bench.show("any_to_any", f"{row} → {output}: {name}", given, [(output, made[place])])
    table[str(Modality.TEXT)][SPEECH] = spoken_names(bench, ceilings)
    return {"table": table, "real_motion_energy": real_motion}


def limit_of(
    ceilings: dict[str, Any], with_text: bool, kinds: Sequence[str], output: Modality, top: int
) -> float | None:
    """What a perfect model would score: how often the output's judge is right about real items.

    A text needs no judge, but what it names must first be read from the inputs: without a text among them, the limit is how
    often the best judge of such inputs is right about them.
    """
    if output != Modality.TEXT or with_text:
        return ceilings.get(output, {}).get(f"top{top}", {}).get("share")
    modality_of = {kind: modality for modality, kind in KIND_OF.items()} | {SPEECH: SPEECH}
    read = [ceilings.get(modality_of[kind], {}).get(f"top{top}", {}).get("share") for kind in kinds]
    return max((share for share in read if share is not None), default=None)


def score_judged(bench: Bench, modality: Modality, made: Sequence[Media], concepts: Sequence[str]) -> dict[str, Any]:
    """Share of outputs whose concept the judge finds first, and among its first five."""
    logits, labels = judge(bench.judges, modality, made).concept_logits, known_concepts(bench.judges, modality)
    return {f"top{k}": share(in_top(logits, labels, concepts, k)) for k in TOP}


def score_video(bench: Bench, made: Sequence[Video], concepts: Sequence[str]) -> dict[str, Any]:
    """The same over the mean of the frames, and how much moves."""
    return score_judged(bench, Modality.VIDEO, made, concepts) | {
        "motion_energy": mean(motion_energy(video) for video in made)
    }


def score_text(bench: Bench, made: Sequence[str], concepts: Sequence[str]) -> dict[str, Any]:
    """Share that is exactly the name (``exact``, and ``top1`` to compare with the others), share that is any concept's
    name, and the mean cosine of sentence embeddings to the true name."""
    names = [bench.collection.name(concept) for concept in concepts]
    every = {record["name"].lower() for record in bench.collection.concepts.values()}
    exact = share(text.strip().lower() == name.lower() for text, name in zip(made, names))
    encoder = bench.pipeline.text_prompt_encoder
    found = {"top1": exact, "exact": exact, "is_a_name": share(text.strip().lower() in every for text in made)}
    if encoder is not None and hasattr(encoder, "embed_sentences"):
        with torch.no_grad():
            a, b = (
                encoder.embed_sentences(**{k: v.to(encoder.device) for k, v in encoder.preprocess(words).items()})
                for words in (made, names)
            )
        found["cosine"] = mean((a * b).sum(1).tolist())
    return found


SCORE = {
    Modality.TEXT: score_text,
    Modality.IMAGE: lambda bench, made, concepts: score_judged(bench, Modality.IMAGE, made, concepts),
    Modality.VIDEO: score_video,
    Modality.AUDIO: lambda bench, made, concepts: score_judged(bench, Modality.AUDIO, made, concepts),
}


def spoken_names(bench: Bench, ceilings: dict[str, Any]) -> dict[str, Any]:
    """``the word X`` → sound: share in which the word judge recognises X, of names it knows."""
    if bench.judges.words is None:
        return {"top1": share([])}
    known = set(bench.judges.words.names)
    names = [record["name"] for record in bench.collection.concepts.values() if record["name"] in known]
    chosen = bench.rng("spoken names").permutation(len(names))[: bench.budget.spoken_names]
    names = [names[place] for place in chosen]
    if not names:
        return {"top1": share([])}
    prompts = {Modality.TEXT: [f"the word {name}" for name in names]}
    made = bench.make("spoken names", prompts, [Modality.AUDIO])[Modality.AUDIO]
    heard = [bench.judges.words.recognise(sound) for sound in made]
    for name, said, sound in list(zip(names, heard, made))[: 2 * EXAMPLES]:
        caption = f"spoken: heard as {said or 'nothing'}"
        bench.show("any_to_any", caption, [(Modality.TEXT, f"the word {name}")], [(Modality.AUDIO, sound)])
    right = share(said == name for said, name in zip(heard, names))
    return {"top1": right, "ratio_top1": ratio(right["share"], ceilings[SPEECH]["top1"]["share"])}


def _cases(
    bench: Bench,
    available: dict[str, dict[str, Place]],
    row: str,
    kinds: Sequence[str],
    output: Modality,
    rng: np.random.Generator,
) -> list[Case]:
    """Of a single input more cases than of several: validation items alone if there are enough, few of them repeatedly."""
    least = bench.budget.table[output]
    if "+" in row:
        return choose_cases(available, kinds, _allowed(bench, output), least, rng)
    most = least * bench.budget.single_inputs
    cases = choose_cases(available, kinds, _allowed(bench, output), most, rng)
    held_out = [case for case in cases if case.held_out]
    if not kinds or len(held_out) < min(ENOUGH, least):
        return cases[: max(least, len(held_out))]
    return held_out * -(-most // len(held_out))


def _allowed(bench: Bench, output: Modality) -> list[str]:
    """Concepts an output can be judged on."""
    every = bench.collection.concepts
    return list(every) if output == Modality.TEXT else [c for c in known_concepts(bench.judges, output) if c in every]


def _read_all(bench: Bench, cells: dict[Any, list[Case]]) -> None:
    bench.collection.read(list({place for cases in cells.values() for case in cases for place in case.places}))


def _prompts(
    bench: Bench, cases: Sequence[Case], with_text: bool, kinds: Sequence[str], output: Modality
) -> dict[Modality, list[Any]]:
    text = {Modality.TEXT: [CAPTION[output](bench.collection.name(case.concept)) for case in cases]}
    modality_of = {kind: modality for modality, kind in KIND_OF.items()} | {SPEECH: Modality.AUDIO}
    media = {
        modality_of[kind]: bench.collection.read([case.places[number] for case in cases])
        for number, kind in enumerate(kinds)
    }
    return {**(text if with_text else {}), **media}


def _real_motion(bench: Bench) -> float | None:
    kind = KIND_OF[Modality.VIDEO]
    return mean(map(motion_energy, bench.collection.media(kind, bench.collection.validation(kind))))["mean"]
