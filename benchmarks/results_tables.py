"""Put the tables of an evaluation into documents, between the comments that mark where they go.

    python benchmarks/results_tables.py docs/results/evaluation/results.json docs/results/README.md docs/extras.md

A document says ``<!-- table NAME -->`` and, further down, ``<!-- end -->``; what stands between is replaced. Names are those
of ``TABLES``.
"""

import argparse
import json
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from opencodi.collections.stickers.evaluation.tables import number, percent
from opencodi.modality import Modality

PLACE = re.compile(r"(<!-- table (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))


def any_to_any(results: dict[str, Any], chosen: Collection[str] = ()) -> str:
    """First guess of the judges, and per cent of the ceiling; rows of these inputs, of all if none is named."""

    def cell(entry: dict[str, Any]) -> str:
        found, reached = entry.get("top1", {}).get("share"), entry.get("ratio_top1")
        return "–" if found is None else percent(found) + ("" if reached is None else f" ({100 * reached:.0f})")

    table, limits = results["any_to_any"]["table"], results["ceilings"]
    rows = [
        [row.replace("+", " + "), *(cell(cells.get(m, {})) for m in Modality)]
        for row, cells in table.items()
        if not chosen or row in chosen
    ]
    counts = (limits[m]["top1"] for m in Modality)
    judged = [percent(limit["share"]) + (f" of {limit['n']}" if limit["n"] else "") for limit in counts]
    return markdown(["from \\ to", *Modality], [*rows, ["*judge on real items*", *judged]])


def coherence(results: dict[str, Any]) -> str:
    """How often outputs made together show the same."""
    found = results["coherence"]
    entries = [(f"**{kind}s**", pool) for kind, pool in found["kinds"].items()]
    entries += [(f"{name.replace('+', ' + ')} ({pool['kind']})", pool) for name, pool in found["sets"].items()]
    rows = [
        [
            name,
            *(percent(pool["concept"][how]) for how in ("joint", "independent", "ceiling")),
            percent(pool["heard"]["joint"]),
            *(percent(pool["subgroup"][how]) for how in ("joint", "independent")),
            str(pool["concept"]["n"]),
        ]
        for name, pool in entries
    ]
    head = [
        "made together",
        "agree",
        "apart, by chance",
        "real items (ceiling)",
        "as far as can be heard",
        "same kind",
        "apart, by chance",
        "samples",
    ]
    return markdown(head, rows)


def other(results: dict[str, Any]) -> str:
    """What is neither of both."""
    far, varied, clock = results["distances"], results["variety"], results["timing"]
    from_text, ceiling = results["any_to_any"]["table"]["text"], results["ceilings"]["speech"]["top1"]
    moving = results["motions"]
    copies, real_copies = (varied[f"near_copies{which}_in_pixels"] for which in ("", "_of_real"))
    spoken, wording = from_text["speech"]["top1"], results["wording"]
    matched = [results["synchrony"][name]["matched"] for name in ("together", "apart", "procedural")]

    def composed(name: str) -> str:
        return " / ".join(
            percent(results["composition"][name][of]["share"]) for of in ("concept_top1", "style", "both")
        )

    def means(entries: Iterable[dict[str, Any]], digits: int = 3) -> list[str]:
        return [number(entry["mean"], digits) for entry in entries]

    rows = {
        "words that are no caption → a sensible text / picture": (
            " / ".join(percent(wording[made]["share"]) for made in ("text", "image")) + f" of {wording['text']['n']}"
        ),
        "“the word …” → recognised (real recordings)": (
            f"{percent(spoken['share'])} of {spoken['n']} ({percent(ceiling['share'])})"
        ),
        "a motion named (“…, bouncing”) → seen in the clip (real pictures in motion)": (
            f"{percent(moving['motion']['share'])} of {moving['motion']['n']} ({percent(moving['real']['share'])})"
        ),
        "motion of clips made from names, of real clips'": percent(from_text["video"].get("motion_ratio")),
        "a picture and “… style”: the picture's concept / the style / both": composed("picture_and_style"),
        "“name, … style”, a pair seen in training: the same": composed("named_style_seen"),
        "“name, … style”, a pair never seen: the same": composed("named_style_unseen"),
        "picture through the autoencoder and back": "PSNR {} dB, SSIM {}".format(
            *means(far["image_autoencoder"][name] for name in ("psnr", "ssim"))
        ),
        "Fréchet distance made–real (floor: training–validation)": ", ".join(
            f"{name} {number(entry['made'])} ({number(entry['floor'])})" for name, entry in far["frechet"].items()
        ),
        "log-mel error of the vocoder (Griffin-Lim)": "{} ({})".format(
            *means(far["audio"][name] for name in ("vocoder", "griffin_lim"))
        ),
        "Fréchet distance of sounds through the vocoder (Griffin-Lim)": "{} ({})".format(
            *(number(far["audio_frechet"][name]) for name in ("vocoder", "griffin_lim"))
        ),
        "the vocoder for a second of sound, on one thread": f"{number(clock['vocoder_per_second'], 2)} s",
        "impacts and onsets, correlation: made together (apart; procedural pairs)": "{} ({}; {})".format(
            *means(matched, 2)
        ),
        "distance between seeds of “a cat” (real drawings)": (
            f"{number(varied['pairwise_distance'])} ({number(varied['pairwise_distance_of_real_drawings'])})"
        ),
        "near copies of a training picture, in pixels (of real validation pictures)": (
            f"{percent(copies['share'])} of {copies['n']} ({percent(real_copies['share'])})"
        ),
        f"all four outputs from one prompt / a picture alone / loading, {clock['cores']} cores": " / ".join(
            f"{number(clock[name], 2)} s" for name in ("all_four", "image_alone", "load")
        ),
    }
    return markdown(["", ""], list(rows.items()))


def headlines(results: dict[str, Any]) -> str:
    """The any-to-any table from text, a picture, a sound and all four."""
    return any_to_any(results, ("text", "image", "audio", "+".join(Modality)))


AIMS = (
    ("text", "image", 90),
    ("text", "video", 85),
    ("text", "audio", 80),
    ("text", "speech", 60),
    ("image", "image", 85),
    ("image", "video", 80),
    ("image", "text", 75),
    ("audio", "image", 60),
    ("audio", "text", 60),
    ("image", "audio", 60),
)
"""What a cell of the any-to-any table should reach, in per cent of its ceiling."""


def aims(results: dict[str, Any]) -> str:
    """What was aimed at, and what is reached."""
    table, pools = results["any_to_any"]["table"], results["coherence"]["kinds"]
    rows = []
    for source, output, wanted in AIMS:
        entry = table[source][output]
        score = f"{percent(entry['top1']['share'])} of {entry['top1']['n']}"
        rows.append(
            (f"{source} → {output}", f"≥ {wanted} % of the ceiling", f"{percent(entry['ratio_top1'])} ({score})")
        )
    # What is judged better than real items are counts as reached, no more: it cannot make up for another output.
    means = {
        row: sum(min(1.0, cells[m]["ratio_top1"]) for m in Modality) / len(Modality)
        for row, cells in table.items()
        if row != "speech" and all(cells.get(m, {}).get("ratio_top1") is not None for m in Modality)
    }
    best, lowest = max(means[m] for m in Modality), min(means, key=means.get)
    rows.append(
        (
            "every input set, mean over outputs, each at most 100 % of its ceiling",
            f"within 10 points of the best single input ({percent(best)})",
            f"from {percent(means[lowest])} ({lowest.replace('+', ' + ')}) on",
        )
    )
    trained = pools["trained pair"]["concept"]
    rows.append(
        (
            "made together from vague prompts, trained pairs",
            "≥ 85 % agree, ≥ 3 times as many as apart",
            f"{percent(trained['joint'])} of {trained['n']}, {trained['joint'] / trained['independent']:.0f} times",
        )
    )
    for kind in ("never-trained pair", "triple"):
        entry = pools[kind]["concept"]
        rows.append((f"… {kind}s", "within 10 points of them", f"{percent(entry['joint'])} of {entry['n']}"))
    psnr = results["distances"]["image_autoencoder"]["psnr"]["mean"]
    rows.append(("pictures through the autoencoder and back", "PSNR ≥ 28 dB", f"{number(psnr)} dB"))
    return markdown(["what", "aim", "reached"], rows)


def extras(results: dict[str, Any]) -> str:
    """The core and each extra."""
    found = results["extras"]
    rows = [[name, *(percent(row[c]["share"]) for c in found["columns"])] for name, row in found["rows"].items()]
    return markdown(["extras", *found["columns"]], rows)


TABLES = {
    "extras": extras,
    "aims": aims,
    "any_to_any": any_to_any,
    "headlines": headlines,
    "coherence": coherence,
    "other": other,
}


def filled(document: str, results: dict[str, Any]) -> str:
    """The document with its tables made anew."""
    return PLACE.sub(lambda found: found[1] + "\n" + TABLES[found[2]](results) + "\n" + found[4], document)


def main() -> None:
    """Read the arguments and rewrite the documents."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("documents", type=Path, nargs="+")
    given = parser.parse_args()
    results = json.loads(given.results.read_text(encoding="utf-8"))
    for path in given.documents:
        path.write_text(filled(path.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    main()
