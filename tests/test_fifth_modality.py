"""A modality of one's own: one record and its files, with no edit in the package.

A melody is sixteen notes. The record names what reads it, what turns it into latents and back, and what denoises those.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

from opencodi import AnyToAnyPipeline
from opencodi.denoisers import FlatUNet
from opencodi.errors import ArgumentError
from opencodi.media import read
from opencodi.modality import MODALITIES, ModalityRecord, register
from opencodi.prompts import Condition
from opencodi.prompts.encoder import PromptEncoder

from . import tiny

NOTES = 16


@dataclass(frozen=True)
class Melody:
    """Heights of sixteen notes, in semitones."""

    notes: tuple[int, ...]


class MelodyPromptEncoder(PromptEncoder):
    """One linear layer from notes to the shared space."""

    @register_to_config
    def __init__(self, projection_dim: int = tiny.WIDTH):
        super().__init__()
        self.projection = nn.Linear(NOTES, projection_dim)

    def preprocess(self, melodies: Sequence[Melody]) -> dict[str, torch.Tensor]:
        return {"notes": torch.tensor([melody.notes for melody in melodies], dtype=torch.float32) / 12}

    def forward(self, notes: torch.Tensor) -> Condition:
        return Condition.from_embedding(self.projection(notes))

    def unconditional(self, batch_size: int) -> Condition:
        return Condition.zeros(batch_size, self.config.projection_dim, like=self)


class MelodyAutoencoder(ModelMixin, ConfigMixin):
    """Notes to eight numbers and back."""

    @register_to_config
    def __init__(self, latent_dim: int = 8):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(NOTES, latent_dim), nn.Linear(latent_dim, NOTES)


class MelodyCodec:
    """Melodies ↔ latents [B, 8]."""

    def __init__(self, autoencoder: MelodyAutoencoder):
        self.autoencoder, self.defaults = autoencoder, {}

    def latent_shape(self, batch_size: int, **size: object) -> tuple[int, ...]:
        return batch_size, self.autoencoder.config.latent_dim

    def decode_arrays(self, latents: torch.Tensor) -> np.ndarray:
        return self.autoencoder.decoder(latents).numpy()

    def decode(self, latents: torch.Tensor) -> list[Melody]:
        return [Melody(tuple(row.round().astype(int).tolist())) for row in 12 * self.decode_arrays(latents)]


def write_melody(melody: Melody, path: str | Path) -> None:
    Path(path).write_text(" ".join(map(str, melody.notes)))


def read_melody(path: str | Path, limits: object = None) -> Melody:
    return Melody(tuple(map(int, Path(path).read_text().split())))


@pytest.fixture
def melody() -> Iterator[str]:
    record = ModalityRecord(
        name="melody",
        media_type=lambda: Melody,
        read=read_melody,
        write=write_melody,
        read_suffixes=(".notes",),
        write_suffix=".notes",
        prompt_encoder="melody_prompt_encoder",
        codec=lambda: MelodyCodec,
        codec_parts={"autoencoder": "melody_autoencoder"},
        denoiser="melody_denoiser",
        alignment="melody_alignment",
    )
    register(record)
    yield record.name
    del MODALITIES[record.name]


def parts() -> dict[str, nn.Module]:
    denoiser = tiny.randomise(FlatUNet(**tiny.DENOISER, in_channels=8, out_channels=8, feature_tokens=2), 21)
    return {
        "melody_prompt_encoder": tiny.randomise(MelodyPromptEncoder(), 22),
        "melody_autoencoder": tiny.randomise(MelodyAutoencoder(), 23),
        "melody_denoiser": denoiser,
        "melody_alignment": tiny.alignment(denoiser, 24),
    }


def test_a_fifth_modality_is_made_read_and_seen_by_the_others(melody, tmp_path):
    pipe = tiny.pipeline(**parts())
    call = {"num_inference_steps": 2, "output_type": "latent"}
    high, low = Melody((12,) * NOTES), Melody((-12,) * NOTES)

    from_text = pipe(text="a rooster", outputs=melody, num_inference_steps=2, generator=tiny.seeded())
    assert isinstance(from_text.melody[0], Melody) and len(from_text.melody[0].notes) == NOTES
    other = pipe(text="a red apple", outputs=melody, generator=tiny.seeded(), **call).melody
    assert tiny.differ(other, pipe(text="a rooster", outputs=melody, generator=tiny.seeded(), **call).melody)

    pictures = [pipe(melody=each, outputs="image", generator=tiny.seeded(), **call).image for each in (high, low)]
    assert tiny.differ(*pictures), "a picture follows the melody that it is made from"

    alone = pipe(text="a rooster", outputs="audio", generator=tiny.seeded(), **call).audio
    together = pipe(text="a rooster", outputs=["audio", melody], generator=tiny.seeded(), **call)
    assert together.melody.shape == (1, 8)
    assert tiny.differ(together.audio, alone, 1e-4), "a sound sees the melody that is denoised with it"

    everything = pipe(text="a rooster", melody=high, outputs="all", num_inference_steps=1)
    assert len(everything.to_tuple()) == 5 and all(items is not None for items in everything.to_tuple())
    (file,) = (file for file in everything.save(tmp_path) if file.suffix == ".notes")
    assert read(melody, file) == everything.melody[0]


def test_a_fifth_modality_is_saved_and_opened_with_its_model(melody, tmp_path):
    pipe, made = tiny.pipeline(**parts()), {"text": "a rooster", "outputs": melody, "num_inference_steps": 1}
    pipe.save_pretrained(tmp_path)
    # A folder may not name classes from elsewhere, so that they are given.
    opened = AnyToAnyPipeline.from_pretrained(tmp_path, **parts())
    opened.set_progress_bar_config(disable=True)
    found, expected = (each(**made, generator=tiny.seeded()).melody[0] for each in (opened, pipe))
    assert found == expected


def test_without_its_record_it_is_an_unknown_argument(pipe):
    assert "melody" not in MODALITIES
    with pytest.raises(ArgumentError, match="melody: is no argument"):
        pipe(melody=Melody((0,) * NOTES), outputs="image")
