"""The judge of scenes learns from composed real pictures only, and its accuracy on fresh ones is the ceiling of every score."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ....data.augment import over_white
from ....data.soften import soften
from ....training.components import ModelFolder, build_network
from ....training.pictures import save_grid
from ....training.recipe import Values
from ....training.task import Task
from ..colours import MOODS
from ..grounds import GROUNDS
from ..scene_sampling import random_scene
from ..scenes import Scene, draw_scene
from ..things import Drawings, things
from .scene_network import SceneJudge

RELATIONS = (
    "on",
    "in",
    "under",
    "above",
    "below",
    "left of",
    "right of",
    "in front of",
    "behind",
    "wearing",
    "between",
)
"""What the judge answers; a thing that rides another is on it."""
NOWHERE, NO_MOOD = "", ""
UNKNOWN = -100
"""The label of what a scene does not say."""


@dataclass
class SceneDrawings:
    """What the judge learns from: drawings of things, from which scenes are composed."""

    drawings: Drawings


class SceneData(Values):
    """Scenes composed from the pictures of these shards; those that models must not learn from, too."""

    image_shards: tuple[str, ...] = ("images",)

    def load(self, folder: Path, parts: ModelFolder, settings: Any) -> SceneDrawings:
        """Read the shards in ``folder``."""
        from ....data.shards import load_images

        return SceneDrawings(Drawings(load_images(folder, self.image_shards)))


class SceneJudgeTask(Task):
    """Learn what scenes show: things, relation, ground, mood and style."""

    class Settings(Values):
        """Network and augmentation.

        Attributes:
            network: config values of ``SceneJudge``.
            soften_share: of the pictures that are softened as generated ones are; see ``data.soften.soften``.
            blur: standard deviation in pixels.
            quantisation: step.
            noise: standard deviation.
            colour: share.
            relation_weight: of the loss of relations.
            held: scenes to validate on, as many of them withheld from models as not.
        """

        network: dict[str, Any]
        soften_share: float
        blur: float
        quantisation: float
        noise: float
        colour: float
        relation_weight: float
        held: int

    def __init__(self, settings: Settings, data: SceneDrawings, parts: ModelFolder):
        super().__init__()
        self.settings, self.drawings = settings, data.drawings
        nouns = sorted({thing.nouns[0] for thing in things().values()})
        self.numbers = {noun: number for number, noun in enumerate(nouns)}
        self.grounds = (NOWHERE, *(name for name in GROUNDS))
        self.moods = (NO_MOOD, *MOODS)
        self.judge = build_network(
            SceneJudge, settings.network, nouns, RELATIONS, self.grounds, self.moods, self.drawings.styles
        )
        rng = np.random.default_rng(0)
        self.held = {
            name: self._batch(rng, settings.held, withheld) for name, withheld in (("known", False), ("withheld", True))
        }

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> dict[str, torch.Tensor]:
        """``pixels`` uint8 RGBA [B, H, W, 4]; labels, see ``labels``; ``soft`` seeds the softening."""
        batch = self._batch(rng, batch_size, withheld=None)
        return batch | {"soft": torch.tensor([int(rng.integers(1 << 31))])}

    def _batch(self, rng: np.random.Generator, count: int, withheld: bool | None) -> dict[str, torch.Tensor]:
        pictures, rows = [], []
        while len(pictures) < count:
            scene = random_scene(self.drawings, rng, withheld)
            picture = draw_scene(scene, self.drawings, rng)
            if picture is not None:
                pictures.append(picture)
                rows.append(self.labels(scene))
        batch = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}
        return batch | {"pixels": torch.from_numpy(np.stack(pictures))}

    def labels(self, scene: Scene) -> dict[str, np.ndarray]:
        """``shown`` [N] is 1 for every thing there is; the others number what is asked, and what is right."""
        numbers = [self.numbers[things()[name].nouns[0]] for name in scene.names]
        shown = np.zeros(len(self.numbers), np.float32)
        shown[numbers] = 1
        relation = {"riding": "on"}.get(scene.relation, scene.relation)
        known = relation in RELATIONS and len(scene.parts) > 1
        plain = scene.ground if scene.ground in self.grounds else NOWHERE
        found = {
            "first": numbers[0],
            "second": numbers[1] if len(numbers) > 1 else numbers[0],
            "relation": RELATIONS.index(relation) if known else UNKNOWN,
            "ground": self.grounds.index(plain),
            "mood": self.moods.index(scene.mood),
            "style": self.drawings.styles.index(scene.style),
        }
        return {"shown": shown, **{name: np.array(value) for name, value in found.items()}}

    def forward(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """The sum of the losses of all questions."""
        pixel_values = over_white(batch["pixels"])
        settings, rng = self.settings, np.random.default_rng(int(batch["soft"]))
        pixel_values = soften(
            pixel_values,
            rng,
            settings.soften_share,
            settings.blur,
            settings.quantisation,
            settings.noise,
            settings.colour,
        )
        found = self.judge(pixel_values)
        losses = {
            # summed over things: few of them are in a picture
            "things": F.binary_cross_entropy_with_logits(found.things, batch["shown"], reduction="sum")
            / len(pixel_values),
            "grounds": F.cross_entropy(found.grounds.float(), batch["ground"]),
            "moods": F.cross_entropy(found.moods.float(), batch["mood"]),
            "styles": F.cross_entropy(found.styles.float(), batch["style"]),
        }
        known = batch["relation"] != UNKNOWN
        answers = self.judge.relate(found.tokens, batch["first"], batch["second"]).float()
        losses["relations"] = F.cross_entropy(
            answers, batch["relation"], ignore_index=UNKNOWN, reduction="sum"
        ) / known.sum().clamp_min(1)
        total = (
            losses["things"]
            + settings.relation_weight * losses["relations"]
            + 0.3 * (losses["grounds"] + losses["moods"] + losses["styles"])
        )
        return {"loss": total, **losses}

    def validate(self, generator: torch.Generator) -> dict[str, float]:
        """On fresh scenes, those that models learn from and those withheld: shares of right answers."""
        measures = {}
        for name, batch in self.held.items():
            found = [self._answers({key: value[part] for key, value in batch.items()}) for part in _parts(batch)]
            for key in found[0]:
                measures[f"{key}_{name}"] = float(torch.cat([each[key] for each in found]).float().mean())
        return measures

    def score(self, measures: Mapping[str, float]) -> float | None:
        """The mean share of right answers."""
        return float(np.mean(list(measures.values()))) if measures else None

    def _answers(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        batch = {name: value.to(self.device) for name, value in batch.items()}
        found = self.judge(over_white(batch["pixels"]))
        relations = self.judge.relate(found.tokens, batch["first"], batch["second"]).argmax(1)
        known = batch["relation"] != UNKNOWN
        all_shown = every_thing_shown(found.things, batch["shown"])
        return {
            "all_shown": all_shown,
            "relation": (relations == batch["relation"])[known],
            "shown_and_related": (all_shown & (relations == batch["relation"]))[known],
            "ground": found.grounds.argmax(1) == batch["ground"],
            "mood": found.moods.argmax(1) == batch["mood"],
            "style": found.styles.argmax(1) == batch["style"],
        }

    def sample(self, path: Path, generator: torch.Generator) -> None:
        """A few of the scenes that are validated on."""
        save_grid(over_white(self.held["withheld"]["pixels"][:32]), path, columns=8)

    def components(self) -> dict[str, torch.nn.Module]:
        """The judge."""
        return {"scene_judge": self.judge}


def every_thing_shown(logits: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    """Whether all n things of a scene are among the n + 1 that the judge holds for likeliest. [B, N], [B, N] → bool [B]."""
    ranks = logits.argsort(1, descending=True).argsort(1)
    return (ranks <= shown.sum(1, keepdim=True)).where(shown > 0, torch.ones_like(shown, dtype=torch.bool)).all(1)


def _parts(batch: dict[str, torch.Tensor], size: int = 64) -> list[slice]:
    count = len(batch["pixels"])
    return [slice(start, start + size) for start in range(0, count, size)]
