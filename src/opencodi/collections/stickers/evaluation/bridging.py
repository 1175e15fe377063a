"""Bridging: do items of one concept find each other in the shared space, also where training never paired them?"""

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import torch

from ....evaluation.retrieval import recall
from ....modality import Modality
from ..captions import article
from .bench import Bench
from .collection import KIND_OF, KINDS, Place

SPEECH = "speech"
SOUND = KIND_OF[Modality.AUDIO]
TEXT = str(Modality.TEXT)

SAYS: dict[str, Callable[[str], str]] = {
    SOUND: lambda name: f"the sound of {article(name)}",
    SPEECH: lambda name: f"the word {name}",
}
"""What a text is, when it looks for a kind or is looked for by it; for the others it is the plain name."""


def measure(bench: Bench) -> dict[str, Any]:
    """Recall for every ordered pair of kinds.

    Queries are validation items (all names, if text asks); a gallery holds one item per concept, a validation item
    wherever there is one, so that galleries are the same for all who ask.

    Returns:
        ``{"image → sound": {"R@1", "R@5", "chance@1", "chance@5", "n", "gallery", "trained"}}``; ``trained`` says
        whether the pair was trained (text with anything) or is bridged.
    """
    kinds = [TEXT, *KINDS]
    bench.progress.begin("bridging", len(KINDS) + len(kinds) * (len(kinds) - 1))
    queries: dict[str, tuple[list[str], torch.Tensor]] = {}
    galleries: dict[str, tuple[list[str], torch.Tensor]] = {}
    for kind in KINDS:
        rng = bench.rng(f"bridging {kind}")
        one = bench.collection.one_per_concept(kind, rng)
        # Validation items first, so that those who ask find their own kind of thing there
        codes = sorted(one, key=lambda code: not one[code].held_out)[: bench.budget.gallery]
        galleries[kind] = codes, _embed(bench, [one[code] for code in codes])
        held = [Place(kind, number, True) for number in bench.collection.validation(kind, bench.budget.gallery, rng)]
        concepts = [bench.collection.records[kind][place.number]["concept"] for place in held]
        queries[kind] = concepts, _embed(bench, held)
        bench.progress.advance(1)

    found = {}
    for asks, answers in permutations(kinds, 2):
        if asks == TEXT:
            groups, gallery = galleries[answers]
            texts = _embed_names(bench, groups, answers)
            result = recall(texts, gallery, groups, groups)
        elif answers == TEXT:
            codes = _text_codes(bench, queries[asks][0])
            result = recall(queries[asks][1], _embed_names(bench, codes, asks), queries[asks][0], codes)
        else:
            result = recall(queries[asks][1], galleries[answers][1], queries[asks][0], galleries[answers][0])
        found[f"{asks} → {answers}"] = result | {"trained": TEXT in (asks, answers)}
        bench.progress.advance(1)
    return found


def _text_codes(bench: Bench, asked: Sequence[str]) -> list[str]:
    """The concepts in a gallery of names: those asked for, and others up to the size of a gallery."""
    needed = [code for code in dict.fromkeys(asked) if code in bench.collection.concepts]
    others = [code for code in bench.collection.concepts if code not in set(needed)]
    extra = max(0, bench.budget.gallery - len(needed))
    return needed + [others[place] for place in bench.rng("gallery of names").permutation(len(others))[:extra]]


def _embed_names(bench: Bench, codes: Sequence[str], kind: str) -> torch.Tensor:
    say = SAYS.get(kind, str)
    return _tokens(bench, Modality.TEXT, [say(bench.collection.name(code)) for code in codes])


def _embed(bench: Bench, places: Sequence[Place]) -> torch.Tensor:
    modality = KINDS[places[0].kind].modality
    return _tokens(bench, modality, bench.collection.read(places))


def _tokens(bench: Bench, modality: Modality, media: Sequence[Any], chunk: int = 32) -> torch.Tensor:
    """Embeddings [N, D] in the shared space."""
    encoder = bench.pipeline.prompt_encoders[modality]
    parts = [encoder.encode(list(media[start : start + chunk])).tokens[:, 0] for start in range(0, len(media), chunk)]
    return torch.cat(parts).float().cpu()
