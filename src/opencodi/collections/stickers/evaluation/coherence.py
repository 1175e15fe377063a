"""Joint coherence: do outputs made together from a vague prompt show the same thing, and more often than by chance?"""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import torch

from ....evaluation.agreement import agreement, expected_agreement
from ....media import Media
from ....modality import Modality
from .bench import Bench
from .collection import KIND_OF
from .judging import best_concepts, judge, known_concepts

VAGUE = ("an animal", None, "a vehicle", "a musical instrument")
"""Prompts that leave open what is shown; None is no prompt at all."""

TRAINED = ({Modality.TEXT, Modality.IMAGE}, {Modality.TEXT, Modality.AUDIO}, {Modality.VIDEO, Modality.AUDIO})
"""The pairs that alignment is trained on (paper §3.4); all other sets are compositions of them."""

LEVELS = ("concept", "heard", "subgroup")
"""What counts as the same, from strict to lenient, see ``measure``."""

EXAMPLES = 2


def output_sets() -> list[tuple[Modality, ...]]:
    """Every pair and triple of outputs."""
    return [chosen for size in (2, 3) for chosen in combinations(Modality, size)]


def kind_of_set(outputs: Sequence[Modality]) -> str:
    """``trained pair``, ``never-trained pair`` or ``triple``."""
    if len(outputs) > 2:
        return "triple"
    return "trained pair" if set(outputs) in TRAINED else "never-trained pair"


def measure(bench: Bench) -> dict[str, Any]:
    """Agreement of every pair and triple, joint and independent: by concept, by what can be heard, and by subgroup.

    By what can be heard (``heard``), concepts that have the same recordings count as one (``Collection.heard_alike``) where a
    sound is among the outputs. Many concepts of a subgroup are kin.

    Joint and independent samples start from the same noise. They differ in whatever makes outputs agree: the exchange between
    denoisers, and the extras that the model is used with (``extras.py`` tells them apart). The ceiling is the
    chance that the judges are all right about real validation items that show the same.

    Returns:
        ``{"sets": {"text+image": {"kind", "concept": {"joint", "independent", "ceiling", "n"}, "heard": {…}, "subgroup": {…}}},
        "kinds": {"trained pair": …}, "prompts": […]}``; n counts joint samples over all prompts.
    """
    prompts = VAGUE[: bench.budget.vague_prompts]
    sets = output_sets()
    together = sum(bench.budget.coherence[Modality.VIDEO in outputs] for outputs in sets)
    alone = {modality: bench.budget.coherence[modality == Modality.VIDEO] for modality in Modality}
    bench.progress.begin("joint coherence", len(prompts) * (together + sum(alone.values())))
    tallies: dict[str, list[dict[str, Any]]] = {"+".join(outputs): [] for outputs in sets}
    opinions = {modality: _opinion_of_real(bench, modality, kind) for modality, kind in KIND_OF.items()}
    ceilings = {outputs: _ceiling(bench, outputs, opinions) for outputs in sets}
    for prompt in prompts:
        purpose = f"coherence {prompt}"
        separate = {m: _make(bench, purpose, prompt, [m], alone[m])[m] for m in Modality}
        for outputs in sets:
            count = bench.budget.coherence[Modality.VIDEO in outputs]
            joint = _make(bench, purpose, prompt, outputs, count)
            tally = _tally(bench, outputs, joint, {m: separate[m] for m in outputs})
            tallies["+".join(outputs)].append(tally | {"ceiling": ceilings[outputs]})
            for place in range(min(EXAMPLES, count)):
                given = [(Modality.TEXT, prompt)] if prompt else []
                made = [(modality, joint[modality][place]) for modality in outputs]
                bench.show("coherence", f"together: {', '.join(outputs)}", given, made)

    found: dict[str, Any] = {}
    for outputs in sets:
        found["+".join(outputs)] = {"kind": kind_of_set(outputs), **_pool(tallies["+".join(outputs)])}
    kinds: dict[str, Any] = {}
    for kind in dict.fromkeys(map(kind_of_set, sets)):
        members = [tally for outputs in sets if kind_of_set(outputs) == kind for tally in tallies["+".join(outputs)]]
        kinds[kind] = _pool(members)
    return {"sets": found, "kinds": kinds, "prompts": [prompt or "" for prompt in prompts]}


def _make(
    bench: Bench, purpose: str, prompt: str | None, outputs: Sequence[Modality], count: int
) -> dict[Modality, list[Media]]:
    given = {Modality.TEXT: [prompt] * count} if prompt else {}
    return bench.make(purpose, given, outputs, count)


def _tally(bench: Bench, outputs: Sequence[Modality], joint: Any, separate: Any) -> dict[str, Any]:
    """``{"concept": {"agree", "chance"}, "heard": …, "subgroup": …, "n"}`` of one prompt."""
    labels = {"joint": concepts_shown(bench, outputs, joint), "independent": concepts_shown(bench, outputs, separate)}
    found: dict[str, Any] = {}
    for level, name in levels_of(bench, outputs).items():
        columns = {
            how: [[None if code is None else name(code) for code in column] for column in lists]
            for how, lists in labels.items()
        }
        agree, count = agreement(columns["joint"])
        found[level] = {"agree": agree, "chance": expected_agreement(columns["independent"])}
    return found | {"n": count}


def levels_of(bench: Bench, outputs: Sequence[Modality]) -> dict[str, Callable[[str], str]]:
    """{level: what a concept counts as}, from strict to lenient."""
    concepts = bench.collection.concepts
    alike = bench.collection.heard_alike() if Modality.AUDIO in outputs else {}
    names = (lambda code: code, lambda code: alike.get(code, code), lambda code: concepts[code]["subgroup"])
    return dict(zip(LEVELS, names))


def concepts_shown(
    bench: Bench, outputs: Sequence[Modality], made: dict[Modality, list[Media]]
) -> list[list[str | None]]:
    """The concept of every output, of those that all of its judges know: one list per output."""
    every = bench.collection.concepts
    common = [code for code in every if all(code in known for known in _vocabularies(bench, outputs))]
    codes = {record["name"].lower(): code for code, record in every.items()}
    return [
        [codes.get(text.strip().lower()) for text in made[modality]]
        if modality == Modality.TEXT
        else best_concepts(bench.judges, modality, made[modality], among=common)
        for modality in outputs
    ]


def _opinion_of_real(bench: Bench, modality: Modality, kind: str) -> tuple[torch.Tensor, list[str]]:
    """What a judge says of real validation items: concept logits [B, C], and the concept of each."""
    numbers = bench.collection.validation(kind)
    if not numbers:
        return torch.zeros(0, len(known_concepts(bench.judges, modality))), []
    logits = judge(bench.judges, modality, bench.collection.media(kind, numbers)).concept_logits
    return logits, [bench.collection.records[kind][number]["concept"] for number in numbers]


def _ceiling(bench: Bench, outputs: Sequence[Modality], opinions: dict[Modality, Any]) -> dict[str, float | None]:
    """{level: the product of the judges' accuracies} among the concepts that all judges of these outputs know."""
    every = bench.collection.concepts
    common = set(every).intersection(*_vocabularies(bench, outputs))
    levels = levels_of(bench, outputs)
    chances = dict.fromkeys(levels, 1.0)
    for modality in (output for output in outputs if output != Modality.TEXT):
        (logits, wanted), labels = opinions[modality], known_concepts(bench.judges, modality)
        rows = [row for row, code in enumerate(wanted) if code in common]
        if not rows:
            return dict.fromkeys(chances)
        strangers = torch.tensor([label not in common for label in labels])
        said = logits[rows].masked_fill(strangers, -torch.inf).argmax(1).tolist()
        pairs = [(labels[best], wanted[row]) for best, row in zip(said, rows)]
        for level, name in levels.items():
            chances[level] *= sum(name(a) == name(b) for a, b in pairs) / len(pairs)
    return chances


def _vocabularies(bench: Bench, outputs: Sequence[Modality]) -> list[set[str]]:
    return [set(known_concepts(bench.judges, modality)) for modality in outputs if modality != Modality.TEXT]


def _pool(tallies: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Tallies of several prompts (or sets), weighted by their samples."""
    total = sum(tally["n"] for tally in tallies)

    def ceiling(level: str) -> float | None:
        known = [(tally["ceiling"][level], tally["n"]) for tally in tallies if tally["ceiling"][level] is not None]
        return sum(share * n for share, n in known) / sum(n for _, n in known) if known else None

    return {
        level: {
            "joint": sum(tally[level]["agree"] for tally in tallies) / total if total else None,
            "independent": sum(t[level]["chance"] * t["n"] for t in tallies) / total if total else None,
            "ceiling": ceiling(level),
            "n": total,
        }
        for level in LEVELS
    }
