"""Variety: are different seeds different pictures, and are they more than copies of training pictures?"""

from typing import Any

import torch

from ....data.augment import over_white
from ....evaluation.distances import mean_pairwise_distance, near_copies, pixel_distances
from ....modality import Modality
from ....prompts.image import to_pixel_values
from .bench import Bench
from .judging import judge_images

PROMPT = "a cat"
CHUNK = 512


def measure(bench: Bench) -> dict[str, Any]:
    """Pairwise distance of seeds of "a cat" beside that of real drawings of a cat, and near copies of everything made.

    Near copies are looked for among training pictures, in pixels and in the judge's features; beside them stands the share of
    real validation pictures that would count as such, since drawings of one thing in two styles can be nearly the same.
    """
    bench.progress.begin("variety", bench.budget.seeds + 2)
    prompts = {Modality.TEXT: [PROMPT] * bench.budget.seeds}
    made = bench.make("variety", prompts, [Modality.IMAGE])[Modality.IMAGE]
    bench.show("variety", f"{len(made)} seeds", [(Modality.TEXT, PROMPT)], [(Modality.IMAGE, item) for item in made])
    records = bench.collection.records["image"]
    cats = [number for number, record in enumerate(records) if record["name"] in ("cat", "cat face")]
    real = judge_images(bench.judges, bench.collection.media("image", cats)).features if cats else torch.zeros(0, 1)
    features = judge_images(bench.judges, made).features
    bench.progress.advance(1)
    found = {
        "prompt": PROMPT,
        "seeds": len(made),
        "pairwise_distance": mean_pairwise_distance(features),
        "pairwise_distance_of_real_drawings": mean_pairwise_distance(real),
        "real_drawings": len(cats),
    }
    found |= _copies(bench, [*made, *bench.made[Modality.IMAGE]])
    bench.progress.advance(1)
    return found


@torch.no_grad()
def _copies(bench: Bench, made: list[Any]) -> dict[str, Any]:
    numbers = bench.collection.training("image", bench.budget.searched, bench.rng("near copies"))
    side = bench.judges.image.config.sample_size
    validation = bench.collection.validation("image", len(made), bench.rng("near copies among real pictures"))
    every = [*made, *bench.collection.media("image", validation)]
    pictures = to_pixel_values(every, side)
    shown = judge_images(bench.judges, every).features
    best = {name: torch.full((len(every),), torch.inf) for name in ("pixels", "features")}
    own: dict[str, list[torch.Tensor]] = {"pixels": [], "features": []}
    media = bench.collection.items("image", numbers).media
    for start in range(0, len(media), CHUNK):
        real = over_white(media[start : start + CHUNK])
        features = _features(bench, real)
        distances = {"pixels": pixel_distances(pictures, real), "features": torch.cdist(shown, features)}
        best = {name: torch.minimum(best[name], distances[name].amin(1)) for name in best}
        if sum(map(len, own["pixels"])) < bench.budget.floor:
            autoencoder = bench.pipeline.image_autoencoder
            sample = real[:: max(1, len(real) // 32)]
            back = autoencoder(sample.to(autoencoder.device, autoencoder.dtype)).float().cpu()
            own["pixels"].append((back - sample).flatten(1).square().mean(1).sqrt())
            own["features"].append((_features(bench, back) - _features(bench, sample)).norm(dim=1))
    found: dict[str, Any] = {"training_pictures_searched": len(numbers)}
    for name, nearest in best.items():
        limit = torch.cat(own[name])
        found[f"near_copies_in_{name}"] = near_copies(nearest[: len(made)], limit)
        if validation:
            found[f"near_copies_of_real_in_{name}"] = near_copies(nearest[len(made) :], limit)
    return found


def _features(bench: Bench, pixels: torch.Tensor) -> torch.Tensor:
    judge = bench.judges.image
    return torch.cat([judge(part.to(judge.device)).features.float().cpu() for part in pixels.split(64)])
