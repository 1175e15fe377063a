"""Instruments and effects, rendered from soundfonts by FluidSynth."""

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from .libraries import require
from .waves import SAMPLE_RATE, resample

FILES = {
    "fluid-soundfont-gm": "usr/share/sounds/sf2/FluidR3_GM.sf2",
    "timgm6mb-soundfont": "usr/share/sounds/sf2/TimGM6mb.sf2",
    "fluid-soundfont-gs": "usr/share/sounds/sf2/FluidR3_GS.sf2",
}
DRUMS = 128
"""The bank of drum kits; MIDI gives them a channel of their own."""
DRUM_CHANNEL = 9
SLOT = 2.5
"""Seconds from one note to the next."""
TICKS_PER_SECOND = 960
DEEP = {0, 1, 3, 4, 6, 16, 19, 24, 25, 26, 27, 28, 29, 30, 42, 58, 60, 61, 67}
"""General MIDI programs (pianos, organs, guitars, horns, …) that are played from key 40 up; others from key 52."""


@dataclass(frozen=True)
class Note:
    """One note: of which emoji it is the sound, the preset, the key and velocity (0–127), the seconds it is held."""

    emoji: str
    kind: str
    bank: int
    program: int
    key: int
    velocity: int
    seconds: float


def notes_of(soundfont: str, sounds: Mapping[str, Mapping[str, Any]]) -> list[Note]:
    """Every note that one soundfont plays, in the order of the shard. sounds: the content of ``sounds.yaml``."""
    general = soundfont != "fluid-soundfont-gs"
    full = soundfont == "fluid-soundfont-gm"
    notes = []
    for emoji, presets in sounds["instruments"].items() if general else ():
        for bank, program in presets:
            if bank and not full:
                continue  # the small soundfont has the first bank only
            lowest = 40 if program in DEEP else 52
            for key in range(lowest, lowest + 33, 4 if full else 8):
                for seconds, velocity in ((1.2, 100), (0.4, 80)) if full else ((0.8, 100),):
                    notes.append(Note(emoji, "instrument", bank, program, key, velocity, seconds))
    for emoji, keys in sounds["drums"].items() if general else ():
        for kit in (0, 8, 16, 32, 40) if full else (0, 8):
            notes += [Note(emoji, "instrument", DRUMS, kit, key, 100, 0.8) for key in keys]
    for emoji, presets in sounds["effects" if general else "gs_effects"].items():
        notes += [Note(emoji, "effect", bank, program, 60, 110, 2.4) for bank, program in presets]
    return notes


def render(soundfont: str, folder: Path, notes: Sequence[Note]) -> list[np.ndarray]:
    """Each note as float [2.5 s at 16 kHz], all in one run of FluidSynth. folder: of the unpacked package."""
    with tempfile.TemporaryDirectory() as scratch:
        score, wave = Path(scratch) / "notes.mid", Path(scratch) / "notes.wav"
        write_score(notes, score)
        settings = ["-n", "-i", "-q", "-o", "synth.midi-bank-select=gs", "-R", "0", "-C", "0", "-g", "0.6"]
        rate = ["-r", str(2 * SAMPLE_RATE), "-F", str(wave)]
        subprocess.run(
            ["fluidsynth", *settings, *rate, str(folder / FILES[soundfont]), str(score)],
            check=True,
            capture_output=True,
        )
        samples, sample_rate = soundfile.read(wave, always_2d=True)
    samples = resample(samples.mean(axis=1), SAMPLE_RATE, sample_rate)
    slot = int(SLOT * SAMPLE_RATE)
    return [samples[index * slot : (index + 1) * slot] for index in range(len(notes))]


def write_score(notes: Sequence[Note], file: Path) -> None:
    """A MIDI file at 120 beats a minute that plays one note in every slot of 2.5 s and silences it at the end."""
    mido = require("mido", "writing a score")
    score = mido.MidiFile(ticks_per_beat=TICKS_PER_SECOND // 2)
    track = mido.MidiTrack()
    score.tracks.append(track)
    for note in notes:
        channel = DRUM_CHANNEL if note.bank == DRUMS else 0
        held, slot = int(TICKS_PER_SECOND * note.seconds), int(TICKS_PER_SECOND * SLOT)
        if note.bank != DRUMS:
            track.append(mido.Message("control_change", channel=channel, control=0, value=note.bank))
        track += [
            mido.Message("program_change", channel=channel, program=note.program),
            mido.Message("note_on", channel=channel, note=note.key, velocity=note.velocity),
            mido.Message("note_off", channel=channel, note=note.key, velocity=0, time=held),
            mido.Message("control_change", channel=channel, control=120, value=0, time=slot - held),
        ]
    score.save(file)
