"""A whole evaluation: every measure in turn, then ``results.json`` and ``report.html``."""

import dataclasses
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from .... import __version__
from . import (
    any_to_any,
    bridging,
    ceiling,
    coherence,
    composition,
    distances,
    extras,
    motions,
    synchrony,
    timing,
    variety,
    wording,
)
from .bench import Bench
from .report import render

RESULTS, REPORT = "results.json", "report.html"

MEASURES = {
    "wording": wording.measure,
    "composition": composition.measure,
    "bridging": bridging.measure,
    "coherence": coherence.measure,
    "extras": extras.measure,
    "motions": motions.measure,
    "synchrony": synchrony.measure,
    "distances": distances.measure,
    "variety": variety.measure,
    "timing": timing.measure,
}
"""What follows the ceilings and the any-to-any table, which distances and variety look back at."""


def evaluate(bench: Bench, model: str) -> dict[str, Any]:
    """Run every measure.

    Args:
        bench: the model, the judges, the items, the budget.
        model: what the model is called in the results.

    Returns:
        ``{"about": …, "ceilings": …, "any_to_any": …, …}``: plain numbers, strings, lists and dictionaries. The
        examples for the report are left in ``bench.shown``.
    """
    results: dict[str, Any] = {"about": about(bench, model)}
    seconds: dict[str, float] = {}

    def timed(name: str, action: Any, *arguments: Any) -> None:
        started = perf_counter()
        results[name] = action(*arguments)
        seconds[name] = round(perf_counter() - started, 1)

    timed("ceilings", ceiling.measure, bench)
    timed("any_to_any", any_to_any.measure, bench, results["ceilings"])
    for name, measure in MEASURES.items():
        timed(name, measure, bench)
    results["about"]["seconds"] = seconds
    return results


def about(bench: Bench, model: str) -> dict[str, Any]:
    """What was evaluated, and how."""
    return {
        "model": model,
        "opencodi": __version__,
        "torch": torch.__version__,
        "seed": bench.seed,
        **bench.pipeline.defaults,
        "extras": list(bench.pipeline.config.extras),
        "device": str(bench.pipeline.device),
        "validation_items": {kind: len(numbers) for kind, numbers in bench.collection.held_out.items()},
        "budget": dataclasses.asdict(bench.budget),
    }


def write(results: dict[str, Any], bench: Bench, folder: Path) -> None:
    """Write both files into ``folder``, where they then have to be moved from (see ``cli.common.staged``)."""
    text = json.dumps(rounded(results), indent=1, ensure_ascii=False)
    (folder / RESULTS).write_text(text + "\n", encoding="utf-8")
    (folder / REPORT).write_text(render(results, bench.shown), encoding="utf-8")


def rounded(value: Any) -> Any:
    """Floats to five significant digits, keys to strings, throughout."""
    if isinstance(value, dict):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
