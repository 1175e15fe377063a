"""Sets of items that are made rather than read: pictures in procedural motion and sounds on their beat."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from ...data.paired import PairedSet, Prompts
from ...data.shards import Items, concepts_in, load_audio, load_images
from ...errors import ConfigurationError
from ...latents import AudioAutoencoder, ImageAutoencoder
from ...modality import Modality
from ...training.components import ModelFolder
from .captions import PROCEDURAL_CLIPS, PROCEDURAL_SOUNDS, moving_captions
from .motion import MOTIONS, NUM_FRAMES, animate, draw_beat
from .paired_sets import clip_set, of_styles, recording_set
from .prompt_sets import text_prompts
from .soundtrack import soundtrack
from .splits import split

STILLS, SOUNDS = ("images",), ("sounds",)
"""Shards that are set in motion and that are played on the beat."""


def procedural_clips(
    data: Path,
    count: int,
    styles: Sequence[str],
    ways: int,
    parts: ModelFolder,
    name_share: float,
    kinds: Collection[str],
) -> tuple[PairedSet, PairedSet]:
    """(training, validation) ``count`` clips in all: stills of these styles (all, if none is named) in motion (``animated``).

    A still and its clips fall on the same side of the split. Prompts are those of ``pairs.clip_set``, but the plain name of a
    thing that has a real clip means that clip.
    """
    autoencoder = parts.load(ImageAutoencoder, "image_autoencoder")
    stills = of_styles(load_images(data, STILLS), styles)
    training, validation = (
        clip_set(
            animated(part, share, np.random.default_rng(side), ways),
            data,
            {PROCEDURAL_CLIPS: 1.0},
            parts,
            name_share,
            kinds,
            autoencoder,
        )
        for side, (part, share) in enumerate(_shares(split(stills), count))
    )
    animated_anyway = concepts_in(data, "videos")
    for made in (training, validation):
        texts = made.prompts["text"]
        texts.rows = [rows[code in animated_anyway :] for rows, code in zip(texts.rows, made.concepts)]
    return training, validation


def still_clips(
    data: Path, count: int, styles: Sequence[str], parts: ModelFolder, name_share: float, kinds: Collection[str]
) -> tuple[PairedSet, PairedSet]:
    """(training, validation) ``count`` clips in all that show a still at rest, of things that have no real clip.

    Captions name a motion or none: it is no matter of the frames, but of where they are seen (``prompts.manner``).
    """
    autoencoder = parts.load(ImageAutoencoder, "image_autoencoder")
    stills, animated_anyway = of_styles(load_images(data, STILLS), styles), concepts_in(data, "videos")
    stills = stills.subset([i for i, each in enumerate(stills.records) if each["concept"] not in animated_anyway])
    rest = data, {PROCEDURAL_CLIPS: 1.0}, parts, name_share, kinds, autoencoder
    training, validation = (
        clip_set(at_rest(part, share, np.random.default_rng(side)), *rest)
        for side, (part, share) in enumerate(_shares(split(stills), count))
    )
    return training, validation


def told_to_move(clips: PairedSet, parts: ModelFolder) -> PairedSet:
    """The same clips, whose captions may also name a motion: they show what they show, and move besides."""
    captions = [[text for motion in MOTIONS.values() for text in moving_captions(name, motion)] for name in clips.names]
    known, more = clips.prompts["text"], text_prompts((), captions, [], parts)["text"]
    rows = [
        np.concatenate([mine, len(known.tokens) + np.asarray(theirs)]) for mine, theirs in zip(known.rows, more.rows)
    ]
    clips.prompts["text"] = Prompts(torch.cat([known.tokens, more.tokens]), rows)
    return clips


def procedural_sounds(
    data: Path, count: int, ways: int, parts: ModelFolder, name_share: float, kinds: Collection[str]
) -> tuple[PairedSet, PairedSet]:
    """(training, validation) ``count`` sounds in all: recordings played on the beat of a motion (``on_the_beat``)."""
    autoencoder = parts.load(AudioAutoencoder, "audio_autoencoder")
    training, validation = (
        recording_set(
            on_the_beat(part, share, np.random.default_rng(side), ways),
            data,
            {PROCEDURAL_SOUNDS: 1.0},
            parts,
            name_share,
            kinds,
            autoencoder,
        )
        for side, (part, share) in enumerate(_shares(split(load_audio(data, SOUNDS)), count))
    )
    return training, validation


def synchronous_pairs(
    data: Path, count: int, styles: Sequence[str], parts: ModelFolder, kinds: Collection[str] = ()
) -> tuple[dict[Modality, PairedSet], dict[Modality, PairedSet]]:
    """(training, validation) clips and, at the same position, the sound that hits when the picture does.

    ``count`` in all. Positions 2k and 2k + 1 are the same still, recording and motion on two different beats
    (``data.paired.other_beat``). Validation has stills of its own, not recordings of its own: it measures the beat.

    Raises:
        ConfigurationError: if no picture of these styles has a sound.
    """
    images = parts.load(ImageAutoencoder, "image_autoencoder")
    sounds = parts.load(AudioAutoencoder, "audio_autoencoder")
    stills, recordings = of_styles(load_images(data, STILLS), styles), load_audio(data, SOUNDS)
    heard = {record["concept"] for record in recordings.records}
    stills = stills.subset([i for i, record in enumerate(stills.records) if record["concept"] in heard])
    if not stills.records:
        raise ConfigurationError("styles: no picture of these styles has a sound of its concept; name others")
    sides = []
    for side, (part, share) in enumerate(_shares(split(stills), count)):
        clips, tracks = two_beats(part, recordings, -(-share // 2), np.random.default_rng(side))
        rest = (parts, 0.0, kinds)
        sides.append(
            {
                Modality.VIDEO: clip_set(clips, data, {PROCEDURAL_CLIPS: 1.0}, *rest, images),
                Modality.AUDIO: recording_set(tracks, data, {PROCEDURAL_SOUNDS: 1.0}, *rest, sounds),
            }
        )
    return sides[0], sides[1]


def animated(stills: Items, count: int, rng: np.random.Generator, ways: int = 0) -> Items:
    """``count`` clips of stills in random motion; each still is used once before one is used again.

    ``ways``: in how many ways (beat, size, direction) each motion goes; 0: in a new one every time.
    """
    chosen = list(_in_turn(len(stills), count, rng))
    motions = rng.choice(list(MOTIONS), count)
    of_way = [np.random.default_rng(int(rng.integers(ways))) if ways else rng for _ in chosen]
    clips = [animate(stills.media[i], str(m), way)[0] for i, m, way in zip(chosen, motions, of_way)]
    return Items(np.stack(clips), _records(stills, chosen, motions, PROCEDURAL_CLIPS))


def at_rest(stills: Items, count: int, rng: np.random.Generator) -> Items:
    """``count`` clips whose frames all show the same still, each under the name of a random motion."""
    chosen = list(_in_turn(len(stills), count, rng))
    motions = rng.choice(list(MOTIONS), count)
    clips = np.repeat(stills.media[chosen, None], NUM_FRAMES, axis=1)
    return Items(clips, _records(stills, chosen, motions, PROCEDURAL_CLIPS))


def on_the_beat(recordings: Items, count: int, rng: np.random.Generator, ways: int = 0) -> Items:
    """``count`` recordings played on the beat of a random motion; ``ways`` as in ``animated``."""
    chosen = list(_in_turn(len(recordings), count, rng))
    motions = rng.choice(list(MOTIONS), count)
    of_way = [np.random.default_rng(int(rng.integers(ways))) if ways else rng for _ in chosen]
    beats = [draw_beat(str(motion), way) for motion, way in zip(motions, of_way)]
    tracks = [soundtrack(recordings.media[i], beat.impacts) for i, beat in zip(chosen, beats)]
    return Items(np.stack(tracks), _records(recordings, chosen, motions, PROCEDURAL_SOUNDS))


def two_beats(stills: Items, recordings: Items, count: int, rng: np.random.Generator) -> tuple[Items, Items]:
    """(clips, sounds), 2 * ``count`` of each: ``count`` stills, each moving and sounding on two different beats."""
    chosen = np.repeat(list(_in_turn(len(stills), count, rng)), 2)
    motions = np.repeat(rng.choice(list(MOTIONS), count), 2)
    clips, tracks, beat = [], [], None
    for position, (still, motion) in enumerate(zip(chosen, motions)):
        if position % 2 == 0:
            beat, concept = None, stills.records[still]["concept"]
            fitting = [i for i, record in enumerate(recordings.records) if record["concept"] == concept]
            recording, seed = recordings.media[rng.choice(fitting)], int(rng.integers(2**62))
        beat = draw_beat(str(motion), rng, other_than=beat)
        # The same seed for both: size and amplitude are equal, only the beat differs.
        clip, impacts = animate(stills.media[still], str(motion), np.random.default_rng(seed), beat)
        clips.append(clip)
        tracks.append(soundtrack(recording, impacts))
    return (
        Items(np.stack(clips), _records(stills, chosen, motions, PROCEDURAL_CLIPS)),
        Items(np.stack(tracks), _records(stills, chosen, motions, PROCEDURAL_SOUNDS)),
    )


def _shares(sides: tuple[Items, Items], count: int) -> list[tuple[Items, int]]:
    """Each side with its part of ``count``, at least 1."""
    if not all(side.records for side in sides):
        raise ConfigurationError("styles: too few items to set some aside for validation; name more styles")
    total = sum(len(side) for side in sides)
    return [(side, max(1, round(count * len(side) / total))) for side in sides]


def _in_turn(size: int, count: int, rng: np.random.Generator) -> Iterator[int]:
    """``count`` positions below ``size``: every one once in a random order, then again."""
    rounds = -(-count // size)
    return iter(np.concatenate([rng.permutation(size) for _ in range(rounds)])[:count])


def _records(items: Items, chosen: Sequence[int], motions: Sequence[str], shard: str) -> list[dict]:
    return [{**items.records[i], "shard": shard, "motion": str(motion)} for i, motion in zip(chosen, motions)]
