"""How far should prompts that are no text be drawn towards texts? Scores of validation items as inputs, by the judges.

    python benchmarks/choose_anchors.py stickers --output docs/results/anchors.json

prints Markdown tables: share and scale of ``PromptAnchors`` (share 0: none) by the way from input to output, and the share by
which texts are drawn by how names, wordings that are no caption, and spoken names come out.
"""

import argparse
import json
from itertools import product
from pathlib import Path

from opencodi import AnyToAnyPipeline
from opencodi.collections.stickers.evaluation import any_to_any, wording
from opencodi.collections.stickers.evaluation.bench import Bench
from opencodi.collections.stickers.evaluation.budget import FULL
from opencodi.collections.stickers.evaluation.collection import Collection
from opencodi.collections.stickers.evaluation.ways import share_right
from opencodi.collections.stickers.judges.networks import load_judges

WAYS = ("image-text", "audio-text", "image-image", "audio-image", "image-audio")


def texts_understood(bench: Bench, count: int) -> dict[str, float]:
    """Names as pictures, free wordings as texts and pictures, names as spoken words."""
    free, spoken = wording.measure(bench), any_to_any.spoken_names(bench, {"speech": {"top1": {"share": None}}})
    return {
        "name-image": share_right(bench, "text-image", count)["share"],
        "wording-text": free["text"]["share"],
        "wording-image": free["image"]["share"],
        "name-speech": spoken["top1"]["share"],
    }


def main() -> None:
    """Read the arguments, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--output", type=Path, help="a JSON file for all numbers")
    parser.add_argument("--count", type=int, default=96, help="validation items of each way; sounds are fewer")
    parser.add_argument("--shares", type=float, nargs="*", default=(0.0, 0.5, 1.0))
    parser.add_argument("--scales", type=float, nargs="+", default=(60.0, 120.0))
    parser.add_argument("--text_shares", type=float, nargs="*", default=(0.0, 0.3, 0.6, 1.0))
    arguments = parser.parse_args()

    pipeline = AnyToAnyPipeline.from_pretrained(arguments.model)
    pipeline.set_progress_bar_config(disable=True)
    bench = Bench(pipeline, load_judges(), Collection.open(), FULL)
    rows, texts, anchors = [], [], pipeline.prompt_anchors
    shipped = {name: anchors.config[name] for name in ("share", "scale", "caption_share")}
    print(f"| share | scale | {' | '.join(WAYS)} |\n|---|---|{'---|' * len(WAYS)}")
    for share, scale in product(arguments.shares, arguments.scales):
        anchors.register_to_config(share=share, scale=scale, caption_share=None)
        scores = {way: share_right(bench, way, arguments.count)["share"] for way in WAYS}
        rows.append({"share": share, "scale": scale, **scores})
        print(f"| {share} | {scale:g} | {' | '.join(f'{score:.0%}' for score in scores.values())} |", flush=True)
    anchors.register_to_config(**shipped)
    for share in arguments.text_shares:
        anchors.register_to_config(text_share=share, heard_text_share=share)
        texts.append({"text_share": share, **texts_understood(bench, arguments.count)})
        if len(texts) == 1:
            print(f"\n| {' | '.join(texts[0])} |\n|{'---|' * len(texts[0])}")
        scores = [f"{score:.0%}" for name, score in texts[-1].items() if name != "text_share"]
        print(f"| {share} | {' | '.join(scores)} |", flush=True)
    if arguments.output:
        found = {"model": arguments.model, "count": arguments.count, "rows": rows, "texts": texts}
        arguments.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
