"""How should outputs that are made together exchange? Joint coherence by order, lag, guidance and how finished ones count.

    python benchmarks/choose_exchange.py stickers --output docs/results/exchange.json

prints a Markdown table: the share of samples of vague prompts in which all outputs show the same concept, as in
``opencodi evaluate`` (section coherence). Orders are the initials of modalities: ``avit`` is audio, video, image, text.
The columns: the weight with which a finished output counts as an input (``exchange_weight``; 0: it is only attended to), and
whether its prompt encoder reads it (``reread_outputs``) or its denoiser's environment encoder, and whether a text is made where
none is asked for (``bridge_text``).
"""

import argparse
import json
from itertools import product
from pathlib import Path
from typing import Any

from opencodi import AnyToAnyPipeline
from opencodi.collections.stickers.evaluation.bench import Bench
from opencodi.collections.stickers.evaluation.budget import FULL
from opencodi.collections.stickers.evaluation.coherence import LEVELS, VAGUE, agreement, concepts_shown, levels_of
from opencodi.collections.stickers.evaluation.collection import Collection
from opencodi.collections.stickers.judges.networks import load_judges
from opencodi.modality import Modality

INITIALS = {modality.value[0]: modality for modality in Modality}
SETS = ("ti", "ta", "ia", "tia")


def named(initials: str) -> list[Modality]:
    """``ia`` → image and audio."""
    return [INITIALS[initial] for initial in initials]


def share_together(bench: Bench, outputs: list[Modality], count: int, level: str = "concept") -> float:
    """Share of ``count`` samples of each vague prompt in which all outputs show the same, by a level of coherence."""
    agreed, total, name = 0, 0, levels_of(bench, outputs)[level]
    for prompt in VAGUE:
        given = {Modality.TEXT: [prompt] * count} if prompt else {}
        made = bench.make(f"exchange {prompt}", given, outputs, count)
        shown = [[code and name(code) for code in column] for column in concepts_shown(bench, outputs, made)]
        found, samples = agreement(shown)
        agreed, total = agreed + found, total + samples
    return agreed / total


def main() -> None:
    """Read the arguments, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--output", type=Path, help="a JSON file for all numbers")
    parser.add_argument("--count", type=int, default=16, help="samples of each vague prompt")
    parser.add_argument("--lags", type=float, nargs="+", default=(0.0, 1.0))
    parser.add_argument("--orders", nargs="+", default=("avit", "tiva"))
    parser.add_argument("--guide", type=int, nargs="+", default=(1,), help="1: guidance leads towards the others, too")
    parser.add_argument("--weights", type=float, nargs="+", default=(2.0,), help="of finished outputs as inputs")
    parser.add_argument("--reread", type=int, nargs="+", default=(1,), help="1: finished outputs are decoded and read")
    parser.add_argument(
        "--bridge", type=int, nargs="+", default=(1,), help="1: a text is made though nobody asked for it"
    )
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--level", choices=LEVELS, default="concept", help="what counts as the same")
    parser.add_argument("--judges", type=Path, help="a folder of judges other than those of the package")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    pipeline = AnyToAnyPipeline.from_pretrained(arguments.model)
    pipeline.set_progress_bar_config(disable=True)
    bench = Bench(pipeline, load_judges(arguments.judges), Collection.open(), FULL, arguments.seed)
    rows: list[dict[str, Any]] = []
    titles = ["order", "lag", "guide", "weight", "reread", "bridge", *arguments.sets]
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    for order, lag, *rest in product(
        arguments.orders, arguments.lags, arguments.guide, arguments.weights, arguments.reread, arguments.bridge
    ):
        if lag == 0 and order != arguments.orders[0]:
            continue  # all begin at once
        guide, weight, reread, bridge = rest
        pipeline.register_to_config(
            exchange_order=named(order),
            exchange_lag=lag,
            guide_exchange=bool(guide),
            exchange_weight=weight,
            reread_outputs=bool(reread),
            bridge_text=bool(bridge),
        )
        shares = {
            initials: share_together(bench, named(initials), arguments.count, arguments.level)
            for initials in arguments.sets
        }
        settings = {"order": order, "lag": lag, "guide": bool(guide), "weight": weight, "reread": bool(reread)}
        settings["bridge"] = bool(bridge)
        rows.append({**settings, **shares})
        cells = [
            order,
            *(f"{value:g}" for value in (lag, guide, weight, reread, bridge)),
            *(f"{s:.0%}" for s in shares.values()),
        ]
        print(f"| {' | '.join(cells)} |", flush=True)
    if arguments.output:
        arguments.output.write_text(
            json.dumps({"model": arguments.model, "rows": rows}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
