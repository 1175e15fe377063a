"""How often the judges are right about real validation items: what a perfect model would score."""

from typing import Any

from ....evaluation.accuracy import in_top
from ....evaluation.share import share, share_by_group
from ....modality import Modality
from ..splits import style_family
from .bench import Bench
from .collection import KIND_OF
from .judging import judge, known_concepts, known_styles

TOP = (1, 5)


def measure(bench: Bench) -> dict[str, Any]:
    """Accuracy of every judge on validation items, of concepts it knows; each concept counts the same, as it does where outputs
    are judged.

    Returns:
        ``{"image": {"top1": {"share", "n", "groups": concepts}, "top5": …, "style": …}, "video": …, "audio": …, "speech":
        {"top1": …}}``.
        ``style`` counts style families, and ``top1_by_style`` is the accuracy within each. Text says its concept itself,
        so its ceiling is 1.
    """
    bench.progress.begin("the judges on real items", len(KIND_OF) + 1)
    found: dict[str, Any] = {str(Modality.TEXT): {f"top{k}": {"share": 1.0, "n": None} for k in TOP}}
    for modality, kind in KIND_OF.items():
        found[modality] = _accuracy(bench, modality, kind)
        bench.progress.advance(1)
    found["speech"] = spoken_accuracy(bench)
    bench.progress.advance(1)
    return found


def _accuracy(bench: Bench, modality: Modality, kind: str) -> dict[str, Any]:
    labels = known_concepts(bench.judges, modality)
    known = set(labels)
    records = bench.collection.records[kind]
    numbers = [n for n in bench.collection.validation(kind) if records[n]["concept"] in known]
    if not numbers:
        return {f"top{k}": share([]) for k in TOP}
    opinion = judge(bench.judges, modality, bench.collection.media(kind, numbers))
    wanted = [records[n]["concept"] for n in numbers]
    found: dict[str, Any] = {
        f"top{k}": share_by_group(in_top(opinion.concept_logits, labels, wanted, k), wanted) for k in TOP
    }
    if opinion.style_logits is not None:
        styles = known_styles(bench.judges)
        seen = [styles[place] for place in opinion.style_logits.argmax(1).tolist()]
        drawn = [records[n]["style"] for n in numbers]
        found["style"] = share(style_family(a) == style_family(b) for a, b in zip(seen, drawn))
        right = in_top(opinion.concept_logits, labels, wanted, 1)
        families = [style_family(style) for style in drawn]
        found["top1_by_style"] = {
            family: share(hit for hit, own in zip(right, families) if own == family) for family in sorted(set(families))
        }
    return found


def spoken_accuracy(bench: Bench) -> dict[str, Any]:
    """Share of spoken validation names that the word judge recognises; nothing without one."""
    if bench.judges.words is None:
        return {"top1": share([])}
    names, records = set(bench.judges.words.names), bench.collection.records["speech"]
    said = [n for n in bench.collection.validation("speech") if records[n]["text"] in names]
    rng = bench.rng("spoken ceiling")
    numbers = [said[place] for place in sorted(rng.permutation(len(said))[: bench.budget.spoken])]
    sounds = bench.collection.media("speech", numbers)
    return {"top1": share(bench.judges.words.recognise(s) == records[n]["text"] for s, n in zip(sounds, numbers))}
