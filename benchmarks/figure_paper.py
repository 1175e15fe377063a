"""Redraw the two pictures that the paper's idea is told with: conditioning by bridging, and denoising together.

    python benchmarks/figure_paper.py --output docs/figures

`conditioning.svg` shows how inputs become one prompt, `training.svg` the three stages in which a model learns, and
`joint.svg` what happens at one step of joint generation (the paper's Figure 2 and §3.3).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

COLOURS = {"text": "#e8b04a", "image": "#4a90d9", "video": "#7a5fc0", "audio": "#3fa77a"}
GREY, INK = "#e9edf0", "#22303a"
plt.rcParams |= {"svg.hashsalt": "opencodi", "font.size": 10, "font.family": "DejaVu Sans", "text.color": INK}


def canvas(width: float, height: float) -> Axes:
    """An empty sheet of so many units, an inch each."""
    figure, axes = plt.subplots(figsize=(width, height))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    figure.subplots_adjust(0, 0, 1, 1)
    return axes


def box(
    axes: Axes, centre: tuple[float, float], words: str, colour: str = GREY, size: Sequence[float] = (1.5, 0.5)
) -> None:
    """A rounded box with words in it."""
    (x, y), (width, height) = centre, size
    corner = (x - width / 2, y - height / 2)
    axes.add_patch(FancyBboxPatch(corner, width, height, "round,pad=0.02,rounding_size=0.1", fc=colour, ec=INK, lw=0.8))
    axes.text(x, y, words, ha="center", va="center", fontsize=9)


def arrow(
    axes: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    words: str = "",
    colour: str = INK,
    both: bool = False,
    dashed: bool = False,
) -> None:
    """An arrow, with words at its middle."""
    line = "dashed" if dashed else "solid"
    style = "<|-|>" if both else "-|>"
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle=style, mutation_scale=10, color=colour, lw=1.1, linestyle=line)
    )
    if words:
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        axes.text(*middle, words, ha="center", va="center", fontsize=8, bbox={"fc": "white", "ec": "none", "pad": 1})


def conditioning() -> Axes:
    """Any inputs → one prompt."""
    axes = canvas(9, 3.4)
    for row, (name, colour) in enumerate(COLOURS.items()):
        y = 2.9 - 0.78 * row
        box(axes, (0.9, y), name, colour, (1.2, 0.5))
        box(axes, (3.0, y), f"{name} prompt\nencoder", GREY, (1.5, 0.6))
        arrow(axes, (1.52, y), (2.23, y))
        arrow(axes, (3.77, y), (5.0, 1.75 + 0.12 * (1.5 - row)), f"$w_{{{name}}}$", colour)
    box(axes, (5.8, 1.75), "shared space\n$\\sum_i w_i c_i\\,/\\,\\sum_i w_i$", "#fff6df", (1.6, 0.9))
    box(axes, (8.0, 1.75), "the prompt of\nevery denoiser", "#fff6df", (1.5, 0.7))
    arrow(axes, (6.62, 1.75), (7.23, 1.75))
    return axes


def training() -> Axes:
    """The three stages of a model."""
    axes = canvas(9, 3.9)
    for title, x in (
        ("1  prompt encoders:\ntext is the bridge", 1.6),
        ("2  one denoiser for\neach modality, alone", 4.5),
        ("3  alignment: pairs of\nfrozen denoisers", 7.4),
    ):
        axes.text(x, 3.55, title, ha="center", va="center", fontsize=10, fontweight="bold")
    box(axes, (1.6, 2.6), "text", COLOURS["text"], (0.9, 0.45))
    for x, name in zip((0.55, 1.6, 2.65), ("image", "video", "audio")):
        box(axes, (x, 1.3), name, COLOURS[name], (0.9, 0.45))
        arrow(axes, (1.6, 2.35), (x, 1.56), both=True, colour=COLOURS[name])
    axes.text(
        1.6, 0.62, "contrastive, on pairs with text only;\nimage + audio is never needed", ha="center", fontsize=8
    )
    for y, (name, colour) in zip((2.85, 2.25, 1.65, 1.05), COLOURS.items()):
        words = "temporal modules on image" if name == "video" else f"{name} denoiser"
        box(axes, (4.5, y), words, colour, (2.2, 0.42))
    axes.text(4.5, 0.62, "video keeps the image denoiser frozen", ha="center", fontsize=8)
    ends = {"text": (6.3, 2.6), "image": (8.5, 2.6), "audio": (6.3, 1.3), "video": (8.5, 1.3)}
    for name, centre in ends.items():
        box(axes, centre, name, COLOURS[name], (0.9, 0.45))
    arrow(axes, (6.77, 2.6), (8.03, 2.6), "trained", both=True)
    arrow(axes, (6.3, 2.35), (6.3, 1.55), "trained", both=True)
    arrow(axes, (6.77, 1.3), (8.03, 1.3), "trained", both=True)
    arrow(axes, (8.3, 2.35), (6.6, 1.55), "never trained", both=True, dashed=True)
    axes.text(7.4, 0.62, "a linear number of pairs;\nother pairs and triples follow", ha="center", fontsize=8)
    return axes


def joint() -> Axes:
    """One step of joint generation."""
    axes = canvas(9, 3.6)
    rows = {"image": 2.75, "audio": 0.85}
    for name, y in rows.items():
        colour = COLOURS[name]
        box(axes, (1.0, y), f"{name} latent\nat step t", colour, (1.4, 0.6))
        box(axes, (4.7, y), f"{name} denoiser", colour, (2.0, 0.6))
        box(axes, (7.9, y), f"{name} latent\nat step t − 1", colour, (1.5, 0.6))
        arrow(axes, (1.72, y), (3.68, y))
        arrow(axes, (5.72, y), (7.13, y), "scheduler")
    box(axes, (2.4, 2.0), "environment\nencoder", GREY, (1.3, 0.5))
    box(axes, (2.4, 1.42), "environment\nencoder", GREY, (1.3, 0.5))
    arrow(axes, (1.3, 2.43), (1.75, 2.1), colour=COLOURS["image"])
    arrow(axes, (1.3, 1.17), (1.75, 1.35), colour=COLOURS["audio"])
    arrow(axes, (3.07, 2.0), (4.4, 1.17), "tokens", COLOURS["image"])
    arrow(axes, (3.07, 1.42), (4.4, 2.43), "tokens", COLOURS["audio"])
    axes.text(5.15, 1.8, "cross-attention\nto the others", fontsize=8, va="center")
    axes.text(4.7, 3.35, "the prompt: cross-attention in every block", ha="center", fontsize=8)
    arrow(axes, (4.7, 3.28), (4.7, 3.07))
    axes.text(4.7, 0.22, "the prompt", ha="center", fontsize=8)
    arrow(axes, (4.7, 0.36), (4.7, 0.53))
    return axes


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/figures"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for draw in (conditioning, training, joint):
        figure = draw().figure
        figure.savefig(options.output / f"{draw.__name__}.svg", metadata={"Date": None})
        plt.close(figure)
        print(options.output / f"{draw.__name__}.svg")


if __name__ == "__main__":
    main()
