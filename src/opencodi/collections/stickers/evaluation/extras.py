"""What each extra buys: the core alone, the core with its trained adapters, and each extra added to it, side by side."""

from collections.abc import Sequence
from typing import Any

from ....modality import Modality
from .bench import Bench
from .coherence import VAGUE, agreement, concepts_shown
from .ways import share_right

WAYS = ("text-text", "text-image", "text-audio", "image-text", "image-image", "audio-image")
"""From one input to one output."""

SETS = (
    (Modality.TEXT, Modality.IMAGE),
    (Modality.TEXT, Modality.AUDIO),
    (Modality.IMAGE, Modality.AUDIO),
    (Modality.TEXT, Modality.IMAGE, Modality.AUDIO),
)
"""Outputs made together from vague prompts."""

ADAPTERS = ("manner_embedding", "prompt_map", "motion_map", "environment_map")
"""Extras that denoisers were trained with: without them they see less than they learned from."""

FOR_CLIPS = ("motion_renderer",)
"""Extras that change clips alone. No column here is about clips, which cost as much as all else; see ``motions``."""

NEEDS = {
    "manner_decision": ("manner",),
    "unnamed_style": ("manner",),
    "rereading": ("in_turn",),
    "text_bridge": ("in_turn", "rereading"),
    "anchored_exchange": ("in_turn",),
    "audible_names": ("prompt_anchors", "proofreading"),
}
"""What an extra does nothing without."""


def variants(used: Sequence[str]) -> dict[str, list[str]]:
    """Row of the table → names of extras, for a model that is used with these."""
    rows: dict[str, list[str]] = {"core alone": []}
    adapters = [name for name in used if name in ADAPTERS]
    if adapters:
        rows["core, trained adapters"] = adapters
    for name in used:
        if name not in (*ADAPTERS, *FOR_CLIPS):
            rows[f"+ {name}"] = [*adapters, *NEEDS.get(name, ()), name]
    if used:
        rows["all of the model"] = list(used)
        rows["all, partners swapped"] = [*used, "swapped_partners"]
    if "summed_evidence" in used:
        rows["all, in turn instead of summed evidence"] = [name for name in used if name != "summed_evidence"]
    return rows


def measure(bench: Bench) -> dict[str, Any]:
    """Every row of ``variants`` on every way and set.

    A way counts the inputs whose concept comes out, a set the samples of vague prompts in which all outputs show the same.
    In the row ``all, partners swapped``, the control, each sample sees what another sample of the batch exchanges.

    Returns:
        ``{"columns": […], "rows": {row: {column: {"share", "n"}}}}``.
    """
    rows, prompts = variants(list(bench.pipeline.config.extras)), VAGUE[: bench.budget.vague_prompts]
    each = len(WAYS) * bench.budget.ways + len(SETS) * len(prompts) * bench.budget.vague_samples
    bench.progress.begin("extras", len(rows) * each)
    found: dict[str, Any] = {}
    for row, extras in rows.items():
        found[row] = {way: share_right(bench, way, bench.budget.ways, extras=extras) for way in WAYS}
        found[row] |= {"+".join(outputs): _share_agreeing(bench, outputs, prompts, extras) for outputs in SETS}
    return {"columns": list(found["core alone"]), "rows": found}


def _share_agreeing(
    bench: Bench, outputs: Sequence[Modality], prompts: Sequence[str | None], extras: Sequence[str]
) -> dict[str, Any]:
    count, agreed, total = bench.budget.vague_samples, 0, 0
    for prompt in prompts:
        given = {Modality.TEXT: [prompt] * count} if prompt else {}
        made = bench.make(f"extras {prompt}", given, outputs, count, extras=extras)
        found, samples = agreement(concepts_shown(bench, outputs, made))
        agreed, total = agreed + found, total + samples
    return {"share": agreed / total if total else None, "n": total}
