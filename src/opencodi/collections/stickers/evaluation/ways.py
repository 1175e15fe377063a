"""How often the right thing comes out, for one way from input to output."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ....evaluation.accuracy import in_top
from ....evaluation.distances import frechet_distance
from ....media import Media
from ....modality import Modality
from ..captions import article
from .bench import Bench
from .collection import KIND_OF
from .judging import judge, known_concepts

REAL = 512
CAPTION: dict[Modality, Callable[[str], str]] = {
    Modality.AUDIO: lambda name: f"the sound of {article(name)}",
    Modality.VIDEO: lambda name: f"{article(name)}, moving",
}


def share_right(bench: Bench, way: str, count: int, **options: Any) -> dict[str, Any]:
    """``{"share", "n"}`` of the inputs whose concept comes out; the arguments are those of ``make_way``."""
    right = make_way(bench, way, count, **options)[1]
    return {"share": float(np.mean(right)) if right else None, "n": len(right)}


def make_way(
    bench: Bench, way: str, count: int, repeated: bool = False, **options: Any
) -> tuple[list[Media], list[bool]]:
    """What is made of inputs, and whether each is right: the judge's first choice is its concept, a text exactly its name.

    Args:
        bench: the model, the judges, the items.
        way: such as ``image-text``. Texts are names in a caption that suits the output; other inputs are validation items.
        count: at most so many inputs.
        repeated: take inputs again, with other noise, until there are so many.
        **options: of the pipeline.
    """
    source, output = map(Modality, way.split("-"))
    known = set(bench.collection.concepts if output == Modality.TEXT else known_concepts(bench.judges, output))
    if source == Modality.TEXT:
        chosen = _some(bench, sorted(known & set(bench.collection.concepts)), count, repeated)
        wanted, caption = chosen, CAPTION.get(output, article)
        inputs = [caption(bench.collection.name(code)) for code in wanted]
    else:
        kind, records = KIND_OF[source], bench.collection.records[KIND_OF[source]]
        numbers = [n for n in bench.collection.validation(kind) if records[n]["concept"] in known]
        chosen = _some(bench, numbers, count, repeated)
        wanted, inputs = [records[n]["concept"] for n in chosen], bench.collection.media(kind, chosen)
    made = bench.make("ways", {source: inputs}, [output], **options)[output]
    if output == Modality.TEXT:
        return made, [said == bench.collection.name(code) for said, code in zip(made, wanted)]
    logits = judge(bench.judges, output, made).concept_logits
    return made, list(in_top(logits, known_concepts(bench.judges, output), wanted, 1))


def distance_to_real(bench: Bench, output: Modality, made: list[Media]) -> float | None:
    """Fréchet distance, in the judge's features, of what was made to real training items."""
    kind = KIND_OF[output]
    real = bench.collection.media(kind, bench.collection.training(kind, REAL, bench.rng("real")))
    return frechet_distance(*(judge(bench.judges, output, items).features for items in (made, real)))


def _some(bench: Bench, items: list[Any], count: int, repeated: bool) -> list[Any]:
    order = bench.rng("ways").permutation(len(items))
    return [items[order[place % len(order)]] for place in range(count if repeated else min(count, len(order)))]
