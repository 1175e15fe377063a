"""The evidence of names of a trained model: what latents of each name look like, by the model's own predictions.

A template is the mean latent that a denoiser predicts from pure noise when it is prompted by the name. Nothing is learned.

python -m opencodi.collections.stickers.evidence MODEL [--data FOLDER]
"""

import argparse
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ...data.shards import concepts_in, find_data, load_concepts
from ...errors import OpenCoDiError
from ...extras import NameEvidence
from ...modality import Modality
from ...pipeline import AnyToAnyPipeline
from ...training.components import save_component
from .anchors import LEAST_SOUNDS, SOUNDS

NAME = "name_evidence"
BATCH_SIZE = 64
NOISES = {Modality.IMAGE: 1, Modality.AUDIO: 3}
"""How many predictions from noise are averaged for a template."""

RESIDUAL = {Modality.TEXT: 0.0, Modality.IMAGE: 0.08, Modality.AUDIO: 0.55}
"""Measured variance of training latents around their templates (of pictures in the styles that are drawn by default)."""

AUDIO_CALIBRATION = [
    [980, 0.937, 0.399],
    [950, 0.758, 2.256],
    [925, 0.482, 4.823],
    [900, 0.239, 8.287],
    [875, 0.173, 11.560],
    [850, 0.0886, 13.977],
    [825, 0.0461, 18.045],
    [800, 0.0234, 19.018],
    [750, 0.0105, 20.348],
    [700, 0.0023, 23.086],
    [600, 0.0017, 19.538],
    [400, 0.0005, 21.111],
    [100, 0.0006, 17.754],
]
"""Weights of the template's and of the environment token's reading of a sound, fitted by cross-entropy on training sounds."""


@torch.no_grad()
def make_evidence(pipeline: AnyToAnyPipeline, names: list[str], audible: list[str], seed: int = 0) -> NameEvidence:
    """Evidence for these names.

    Args:
        pipeline: the model.
        names: N, of things.
        audible: those that have a sound.
        seed: of the noise that templates are predicted from.
    """
    generator = torch.Generator().manual_seed(seed)
    encoder = pipeline.prompt_encoders[Modality.TEXT]
    embeddings = torch.cat([encoder.encode(part).tokens[:, 0] for part in chunks(names)]).float()
    codec = pipeline.rooms.codec(Modality.TEXT)
    latents = {Modality.TEXT: torch.cat([codec.encode(part) for part in chunks(names)]).flatten(1)}
    places = {Modality.TEXT: list(range(len(names))), Modality.IMAGE: list(range(len(names)))}
    places[Modality.AUDIO] = [place for place, name in enumerate(names) if name in set(audible)]
    for modality, count in NOISES.items():
        latents[modality] = templates(pipeline, modality, embeddings[places[modality]], count, generator)
    config = {
        str(modality): {
            "count": len(made),
            "size": made.shape[1],
            "residual_variance": RESIDUAL[modality],
            "calibration": AUDIO_CALIBRATION if modality == Modality.AUDIO else None,
        }
        for modality, made in latents.items()
    }
    evidence = NameEvidence(len(names), embeddings.shape[1], config)
    evidence.embeddings.data = F.normalize(embeddings, dim=-1)
    for modality, made in latents.items():
        evidence.templates[modality].data = made.float()
        evidence.places[modality].data = torch.tensor(places[modality], dtype=torch.int16)
    return evidence


def templates(
    pipeline: AnyToAnyPipeline, modality: str, embeddings: Tensor, count: int, generator: torch.Generator
) -> Tensor:
    """What the denoiser predicts from pure noise for each embedding [n, D], averaged over ``count`` noises: [n, numbers]."""
    denoiser = pipeline.rooms.denoisers([modality], pipeline.rooms.call([modality], (), None))[modality]
    scheduler, shape = pipeline.scheduler, pipeline.rooms.latent_shape(modality, 1, {})[1:]
    last = len(scheduler.alphas_cumprod) - 1
    alpha, sigma = scheduler.alphas_cumprod[last].sqrt(), (1 - scheduler.alphas_cumprod[last]).sqrt()
    made = []
    for part in embeddings.split(BATCH_SIZE):
        total = torch.zeros(len(part), *shape)
        for _ in range(count):
            noise = torch.randn(len(part), *shape, generator=generator)
            prompt = denoiser.context(part[:, None])
            velocity = denoiser(noise, torch.full((len(part),), last), prompt).float()
            total += (alpha * noise - sigma * velocity) / count
        made.append(total.flatten(1))
    return torch.cat(made)


def chunks(items: list[str], size: int = 256) -> list[list[str]]:
    """Parts of a list."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def main() -> None:
    """Read the arguments, make the evidence and put it into the model folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", help="folder of shards; by default OPENCODI_DATA")
    given = parser.parse_args()
    data = find_data(given.data)
    concepts = load_concepts(data)
    heard = concepts_in(data, SOUNDS, LEAST_SOUNDS) & concepts.keys()
    pipeline = AnyToAnyPipeline.from_pretrained(given.model)
    names = [concept["name"] for concept in concepts.values()]
    evidence = make_evidence(pipeline, names, [concepts[code]["name"] for code in heard])
    save_component(evidence, given.model / NAME)
    print(f"{given.model / NAME}: {evidence.config.num_names} names, {len(heard)} of them with a sound")


if __name__ == "__main__":
    try:
        main()
    except OpenCoDiError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
