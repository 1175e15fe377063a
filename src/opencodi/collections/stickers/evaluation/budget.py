"""How many samples an evaluation takes."""

from collections.abc import Mapping
from dataclasses import dataclass

from ....modality import Modality


@dataclass(frozen=True)
class Budget:
    """Numbers of samples; clips have their own, since one costs as much as all other outputs of a dozen prompts.

    Attributes:
        table: prompts of one cell of the any-to-any table, by output.
        single_inputs: about how many times as many of a single input: validation items, few of them repeatedly.
        clips_from_all: make clips from all input sets, not only from single inputs and from all together.
        composition: prompts of each composition.
        coherence: samples of each vague prompt, by whether a clip is among the outputs.
        vague_prompts: how many of the vague prompts are used.
        ways: inputs of each way on which extras are compared.
        vague_samples: samples of each vague prompt on which extras are compared.
        motions: clips that are made for named motions.
        synchrony: clips with sound that are made for the synchrony measure.
        gallery: most concepts in a retrieval gallery.
        reconstructions: validation items sent through the autoencoders.
        floor: training items of each kind compared with validation items.
        seeds: samples of one prompt for variety.
        searched: training pictures in which near copies are looked for; None: all.
        spoken: spoken words recognised for the ceiling of the word judge.
        spoken_names: names that the model speaks, to be recognised.
        wording_seeds: samples of each free wording.
        repeats: runs of each timing.
    """

    table: Mapping[Modality, int]
    single_inputs: int
    clips_from_all: bool
    composition: int
    coherence: Mapping[bool, int]
    vague_prompts: int
    ways: int
    vague_samples: int
    motions: int
    synchrony: int
    gallery: int
    reconstructions: int
    floor: int
    seeds: int
    searched: int | None
    spoken: int
    spoken_names: int
    wording_seeds: int
    repeats: int


FULL = Budget(
    table={Modality.TEXT: 32, Modality.IMAGE: 16, Modality.VIDEO: 6, Modality.AUDIO: 16},
    single_inputs=2,
    clips_from_all=True,
    composition=24,
    coherence={True: 5, False: 12},
    vague_prompts=4,
    ways=24,
    vague_samples=5,
    motions=24,
    synchrony=8,
    gallery=300,
    reconstructions=200,
    floor=300,
    seeds=16,
    searched=None,
    spoken=100,
    spoken_names=48,
    wording_seeds=4,
    repeats=3,
)

QUICK = Budget(
    table={Modality.TEXT: 12, Modality.IMAGE: 6, Modality.VIDEO: 1, Modality.AUDIO: 6},
    single_inputs=1,
    clips_from_all=False,
    composition=8,
    coherence={True: 1, False: 4},
    vague_prompts=2,
    ways=2,
    vague_samples=1,
    motions=6,
    synchrony=4,
    gallery=50,
    reconstructions=32,
    floor=50,
    seeds=6,
    searched=1500,
    spoken=24,
    spoken_names=6,
    wording_seeds=1,
    repeats=1,
)
