"""What encoders of evidence and alignment by distillation are given of the stickers collection."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from ...data.chunks import Chunks, Joined, packed_texts
from ...data.evidence import EvidenceItems, EvidenceSets
from ...data.joint import JointItems
from ...data.prompted import PromptedLatents
from ...denoisers import CaptionBank
from ...modality import Modality, parse_modalities
from ...sampling.plans import CAPTION_BANK
from ...training.components import ModelFolder
from .captions import check_shards
from .made import moving_scene_of
from .scene_latents import LATENTS
from .scene_parts import Part, Source, parts_of
from .set_data import SceneSetData

NAME_BYTES, KNOWN_IN_A_FILE = 192, 8192
FIRST_OF_BANK = 10**7
"""Number of the first moving scene whose caption is in the bank: none is learned from under such a number."""


class EvidenceData(SceneSetData):
    """Latents on disk, as the denoiser of the modality learns from them.

    Attributes:
        any_scenes: of clips, as in ``ClipSetData``.
        moving_scenes: of texts, as in ``TextSetData``.
        bank_captions: how many captions of the items a new bank has, beside all names.
        bank_moving: how many captions of moving scenes.
    """

    any_scenes: int = 0
    moving_scenes: int = 0
    bank_captions: int = 4096
    bank_moving: int = 1024

    def load(self, folder: Path, parts: ModelFolder, settings: Any) -> EvidenceSets:
        """Read the shards in ``folder``."""
        check_shards(self.shards)
        modality, source = Modality(parse_modalities(settings.modality, "modality")[0]), Source(folder)
        training, held = LATENTS[modality](self, folder, parts, as_prompts(modality, settings.name_share))
        sides, names = parts_of(modality, self, source), source.names()
        known = [_known(part, parts, modality) for part in (*sides.training, sides.held)]
        bank = parts.load(CaptionBank, CAPTION_BANK) if parts.has(CAPTION_BANK) else self._bank(training, source, names)
        most = settings.network.get("num_tokens", 4) - 1
        return EvidenceSets(
            EvidenceItems(training, Joined(known[:-1]), names, most),
            EvidenceItems(held, Joined(known[-1:]), names, most),
            bank,
            is_new=not parts.has(CAPTION_BANK),
        )

    def _bank(self, items: PromptedLatents, source: Source, names: list[str]) -> CaptionBank:
        rng = np.random.default_rng(0)
        captions = items.draw_texts(rng, items.draw_items(rng, self.bank_captions)) if self.bank_captions else []
        for number in range(self.bank_moving):
            wordings = moving_scene_of(source.drawings, source.sounds, (FIRST_OF_BANK + number, False), False)[1]
            captions.append(wordings[rng.integers(len(wordings))])
        known = set(names)
        captions = [text for text in dict.fromkeys(captions) if text not in known]
        return CaptionBank.of(items.embedded([*names, *captions]), len(names))


class JointData(SceneSetData):
    """Pairs of latents on disk, row by row of the same things: those of the shards, and scenes.

    With pictures the scenes are still, else they move.
    """

    def load(self, folder: Path, parts: ModelFolder, settings: Any) -> tuple[JointItems, JointItems]:
        """Read the pairs of ``settings.pair`` in ``folder``; (training, validation)."""
        if self.shards:  # clips and their sounds are all made
            check_shards(self.shards)
        pair = [Modality(name) for name in parse_modalities(settings.pair, "pair")]
        both = {m: LATENTS[m](self._values(pair), folder, parts, as_prompts(m, 0.3)) for m in pair}
        training, held = (JointItems({m: sides[side] for m, sides in both.items()}) for side in (0, 1))
        return training, held

    def _values(self, pair: list[Modality]) -> Any:
        return self if Modality.IMAGE in pair else SimpleNamespace(**self.model_dump(), in_motion=True)


def as_prompts(modality: str, name_share: float) -> SimpleNamespace:
    """Settings with which latents on disk are the same as those that denoisers learned from."""
    return SimpleNamespace(prompt_shares={modality: 1.0}, name_share=name_share, detail_share=1.0)


def _known(part: Part, parts: ModelFolder, modality: str) -> Chunks:
    def make(first: int, last: int) -> dict[str, torch.Tensor]:
        things, beats = part.known(first, last)
        return {"things": packed_texts(things, NAME_BYTES), "beats": torch.from_numpy(beats)}

    return Chunks(parts.cache(f"{modality}-things") / part.name, part.count, make, KNOWN_IN_A_FILE)
