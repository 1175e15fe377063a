"""What each extra buys: the core alone, its trained adapters, and each extra added to or taken from the model.

    python benchmarks/extras.py stickers --output docs/results/extras.json

prints a Markdown table. The columns are ways from one input to one output (the share that a judge names rightly), then
sets of outputs made from vague prompts (the share in which all outputs show the same; ``ti`` is text and image). The row
``partners swapped`` is the control: each sample sees what another sample of the batch exchanges.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from ways import share_right

from opencodi import AnyToAnyPipeline
from opencodi.collections.stickers.evaluation.bench import Bench
from opencodi.collections.stickers.evaluation.budget import FULL
from opencodi.collections.stickers.evaluation.coherence import VAGUE, agreement, concepts_shown
from opencodi.collections.stickers.evaluation.collection import Collection
from opencodi.collections.stickers.judges.networks import load_judges
from opencodi.modality import MODALITIES

WAYS = ("text-text", "text-image", "text-audio", "image-text", "image-image", "audio-image")
SETS = ("ti", "ta", "ia", "tia")
ADAPTERS = ("manner_embedding", "prompt_map", "motion_map", "environment_map")
"""Adapters that the denoisers were trained with: without them they see less than they learned from."""

IN_TURN = ("in_turn", "rereading", "text_bridge", "anchored_exchange")
INITIALS = {name[0]: name for name in MODALITIES}


def variants(used: list[str]) -> dict[str, list[str]]:
    """Row → names of extras, for a model that is used with these."""
    adapters = [name for name in used if name in ADAPTERS]
    others = [name for name in used if name not in ADAPTERS]
    rows = {"core alone": [], "core, trained adapters": adapters}
    needs = {"manner_decision": ["manner"], "unnamed_style": ["manner"], "motion_renderer": ["manner", "manner_decision"]}
    needs |= {"rereading": ["in_turn"], "text_bridge": ["in_turn", "rereading"], "anchored_exchange": ["in_turn"]}
    needs |= {"audible_names": ["prompt_anchors", "proofreading"]}
    for name in others:
        rows[f"+ {name}"] = [*adapters, *needs.get(name, []), name]
    rows["all of the model"] = used
    rows["all, in turn instead of summed evidence"] = [name for name in used if name != "summed_evidence"]
    rows["all, partners swapped"] = [*used, "swapped_partners"]
    return rows


def share_agreeing(bench: Bench, initials: str, count: int) -> float:
    """Share of ``count`` samples of each vague prompt in which all outputs show the same concept."""
    outputs = [INITIALS[initial] for initial in initials]
    agreed = total = 0
    for prompt in VAGUE:
        made = bench.make(f"extras {prompt}", {"text": [prompt] * count} if prompt else {}, outputs, count)
        found, samples = agreement(concepts_shown(bench, outputs, made))
        agreed, total = agreed + found, total + samples
    return agreed / total


def main() -> None:
    """Read the arguments, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--output", type=Path, help="a JSON file for all numbers; rows that it holds are kept")
    parser.add_argument("--count", type=int, default=48, help="inputs of each way")
    parser.add_argument("--vague", type=int, default=12, help="samples of each vague prompt")
    parser.add_argument("--ways", nargs="*", default=WAYS)
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--rows", nargs="*", help="only these rows")
    arguments = parser.parse_args()

    pipeline = AnyToAnyPipeline.from_pretrained(arguments.model)
    pipeline.set_progress_bar_config(disable=True)
    bench = Bench(pipeline, load_judges(), Collection.open(), FULL)
    settings = {name: dict(each) for name, each in pipeline.config.extras.items()}
    known = arguments.output is not None and arguments.output.is_file()
    found: dict[str, Any] = json.loads(arguments.output.read_text()) if known else {"model": arguments.model, "rows": {}}
    print(f"| extras | {' | '.join((*arguments.ways, *arguments.sets))} |")
    print(f"|---|{'---|' * (len(arguments.ways) + len(arguments.sets))}", flush=True)
    for row, names in variants(list(settings)).items():
        if arguments.rows and row not in arguments.rows:
            continue
        pipeline.register_to_config(extras={name: settings.get(name, {}) for name in names})
        scores = {way: share_right(bench, way, arguments.count) for way in arguments.ways}
        scores |= {initials: share_agreeing(bench, initials, arguments.vague) for initials in arguments.sets}
        found["rows"].setdefault(row, {}).update(scores)
        print(f"| {row} | {' | '.join(f'{score:.0%}' for score in scores.values())} |", flush=True)
        if arguments.output:
            arguments.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
