"""Sounds of concepts: soundfont instruments and effects, and recordings, cut to 1.5 s.

``sounds.yaml`` beside this file says which presets and which recordings belong to which emoji.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

import yaml

from .emoji import Emoji
from .libraries import version
from .recordings import LENGTH, cut, find_recordings
from .shards import Item, Plan
from .soundfonts import Note, notes_of, render
from .sources import SOUNDFONTS, Package
from .waves import SAMPLE_RATE, encode_opus, read_wave, resample

SOUNDS = Path(__file__).with_name("sounds.yaml")
SPEEDS = {"instrument": ((1, 1),), "effect": ((1, 1), (9, 10), (10, 9), (4, 5), (5, 4))}
"""Kind of note → playing speeds as (samples out, samples in). Effects ignore the key, so only their speed varies."""
NOTES_PER_RUN = 50
COMPRESSION = 0.9


def plan_sounds(concepts: Mapping[str, Emoji], folders: Mapping[Package, Path], made_from: Iterable[str]) -> Plan:
    """The shard of sounds: soundfont by soundfont, then the recordings of emoji after emoji.

    folders: package → folder of its content.
    """
    sounds = yaml.safe_load(SOUNDS.read_text(encoding="utf-8"))
    by_emoji = {row.emoji.replace("\ufe0f", ""): row for row in concepts.values()}

    units: list[partial] = []
    for soundfont, package in SOUNDFONTS.items():
        notes = [(by_emoji.get(note.emoji.replace("\ufe0f", "")), note) for note in notes_of(soundfont, sounds)]
        known = [(concept, note) for concept, note in notes if concept]
        for start in range(0, len(known), NOTES_PER_RUN):
            units.append(partial(_play, package, folders[package], known[start : start + NOTES_PER_RUN]))
    files = find_recordings(folders)
    for emoji, pattern in sounds["recordings"].items():
        concept = by_emoji.get(emoji.replace("\ufe0f", ""))
        for name in sorted(name for name in files if concept and re.match(pattern, name)):
            units.append(partial(_record, concept, *files[name]))

    made_from = (*made_from, *map(version, ("av", "scipy", "mido", "soundfile")))
    return Plan("sounds", made_from, units, lambda unit: unit(), units_per_part=50)


def _play(package: Package, folder: Path, notes: list[tuple[Emoji, Note]]) -> Iterator[Item]:
    """Notes of one soundfont, each at all speeds of its kind."""
    waves = render(package.name, folder, [note for _, note in notes])
    for (concept, note), wave in zip(notes, waves):
        for out, given in SPEEDS[note.kind]:
            for samples in cut(resample(wave, out, given)[:LENGTH], most=1):
                fields = {
                    "concept": concept.code,
                    "dur": round(len(samples) / SAMPLE_RATE, 3),
                    "kind": note.kind,
                    "source": package.name,
                    "licence": package.licence,
                    "detail": f"bank {note.bank} program {note.program} key {note.key}",
                    "speed": round(given / out, 2),
                    "name": concept.name,
                    "group": concept.group,
                }
                yield Item(encode_opus(samples, COMPRESSION), "ogg", fields)


def _record(concept: Emoji, file: Path, package: Package) -> Iterator[Item]:
    """The loud pieces of one recording."""
    for index, samples in enumerate(cut(read_wave(file))):
        fields = {
            "concept": concept.code,
            "dur": round(len(samples) / SAMPLE_RATE, 3),
            "kind": "recording",
            "source": package.name,
            "licence": package.licence,
            "detail": f"{file.name}#{index}",
            "name": concept.name,
            "group": concept.group,
        }
        yield Item(encode_opus(samples, COMPRESSION), "ogg", fields)
