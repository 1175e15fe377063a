"""From results to tables of strings: what the report and the summary on the screen have in common."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ....modality import Modality
from .coherence import LEVELS


@dataclass(frozen=True)
class Table:
    """One table; cells are text already."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def percent(value: float | None) -> str:
    """``0.123`` → ``12 %``; a dash where nothing was measured."""
    return "–" if value is None else f"{100 * value:.0f} %"


def number(value: float | None, digits: int = 3) -> str:
    """Significant digits; a dash where nothing was measured."""
    return "–" if value is None else f"{value:.{digits}g}"


def counted(entry: dict[str, Any] | None) -> str:
    """``{"share", "n"}`` → ``12 % of 50``."""
    if not entry or entry.get("share") is None:
        return "–"
    return percent(entry["share"]) if entry.get("n") is None else f"{percent(entry['share'])} of {entry['n']}"


def summary(results: dict[str, Any]) -> Table:
    """The headlines, each beside its ceiling (or what it is to be compared with)."""
    table, limits = results["any_to_any"]["table"], results["ceilings"]
    rows = []
    for source, output in (
        *(("text", str(modality)) for modality in Modality),
        ("text", "speech"),
        *(("image", str(modality)) for modality in Modality),
        ("audio", "image"),
        ("audio", "text"),
        ("+".join(Modality), "image"),
    ):
        cell = table[source].get(output, {}).get("top1")
        judge = source if output == Modality.TEXT else output  # names must be read from what is given
        rows.append((f"{source} → {output}, concept", counted(cell), counted(limits[judge]["top1"])))
    for output in ("text", "image"):
        rows.append((f"free wording → {output}, sensible", counted(results["wording"][output]), ""))
    for kind, pool in results["coherence"]["kinds"].items():
        entry = pool["concept"]
        rows.append(
            (
                f"coherence, {kind}s",
                counted({**entry, "share": entry["joint"]}),
                f"apart {percent(entry['independent'])}, real items {percent(entry['ceiling'])}",
            )
        )
    rows.append(("motion named → seen", counted(results["motions"]["motion"]), counted(results["motions"]["real"])))
    sync = results["synchrony"]
    rows.append(
        (
            "synchrony, clip and sound",
            number(sync["together"]["matched"]["mean"], 2),
            f"apart {number(sync['apart']['matched']['mean'], 2)}, "
            f"procedural {number(sync['procedural']['matched']['mean'], 2)}",
        )
    )
    for modality, entry in results["distances"]["frechet"].items():
        rows.append((f"Fréchet distance, {modality}", number(entry["made"]), f"floor {number(entry['floor'])}"))
    rows.append(
        ("picture there and back, PSNR", f"{number(results['distances']['image_autoencoder']['psnr']['mean'])} dB", "")
    )
    copies = [results["variety"].get(f"near_copies{which}_in_pixels") for which in ("", "_of_real")]
    rows.append(("near copies, in pixels", counted(copies[0]), f"real validation pictures {counted(copies[1])}"))
    clock = results["timing"]
    rows.append(
        (
            "seconds: all four / a picture / loading",
            " / ".join(number(clock[name], 3) for name in ("all_four", "image_alone", "load")),
            f"{clock['cores']} cores",
        )
    )
    return Table("Summary", ("", "score", "ceiling or comparison"), rows)


def any_to_any(results: dict[str, Any]) -> list[Table]:
    """First and first five, and what text and clips have besides."""
    table, limits = results["any_to_any"]["table"], results["ceilings"]
    outputs = [*map(str, Modality), "speech"]
    tables = []
    for measure, title in (("top1", "Right concept, first guess of the judge"), ("top5", "… among its first five")):
        rows = [
            [row, *(counted(cells.get(output, {}).get(measure)) for output in outputs)] for row, cells in table.items()
        ]
        rows.append(["ceiling (real items)", *(counted(limits[output].get(measure)) for output in outputs)])
        tables.append(Table(title, ("from \\ to", *outputs), rows))
    rows = [
        [row, *(percent(cells.get(output, {}).get("ratio_top1")) for output in outputs)] for row, cells in table.items()
    ]
    tables.append(Table("First guess as a share of the ceiling", ("from \\ to", *outputs), rows))
    rows = [
        [
            row,
            counted(cells.get("text", {}).get("exact")),
            counted(cells.get("text", {}).get("is_a_name")),
            number(cells.get("text", {}).get("cosine", {}).get("mean")),
            percent(cells.get("video", {}).get("motion_ratio")),
            *(counted(cells.get(output, {}).get("held_out")) for output in map(str, Modality)),
        ]
        for row, cells in table.items()
    ]
    head = ("from", "exact name", "a name at all", "cosine to the name", "motion, of real clips'")
    tables.append(
        Table(
            "Text, motion, and the share of prompts whose inputs are all validation items",
            (*head, *(f"held out, {output}" for output in Modality)),
            rows,
        )
    )
    return tables


def wording(results: dict[str, Any]) -> list[Table]:
    """All wordings together, then what each gave."""
    found = results["wording"]
    rows = [[name, counted(found[name])] for name in ("text", "image")]
    each = [
        [wording, *(", ".join(made[name]) for name in ("text", "image"))]
        for wording, made in found["by_wording"].items()
    ]
    return [
        Table("A sensible answer to words that are no caption", ("", ""), rows),
        Table("What each gave", ("written", "texts made", "pictures made, as the judge names them"), each),
    ]


def composition(results: dict[str, Any]) -> list[Table]:
    """Styles, two concepts, the sweep."""
    found, tables = results["composition"], []
    names = ("concept_top1", "concept_top5", "style", "both")
    kinds = {
        "picture_and_style": 'a picture and "… style"',
        "named_style_seen": '"name, … style", pair seen in training',
        "named_style_unseen": '"name, … style", pair never seen',
    }
    rows = [[title, *(counted(found[kind].get(name)) for name in names)] for kind, title in kinds.items()]
    limit = results["ceilings"]["image"]
    rows.append(["ceiling (real pictures)", *(counted(limit.get(name)) for name in ("top1", "top5", "style")), ""])
    tables.append(Table("Style from words", ("", "concept", "concept in first five", "style", "both"), rows))
    rows = [[name.replace("_", " "), counted(entry)] for name, entry in found["sound_and_picture"].items()]
    tables.append(Table("A sound of one thing and a picture of another", ("the picture made shows", ""), rows))
    sweep = found["weight_sweep"]
    if sweep["n"]:
        rows = [
            [name.replace("_", " "), *(number(value, 2) for value in sweep[name])]
            for name in ("probability_of_text", "probability_of_picture")
        ]
        head = (f"mean of {sweep['n']}", *(f"text {weight:g}" for weight in sweep["weights_of_text"]))
        tables.append(Table("From a picture to the words for something else", head, rows))
    return tables


def bridging(results: dict[str, Any]) -> list[Table]:
    """Trained pairs, then bridged ones."""
    rows = [
        [
            pair,
            "trained" if entry["trained"] else "never trained",
            *(f"{percent(entry[f'R@{k}'])} (chance {percent(entry[f'chance@{k}'])})" for k in (1, 5)),
            str(entry["n"]),
            str(entry["gallery"]),
        ]
        for pair, entry in sorted(results["bridging"].items(), key=lambda item: not item[1]["trained"])
    ]
    head = ("asks → answers", "pair", "R@1", "R@5", "queries", "gallery")
    return [Table("Retrieval in the shared space", head, rows)]


def coherence(results: dict[str, Any]) -> list[Table]:
    """Every set, then what kinds of sets have in common."""
    found, tables = results["coherence"], []
    for title, entries in (("By set of outputs", found["sets"]), ("By kind of set", found["kinds"])):
        rows = [
            [
                name,
                entry.get("kind", ""),
                *(percent(entry[level][how]) for level in LEVELS for how in ("joint", "independent", "ceiling")),
                str(entry["concept"]["n"]),
            ]
            for name, entry in entries.items()
        ]
        columns = (f"same {level}, {how}" for level in LEVELS for how in ("joint", "apart", "real items (ceiling)"))
        head = ("outputs", "", *columns, "n")
        tables.append(Table(title, head, rows))
    return tables


def extras(results: dict[str, Any]) -> list[Table]:
    """The core, and each extra added to it or taken from the model."""
    found = results["extras"]
    rows = [[name, *(counted(row[column]) for column in found["columns"])] for name, row in found["rows"].items()]
    return [Table("The core, and each extra added to it", ("", *found["columns"]), rows)]


def motions(results: dict[str, Any]) -> list[Table]:
    """All motions together, then each."""
    found = results["motions"]
    rows = [
        ["the motion named, first guess", counted(found["motion"])],
        ["the same of real pictures in motion (ceiling)", counted(found["real"])],
        ["the thing named, in the first five", counted(found["concept_top5"])],
        *([name, counted(entry)] for name, entry in found["by_motion"].items()),
    ]
    return [Table("Clips of a thing in a motion", ("", ""), rows)]


def synchrony(results: dict[str, Any]) -> list[Table]:
    """Matched and mismatched pairs."""
    rows = [
        [name, *(_mean(entry.get(how)) for how in ("matched", "mismatched"))]
        for name, entry in results["synchrony"].items()
    ]
    return [Table("Correlation of impacts and onsets", ("clip and sound", "own pairs", "mismatched pairs"), rows)]


def distances(results: dict[str, Any]) -> list[Table]:
    """Fréchet distances and reconstructions."""
    found = results["distances"]
    rows = [
        [name, *(number(entry[key]) for key in ("made", "floor")), str(entry["n_made"]), str(entry["n_real"])]
        for name, entry in found["frechet"].items()
    ]
    head = ("", "made to real", "real training to real (floor)", "made", "real")
    other = [
        [f"picture there and back, {name.upper()}", _mean(entry)] for name, entry in found["image_autoencoder"].items()
    ]
    other += [[f"log-mel error, {name.replace('_', ' ')}", _mean(entry)] for name, entry in found["audio"].items()]
    other += [
        [f"Fréchet distance of sounds, {name.replace('_', ' ')}", number(value)]
        for name, value in found["audio_frechet"].items()
    ]
    return [Table("Fréchet distance in the judges' features", head, rows), Table("Reconstruction", ("", "mean"), other)]


def variety(results: dict[str, Any]) -> list[Table]:
    """Distances between seeds, and near copies."""
    found = results["variety"]
    rows = [
        [f'distance between {found["seeds"]} seeds of "{found["prompt"]}"', number(found["pairwise_distance"])],
        [
            f"distance between {found['real_drawings']} real drawings of it",
            number(found["pairwise_distance_of_real_drawings"]),
        ],
    ]
    for space in ("pixels", "features"):
        entry = found[f"near_copies_in_{space}"]
        rows.append([f"near copies, in {space}", counted(entry)])
        rows.append(["the same of real validation pictures", counted(found.get(f"near_copies_of_real_in_{space}"))])
        rows.append([f"median distance to the nearest training picture, in {space}", number(entry["median_nearest"])])
        rows.append([f"limit of a near copy, in {space}", number(entry["limit"])])
    rows.append(["training pictures searched", str(found["training_pictures_searched"])])
    return [Table("Seeds and copies", ("", ""), rows)]


def timing(results: dict[str, Any]) -> list[Table]:
    """Seconds."""
    names = {"all_four": "one prompt to all four outputs", "image_alone": "to a picture", "load": "loading every part"}
    clock = results["timing"]
    names["vocoder_per_second"] = "the vocoder, for a second of sound, on one thread"
    rows = [[title, f"{number(clock[name])} s"] for name, title in names.items()]
    return [Table(f"Seconds on {clock['device']}, {clock['threads']} threads, {clock['cores']} cores", ("", ""), rows)]


def _mean(entry: dict[str, Any] | None) -> str:
    return "–" if not entry or entry["mean"] is None else f"{number(entry['mean'])} (n {entry['n']})"


SECTIONS: dict[str, Callable[[dict[str, Any]], list[Table]]] = {
    "any_to_any": any_to_any,
    "wording": wording,
    "composition": composition,
    "bridging": bridging,
    "coherence": coherence,
    "extras": extras,
    "motions": motions,
    "synchrony": synchrony,
    "distances": distances,
    "variety": variety,
    "timing": timing,
}
"""The tables of every measure, in the order of the report."""
