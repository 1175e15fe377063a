"""What a prepared folder holds: counts, sizes, durations, duplicates, and a gallery to look at and listen to."""

import base64
import html
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import CollectionError
from ..media import Audio, Video, sample_frames
from ..media.partial import partial_file
from ..modality import MODALITIES, Modality
from .prepared import PreparedFolder, having, modalities_in, read_list

THUMBNAIL, HEARD_SECONDS, SEEN_FRAMES = 160, 4.0, 8
MEASURES = ("width", "height", "seconds", "sample_rate", "fps", "frames")


@dataclass
class Report:
    """What a folder holds.

    Attributes:
        samples, held: how many, and how many of them are for validation.
        skipped: left out when it was prepared.
        modalities: {modality: samples that have it}.
        pairs: {(modality, modality): samples that have both}.
        measures: {modality: {measure: (smallest, median, largest)}}; for text the characters of a caption.
        duplicates: groups of keys of samples that hold the same medium.
        damaged: what cannot be used.
    """

    samples: int
    held: int
    skipped: int
    modalities: dict[str, int]
    pairs: dict[tuple[str, str], int]
    measures: dict[str, dict[str, tuple[float, float, float]]]
    duplicates: list[list[str]]
    damaged: list[str]


def inspect(folder: PreparedFolder) -> Report:
    """Read every medium's bytes and compare them with their checksums; nothing is decoded."""
    records = folder.records
    counts = {name: len(having(records, name)) for name in MODALITIES}
    pairs: Counter[tuple[str, str]] = Counter()
    same: dict[str, list[str]] = defaultdict(list)
    damaged = []
    for position, record in enumerate(records):
        present = modalities_in(record)
        pairs.update(combinations(present, 2))
        for name in present:
            if name == Modality.TEXT:
                continue
            same[record[name]["sha256"]].append(record["key"])
            try:
                intact = folder.is_intact(position, name)
            except CollectionError as error:
                intact = False
                damaged.append(str(error))
            else:
                damaged += [] if intact else [f"{record['tar']}: {record[name]['file']} has other bytes"]
    return Report(
        samples=len(records),
        held=sum(folder.held),
        skipped=sum("bad" in each for shard in folder.shards for each in read_list(folder.path, shard)),
        modalities={name: count for name, count in counts.items() if count},
        pairs=dict(pairs),
        measures=_measures(records),
        duplicates=[keys for keys in same.values() if len(set(keys)) > 1],
        damaged=list(dict.fromkeys(damaged)),
    )


def _measures(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, tuple[float, float, float]]]:
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        for caption in record.get(Modality.TEXT, ()):
            values[Modality.TEXT]["characters"].append(len(caption))
        for name in modalities_in(record):
            for measure in MEASURES if name != Modality.TEXT else ():
                if measure in record[name]:
                    values[name][measure].append(record[name][measure])
    return {
        name: {measure: (min(each), float(np.median(each)), max(each)) for measure, each in found.items()}
        for name, found in values.items()
    }


def write_gallery(folder: PreparedFolder, path: Path, count: int = 60) -> None:
    """Write one HTML file with up to ``count`` samples, evenly spread, that needs no other file.

    Raises:
        CollectionError: if a medium is damaged.
    """
    chosen = np.unique(np.linspace(0, len(folder) - 1, min(count, len(folder))).round().astype(int))
    cards = "\n".join(_card(folder, int(position)) for position in chosen)
    title = html.escape(f"{len(folder):,} samples, of which {len(chosen)} are shown")
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 14px system-ui, sans-serif; margin: 2em; background: #f6f6f4; color: #222 }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax({THUMBNAIL + 30}px, 1fr)); gap: 12px }}
article {{ background: #fff; border-radius: 8px; padding: 10px; overflow-wrap: anywhere }}
img, audio {{ max-width: 100% }} small {{ color: #666 }}
</style></head><body><h1>{title}</h1><main>
{cards}
</main></body></html>
"""
    with partial_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
        temporary.replace(path)


def _card(folder: PreparedFolder, position: int) -> str:
    record, parts = folder.records[position], []
    for name in modalities_in(record):
        medium = folder.media(position, name)
        if name == Modality.TEXT:
            parts += [f"<p>{html.escape(caption)}</p>" for caption in medium]
        elif isinstance(medium, Image.Image):
            parts.append(_picture([medium], 1.0))
        elif isinstance(medium, Video):
            frames = sample_frames(medium, min(SEEN_FRAMES, len(medium.frames)))
            parts.append(_picture([Image.fromarray(frame) for frame in frames.frames], frames.fps))
        elif isinstance(medium, Audio):
            parts.append(_sound(medium))
    side = " · validation" if folder.held[position] else ""
    source = html.escape(str(record["source"]))
    return f"<article>{''.join(parts)}<small>{record['key']} · {source}{side}</small></article>"


def _picture(frames: Sequence[Image.Image], fps: float) -> str:
    small = [frame.convert("RGB") for frame in frames]
    for frame in small:
        frame.thumbnail((THUMBNAIL, THUMBNAIL))
    content = BytesIO()
    moving = {"save_all": True, "append_images": small[1:], "duration": round(1000 / fps), "loop": 0}
    small[0].save(content, "WEBP", quality=80, **(moving if len(small) > 1 else {}))
    return f'<img alt="" src="data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}">'


def _sound(audio: Audio) -> str:
    import soundfile

    content = BytesIO()
    samples = audio.samples[: round(HEARD_SECONDS * audio.sample_rate)]
    soundfile.write(content, samples, audio.sample_rate, format="WAV", subtype="PCM_16")
    return f'<audio controls src="data:audio/wav;base64,{base64.b64encode(content.getvalue()).decode()}"></audio>'
