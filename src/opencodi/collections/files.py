"""Your own files as a collection: pictures or sounds in a folder, each beside a text file of the same name, its caption."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from ..data.paired import PairedSet, Prompts
from ..errors import MediaError, TrainingError
from ..latents.audio import AudioAutoencoder, AudioCodec
from ..latents.image import ImageAutoencoder, ImageCodec
from ..media import Media, read
from ..modality import MODALITIES, Modality
from ..prompts import AudioPromptEncoder, ImagePromptEncoder, TextPromptEncoder
from ..training.components import ModelFolder
from ..training.recipe import Values

TASKS: dict[str, str] = {}
CHUNK = 64

CODECS = {Modality.IMAGE: (ImageAutoencoder, ImageCodec), Modality.AUDIO: (AudioAutoencoder, AudioCodec)}
ENCODERS = {Modality.IMAGE: ImagePromptEncoder, Modality.AUDIO: AudioPromptEncoder}


def find_data(folder: str | Path | None = None) -> Path:
    """The folder of files.

    Raises:
        TrainingError: if none is given, or it is no folder.
    """
    if folder is None:
        raise TrainingError("no training data: name the folder of your files and their captions with --data")
    if not Path(folder).is_dir():
        raise TrainingError(f"{folder} is not a folder: give the one that holds your files and their captions")
    return Path(folder)


def read_captioned(folder: Path, modality: str) -> tuple[list[Media], list[list[str]]]:
    """Every file of a modality that has a caption, in alphabetical order, and each one's captions: the lines of its text.

    Raises:
        TrainingError: if there is none, or one cannot be read.
    """
    endings = MODALITIES[modality].read_suffixes
    paths = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in endings]
    media, captions = [], []
    for path in paths:
        written = path.with_suffix(".txt")
        if not written.is_file():
            raise TrainingError(f"{written} is missing: write the caption of {path.name} there, a line for each wording")
        try:
            text = read(Modality.TEXT, written)
            media.append(read(modality, path))
        except MediaError as error:
            raise TrainingError(f"{error}; or take it out of the folder") from error
        captions.append([line.strip() for line in text.splitlines() if line.strip()])
    if not media:
        raise TrainingError(f"{folder} holds no {modality} ({', '.join(endings[:4])} …): name the folder of your files")
    return media, captions


class CaptionedFiles(Values):
    """A folder of files of one modality.

    Attributes:
        held_share: share of the files that are only measured, not learned from; at least one.
    """

    held_share: float = Field(default=0.1, gt=0, lt=1)
    modality: Modality = Modality.IMAGE

    def load(self, folder: Path, parts: ModelFolder, settings: Any) -> tuple[PairedSet, PairedSet]:
        """Read the folder; (training, validation). Which are held out depends on their number alone."""
        media, captions = read_captioned(folder, self.modality)
        held = np.linspace(0, len(media) - 1, max(1, round(self.held_share * len(media)))).astype(int)
        learned = np.setdiff1d(np.arange(len(media)), held) if len(media) > 1 else held
        training, validation = (
            self._set([media[i] for i in chosen], [captions[i] for i in chosen], parts, settings)
            for chosen in (learned, held)
        )
        return training, validation

    @torch.no_grad()
    def _set(self, media: Sequence[Media], captions: list[list[str]], parts: ModelFolder, settings: Any) -> PairedSet:
        kind, codec = CODECS[self.modality]
        autoencoder = parts.load(kind, MODALITIES[self.modality].autoencoder)
        starts = range(0, len(media), CHUNK)
        latents = torch.cat([codec(autoencoder).encode(media[i : i + CHUNK]).cpu() for i in starts])
        texts = parts.load(TextPromptEncoder, MODALITIES[Modality.TEXT].prompt_encoder)
        flat = [caption for each in captions for caption in each]
        ends = np.cumsum([len(each) for each in captions])
        rows = [np.arange(end - len(each), end) for end, each in zip(ends, captions)]
        prompts = {"text": Prompts(texts.encode(flat).tokens[:, 0].cpu(), rows)}
        if self.modality in settings.prompt_shares:
            encoder = parts.load(ENCODERS[self.modality], MODALITIES[self.modality].prompt_encoder)
            tokens = torch.cat([encoder.encode(media[i : i + CHUNK]).tokens[:, 0].cpu() for i in starts])
            prompts[self.modality.value] = Prompts(tokens, [np.array([i]) for i in range(len(media))])
        names = [each[0] for each in captions]
        return PairedSet(latents.half(), names, names, prompts, settings.name_share, autoencoder=autoencoder)


class CaptionedSounds(CaptionedFiles):
    """A folder of sounds."""

    modality: Modality = Modality.AUDIO


DATA: dict[str, type[Values]] = {"image_lora": CaptionedFiles, "audio_lora": CaptionedSounds}
"""{task: the values of a recipe's ``data``}."""
