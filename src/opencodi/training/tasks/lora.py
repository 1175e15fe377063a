"""Fine-tuning a finished denoiser on a few items of one's own: low-rank adapters learn, everything else is frozen."""

from typing import Any

import numpy as np
import torch
from pydantic import Field

from ...denoisers import ComposedDenoiser, UNet
from ...errors import ConfigurationError
from ...extras.manner import MannerReader
from ...modality import MODALITIES
from ..composed import in_order, load_maps
from ..lora import LoraFile, LoraValues, add_lora
from ..recipe import Values
from .diffusers import AudioDiffuserTask, DiffuserTask, ImageDiffuserTask


class LoraTask(DiffuserTask):
    """The loss of a diffuser, of which only a low-rank adapter learns; the adapter is all that the run writes."""

    class Settings(Values):
        """How it learns; ``prompt_shares``, ``name_share``, ``condition_noise`` and ``scheduler`` as for every diffuser.

        Attributes:
            lora: what the adapter is.
            style: the style attribute that the model gives to prompts that name none (``extras.unnamed_style``). The adapter
                learns beside it. Empty: none.
            style_share: share of the items that have it.
        """

        scheduler: dict[str, Any]
        prompt_shares: dict[str, float]
        name_share: float
        condition_noise: float
        lora: LoraValues = Field(default_factory=LoraValues)
        style: str = ""
        style_share: float = 0.5
        prompt_map_steps: int = 0
        prompt_map_weight: float = 0.0

    @property
    def written(self) -> str:
        """What the run writes: ``image_lora``."""
        return f"{self.modality}_lora"

    def compose(self) -> ComposedDenoiser:
        """The finished denoiser with its maps, and a new adapter in it."""
        record = MODALITIES[self.modality]
        denoiser = self.parts.load(UNet, self.component)
        add_lora(denoiser, self.component, self.settings.lora)
        maps = load_maps(self.parts, self.modality)
        self.style = self._style() if self.settings.style else None
        self.trained = {self.written: LoraFile(denoiser, record.denoiser)}
        return ComposedDenoiser(denoiser, extras=in_order(maps))

    def _style(self) -> torch.Tensor:
        """The style attribute of the settings [M]."""
        reader = self.parts.load(MannerReader, "manner_reader")
        if self.settings.style not in reader.config.styles:
            known = ", ".join(reader.config.styles)
            raise ConfigurationError(f"settings: style: {self.settings.style!r} is not one of {known}; correct it")
        told = torch.zeros(reader.num_manners)
        told[list(reader.config.styles).index(self.settings.style)] = 1
        return told

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> dict[str, torch.Tensor]:
        """As for every diffuser; ``style_share`` of the items have the style attribute."""
        batch = super().sample_batch(rng, batch_size)
        if self.style is not None:
            told = torch.from_numpy(rng.random(batch_size) < self.settings.style_share)
            prompted = batch["condition"].norm(dim=1) > 0
            batch["manner"] = (told & prompted)[:, None] * self.style
        return batch

    def components(self) -> dict[str, Any]:
        """The adapter."""
        return dict(self.trained)


class ImageLoraTask(LoraTask, ImageDiffuserTask):
    """A style or things of one's own for pictures."""


class AudioLoraTask(LoraTask, AudioDiffuserTask):
    """Sounds of one's own."""
