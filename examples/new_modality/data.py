"""What the recipes of piano rolls learn from: a motif for each of eight things, and the two tasks. A collection of its own."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from opencodi.collections import add_collection
from opencodi.data.paired import PairedSet, Prompts
from opencodi.denoisers import UNet
from opencodi.prompts import TextPromptEncoder
from opencodi.training.components import ModelFolder, build_network
from opencodi.training.contrastive import info_nce
from opencodi.training.recipe import Count, Values
from opencodi.training.task import Task
from opencodi.training.tasks.diffusers import DiffuserTask

from .piano_rolls import KEYS, STEPS, PianoRoll, RollAutoencoder, RollCodec, RollPromptEncoder

TIME = np.arange(STEPS)
MOTIFS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "rooster": lambda rng: 8 + 5 * (TIME % 8 > 2) - 3 * (TIME % 8 > 5),
    "rocket": lambda rng: TIME,
    "droplet": lambda rng: np.where(TIME % 4 == 0, 14 - TIME // 2, -1),
    "elephant": lambda rng: np.where(TIME % 8 < 5, 1 + (TIME // 8), -1),
    "spouting whale": lambda rng: np.round(6 + 5 * np.sin(TIME * 2 * np.pi / 16)),
    "drum": lambda rng: np.where(TIME % 4 < 1, 2, np.where(TIME % 4 == 2, 9, -1)),
    "honeybee": lambda rng: 12 + TIME % 2,
    "sailboat": lambda rng: np.round(8 + 2 * np.sin(TIME * 2 * np.pi / 8)) - (TIME > 8),
}
"""The key [STEPS] at each step, -1 for none."""


def motif(name: str, rng: np.random.Generator) -> PianoRoll:
    """One variation of a thing's motif: higher or lower, later, and with a note wrong or missing."""
    keys = np.roll(MOTIFS[name](rng), rng.integers(0, 3))
    keys = np.where(keys < 0, -1, np.clip(keys + rng.integers(-1, 2), 0, KEYS - 1)).astype(int)
    keys[rng.integers(0, STEPS)] = rng.integers(-1, KEYS)
    notes = np.zeros((KEYS, STEPS), bool)
    sounding = np.flatnonzero(keys >= 0)
    notes[keys[sounding], sounding] = True
    return PianoRoll(notes)


class RollData(Values):
    """Variations of the motifs, made as they are read.

    Attributes:
        variations: of each motif.
    """

    variations: Count = 60

    def load(self, folder: Path, parts: ModelFolder, settings: Any) -> tuple[PairedSet, PairedSet]:
        """(training, validation)."""
        return self._set(0, self.variations, parts), self._set(1, 8, parts)

    @torch.no_grad()
    def _set(self, seed: int, count: int, parts: ModelFolder) -> PairedSet:
        rng = np.random.default_rng(seed)
        names = [name for name in MOTIFS for _ in range(count)]
        captions = [caption for name in MOTIFS for caption in (name, f"a {name}", f"the tune of a {name}")]
        encoder = parts.load(TextPromptEncoder, "text_prompt_encoder")
        rows = [3 * list(MOTIFS).index(name) + np.arange(3) for name in names]
        latents = RollCodec(RollAutoencoder()).encode([motif(name, rng) for name in names])
        return PairedSet(latents, names, names, {"text": Prompts(encoder.encode(captions).tokens[:, 0].cpu(), rows)}, 0.4)


class RollBridgingTask(Task):
    """Bridging alignment: piano rolls are found by text, whose encoder stays as it is."""

    class Settings(Values):
        """The network, and the temperature of InfoNCE."""

        network: dict[str, Any]
        temperature: float = 0.1

    def __init__(self, settings: Settings, data: tuple[PairedSet, PairedSet], parts: ModelFolder):
        super().__init__()
        self.settings, (self.items, self.held) = settings, data
        self.encoder = build_network(RollPromptEncoder, settings.network)
        self.autoencoder = RollAutoencoder()

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> dict[str, torch.Tensor]:
        chosen, prompts = self.items.draw_batch(rng, batch_size, {"text": 1.0})
        thing = torch.tensor([list(MOTIFS).index(self.items.names[i]) for i in chosen])
        return {"latents": self.items.latents[chosen], "thing": thing, **prompts}

    def forward(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """InfoNCE between rolls and captions, and a pull of each pair together."""
        rolls = self.encoder(self.autoencoder.decode(batch["latents"])).tokens[:, 0].float()
        same = (batch["thing"][:, None] == batch["thing"][None]).float()
        contrastive = info_nce(rolls, batch["condition"], 1 / self.settings.temperature, same)
        pull = 1 - (rolls * batch["condition"]).sum(1).mean()
        return {"loss": contrastive + pull, "contrastive": contrastive, "pull": pull}

    def validate(self, generator: torch.Generator) -> dict[str, float]:
        """The share of new variations that find their own name among all."""
        rolls = self.encoder(self.autoencoder.decode(self.held.latents)).tokens[:, 0]
        names = self.held.prompts["text"].tokens[::3]
        found = (rolls.float() @ names.T).argmax(1).tolist()
        return {"found": float(np.mean([list(MOTIFS)[i] == name for i, name in zip(found, self.held.names)]))}

    def components(self) -> dict[str, Any]:
        return {"roll_prompt_encoder": self.encoder, "roll_autoencoder": self.autoencoder}


class RollDiffuserTask(DiffuserTask):
    """Text → piano roll."""

    modality, component = "roll", "roll_denoiser"

    def network(self) -> torch.nn.Module:
        """A new ``UNet``."""
        return build_network(UNet, self.settings.network)

    def components(self) -> dict[str, Any]:
        """The denoiser; the base model has the scheduler."""
        return dict(self.trained)


TASKS = {"roll_bridging": f"{__name__}:RollBridgingTask", "roll_diffuser": f"{__name__}:RollDiffuserTask"}
DATA = {"roll_bridging": RollData, "roll_diffuser": RollData}


def find_data(folder: str | Path | None = None) -> Path:
    """There are no files: motifs are made."""
    return Path(folder or ".")


add_collection("piano_rolls", sys.modules[__name__])
