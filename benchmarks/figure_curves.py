"""Draw how the losses of the shipped model's stages went.

    python benchmarks/figure_curves.py --output docs/figures/curves.png

reads ``training.json`` of the model and ``docs/results/unshipped_runs.json``: runs whose weights do not ship (dashed), kept for
their curves, since most stages ran before curves were recorded. ``--runs FOLDER …`` adds such runs to that file first; each
folder holds ``summary.json`` and ``log.jsonl``.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from opencodi.models import resolve
from opencodi.training.assemble import CURVES, loss_curves

PARTS = {
    "pictures ↔ latents": "image_autoencoder",
    "text ↔ latents": "text_autoencoder",
    "spectrograms ↔ latents": "audio_autoencoder",
    "spectrograms → sound": "audio_vocoder",
    "picture prompts": "bridging_image",
    "sound prompts": "bridging_audio",
    "clip prompts": "bridging_video",
    "styles and motions": "manner",
    "pictures": "image_diffuser",
    "clips": "video_diffuser",
    "sounds": "audio_diffuser",
    "texts": "text_diffuser",
    "text + image": "alignment_text_image",
    "text + audio": "alignment_text_audio",
    "video + audio": "alignment_video_audio",
}
COLUMNS, WIDTH, HEIGHT = 5, 3.6, 2.6


def add_runs(runs: list[Path], results: Path) -> None:
    """Put each run's recipe, steps, seconds, last measures and curves into ``results``, under the name of its folder."""
    known = json.loads(results.read_text()) if results.is_file() else {}
    for run in runs:
        summary = json.loads((run / "summary.json").read_text()) | {CURVES: loss_curves(run / "log.jsonl")}
        summary["recipe"].pop("model_folder", None)
        known[run.name] = summary
    results.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n", encoding="utf-8")


def draw(axis: Axes, title: str, stages: dict[str, dict[str, Any]], unshipped: dict[str, dict[str, Any]]) -> None:
    """One part of the model: a line for each stage that has a curve, dashed if its weights do not ship."""
    for history, style in ((stages, "-"), (unshipped, "--")):
        for name, summary in history.items():
            if curve := summary.get(CURVES, {}).get("loss"):
                axis.plot(curve["step"], curve["value"], style, linewidth=1.2, label=name)
    axis.set_title(title, fontsize=9)
    axis.tick_params(labelsize=7)
    if axis.lines:
        axis.legend(fontsize=5.5, frameon=False)


def main() -> None:
    """Read the arguments, add runs, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="stickers")
    parser.add_argument("--runs", type=Path, nargs="*", default=())
    parser.add_argument("--unshipped", type=Path, default=Path("docs/results/unshipped_runs.json"))
    parser.add_argument("--output", type=Path, default=Path("docs/figures/curves.png"))
    arguments = parser.parse_args()
    if arguments.runs:
        add_runs(arguments.runs, arguments.unshipped)
    stages = json.loads((resolve(arguments.model) / "training.json").read_text())
    unshipped = json.loads(arguments.unshipped.read_text()) if arguments.unshipped.is_file() else {}
    rows = -(-len(PARTS) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(WIDTH * COLUMNS, HEIGHT * rows), layout="constrained")
    for axis, (title, prefix) in zip(axes.flat, PARTS.items()):
        of_part = (
            {name: each for name, each in known.items() if name.startswith(prefix)} for known in (stages, unshipped)
        )
        draw(axis, title, *of_part)
    figure.supxlabel("step", fontsize=9)
    figure.supylabel("training loss", fontsize=9)
    figure.savefig(arguments.output, dpi=110)


if __name__ == "__main__":
    main()
