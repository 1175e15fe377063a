"""How sure the watermark is found after what happens to files, how seldom elsewhere, and what it costs.

    python benchmarks/watermark.py --made FOLDER --output docs/results/watermark.json

makes pictures, sounds and clips once (they are kept in FOLDER: about 20 minutes of one core), marks them with a key of the
benchmark, and prints the tables of docs/watermark.md. ``--tables`` prints them from the file alone.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from time import process_time
from typing import Any

import numpy as np
from measuring import print_table
from watermark_changes import CHANGES
from watermark_inversion import inversion
from watermark_media import MADE, made, make, real, to_array, to_media

from opencodi.collections.stickers.evaluation.collection import Collection
from opencodi.collections.stickers.evaluation.judging import judge, known_concepts
from opencodi.collections.stickers.judges.networks import Judges, load_judges
from opencodi.evaluation.accuracy import in_top
from opencodi.evaluation.distances import frechet_distance
from opencodi.media import Audio, Media, Video
from opencodi.modality import Modality
from opencodi.trust.watermark import detect, embed
from opencodi.trust.watermark.evidence import FALSE_POSITIVE_RATE, p_value
from opencodi.trust.watermark.pictures import PictureMark
from opencodi.trust.watermark.sounds import SoundMark

KEYS = [bytes([number] * 32) for number in range(8)]
MARKED = 512
"""Marked outputs of each modality; where fewer were made, all are marked with one key, then with the next."""

UNMARKED = 2_112
"""Items without the mark: what was made, and real ones."""
REAL_FOR_QUALITY = 400


def measure(
    modality: Modality, media: list[Media], concepts: list[str], collection: Collection, judges: Judges
) -> dict[str, Any]:
    """All that is measured of one modality."""
    started = process_time()
    keys = [KEYS[place // len(media)] for place in range(max(MARKED, len(media)))]
    marked = [to_media(modality, to_array(embed(media[n % len(media)], key))) for n, key in enumerate(keys)]
    print(f"{modality}: {len(marked)} marked", flush=True)
    found: dict[str, Any] = {"made": len(media), "marked": len(marked), "changes": {}}
    for name, change in CHANGES[modality].items():
        results = [detect(change(item), key) for item, key in zip(marked, keys)]
        p_values = np.array([max(each.p_value, 1e-300) for each in results])
        found["changes"][name] = {
            "true_positive_rate": float(np.mean([each.found for each in results])),
            "median_log10_p": float(np.median(np.log10(p_values))),
            "worst_log10_p": float(np.log10(p_values).max()),
        }
        print(f"{modality} {name}: {found['changes'][name]}", flush=True)
    found["null"] = null(modality, media, collection)
    found["quality"] = quality(modality, media, marked[: len(media)], concepts, collection, judges)
    found["processor_minutes"] = (process_time() - started) / 60
    return found


def null(modality: Modality, media: Sequence[Media], collection: Collection) -> dict[str, Any]:
    """What the detector says of media without the mark: what was made, and real ones.

    ``false_positives`` counts items that are said to carry it. That says little of a rate of 1e-6, so the assumption behind
    the p-value is checked, too: every single projection of an item, on the pattern at every place and delay, must be standard
    normal. ``beyond`` counts the projections above 3, 4, 4.5 and 5, and how many a normal distribution has there.
    """
    mark = SoundMark(KEYS[0]) if modality == Modality.AUDIO else PictureMark(KEYS[0])
    best: list[float] = []
    count = tests = num_real = 0
    squares = 0.0
    beyond = dict.fromkeys((3.0, 4.0, 4.5, 5.0), 0)
    for place, chunk in enumerate(([*media], *real(collection, modality, UNMARKED - len(media)))):
        num_real += len(chunk) if place else 0
        for item in chunk:
            shown = item if isinstance(item, Audio) else frames(item)
            single = mark.projections(shown)
            z, tests = (float(single.max()), single.size) if isinstance(item, Audio) else mark.score(shown)
            best.append(z)
            count, squares = count + single.size, squares + float((single**2).sum())
            beyond = {limit: found + int((single > limit).sum()) for limit, found in beyond.items()}
    threshold = -NormalDist().inv_cdf(FALSE_POSITIVE_RATE / tests)
    report = {
        "made": len(media),
        "real": num_real,
        "tests": tests,
        "threshold": threshold,
        "false_positives": int(np.sum(np.array(best) >= threshold)),
        "largest": max(best),
        "p_value_of_largest": p_value(max(best), tests),
        "projections": count,
        "deviation": (squares / count) ** 0.5,
        "beyond": {limit: {"found": found, "normal": count * p_value(limit, 1)} for limit, found in beyond.items()},
    }
    print(f"{modality} null: {report}", flush=True)
    return report


def frames(media: Any) -> np.ndarray:
    """A picture or clip as [N, H, W, 3]."""
    return media.frames if isinstance(media, Video) else np.asarray(media)[None]


def quality(
    modality: Modality,
    media: list[Media],
    marked: list[Media],
    concepts: list[str],
    collection: Collection,
    judges: Judges,
) -> dict[str, Any]:
    """What the judges say of media with and without the mark, and how far apart they are, in decibels."""
    reference = [item for chunk in real(collection, modality, REAL_FOR_QUALITY) for item in chunk]
    features = judge(judges, modality, reference).features
    labels, report = known_concepts(judges, modality), {}
    for name, items in (("without", media), ("with", marked)):
        seen = judge(judges, modality, items)
        report[name] = {
            "top_1": float(np.mean(in_top(seen.concept_logits, labels, concepts, 1))),
            "frechet": frechet_distance(seen.features, features),
        }
    pairs = zip(map(to_array, media), map(to_array, marked))
    apart = [decibels(one.astype(np.float64), other.astype(np.float64), modality) for one, other in pairs]
    report |= {"decibels": float(np.mean(apart)), "decibels_of_worst_20th": float(np.percentile(apart, 5))}
    print(f"{modality} quality: {report}", flush=True)
    return report


def decibels(one: np.ndarray, other: np.ndarray, modality: Modality) -> float:
    """PSNR of pictures and clips, signal to noise of sounds."""
    signal = np.mean(one**2) if modality == Modality.AUDIO else 255**2
    return float(10 * np.log10(max(signal, 1e-9) / max(np.mean((one - other) ** 2), 1e-9)))


def tables(found: dict[str, Any]) -> None:
    """The tables of docs/watermark.md."""
    names = list(dict.fromkeys(name for each in found["modalities"].values() for name in each["changes"]))
    columns = list(found["modalities"])

    def cell(modality: str, name: str) -> str:
        rate = found["modalities"][modality]["changes"].get(name)
        return "" if rate is None else f"{rate['true_positive_rate']:.1%}"

    print_table(["found at 1e-6 after", *columns], [[name, *(cell(m, name) for m in columns)] for name in names])
    print()
    rows = []
    for modality, each in found["modalities"].items():
        null = each["null"]
        items = [f"{null['made']:,} + {null['real']:,}", str(null["false_positives"])]
        best = [f"{null['largest']:.2f} (p = {null['p_value_of_largest']:.0e})", f"{null['threshold']:.2f}"]
        beyond = [f"{each['found']:,} ({each['normal']:,.0f})" for each in null["beyond"].values()]
        rows.append(
            [modality, *items, *best, f"{null['projections'] / 1e6:.0f} million", f"{null['deviation']:.3f}", *beyond]
        )
    limits = [f"beyond {limit} (normal)" for limit in next(iter(found["modalities"].values()))["null"]["beyond"]]
    names = ["made + real", "said to have it", "largest score", "threshold", "single projections", "deviation", *limits]
    print_table(["without the mark", *names], rows)
    print()
    rows = []
    for modality, each in found["modalities"].items():
        found_of = each["quality"]
        scores = [
            f"{found_of[name][what]:{style}}"
            for what, style in (("top_1", ".1%"), ("frechet", ".2f"))
            for name in ("without", "with")
        ]
        rows.append([modality, *scores, f"{found_of['decibels']:.1f}", f"{found_of['decibels_of_worst_20th']:.1f}"])
    names = ["judges' top 1 without", "with", "Fréchet without", "with", "dB between", "worst 5 %"]
    print_table(["quality", *names], rows)
    if "inversion" in found:
        print()
        print_table(
            ["in the initial latents instead", "signs recovered", "standard deviations"],
            [[name, f"{each['signs']:.1%}", f"{each['z']:.1f}"] for name, each in found["inversion"].items()],
        )


def main() -> None:
    """Read the arguments, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--made", type=Path, help="where what is made is kept")
    parser.add_argument("--count", type=int, default=512, help="of each modality")
    parser.add_argument("--output", type=Path, default=Path("docs/results/watermark.json"))
    parser.add_argument("--only", nargs="*", choices=[str(each) for each in MADE], help="measure only these again")
    parser.add_argument("--inversion", action="store_true", help="measure the mark in the initial latents, too")
    parser.add_argument("--tables", action="store_true", help="print the tables of what was measured, and no more")
    arguments = parser.parse_args()
    found: dict[str, Any] = (
        json.loads(arguments.output.read_text()) if arguments.output.is_file() else {"modalities": {}}
    )
    if not arguments.tables:
        collection, judges = Collection.open(), load_judges()
        arguments.made.mkdir(parents=True, exist_ok=True)
        for modality in MADE:
            if arguments.only is None or modality in arguments.only:
                make(arguments.made, modality, arguments.count, collection, judges)
                media, concepts = made(arguments.made, modality)
                found["modalities"][str(modality)] = measure(modality, media, concepts, collection, judges)
                arguments.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        if arguments.inversion:
            found["inversion"] = inversion(collection)
            arguments.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    tables(found)


if __name__ == "__main__":
    main()
