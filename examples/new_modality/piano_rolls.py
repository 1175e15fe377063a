"""Piano rolls as a fifth modality: sixteen keys, sixteen steps. One record, and the classes that it names."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from opencodi.errors import ArgumentError, DamagedFile
from opencodi.modality import MODALITIES, ModalityRecord, register
from opencodi.prompts import Condition
from opencodi.prompts.encoder import PromptEncoder

KEYS, STEPS, PATCH = 16, 16, 4


@dataclass(frozen=True, eq=False)
class PianoRoll:
    """Which keys sound at which steps: bool [KEYS, STEPS], the lowest key first."""

    notes: np.ndarray

    def __post_init__(self) -> None:
        if self.notes.shape != (KEYS, STEPS) or self.notes.dtype != bool:
            raise ArgumentError(f"PianoRoll.notes: must be bool [{KEYS}, {STEPS}], not {self.notes.dtype} {self.notes.shape}")


# ------------------------------------------------------------------ files


def write_roll(roll: PianoRoll, path: str | Path) -> None:
    """A line for each key, the highest first: ``#`` where it sounds, ``.`` where it does not."""
    lines = ["".join("#" if note else "." for note in row) for row in roll.notes[::-1]]
    Path(path).write_text("\n".join(lines) + "\n")


def read_roll(path: str | Path, limits: object = None) -> PianoRoll:
    """Read what ``write_roll`` writes.

    Raises:
        DamagedFile: if it is anything else.
    """
    lines = Path(path).read_text(errors="replace").split()
    if len(lines) != KEYS or any(len(line) != STEPS or set(line) - set("#.") for line in lines):
        raise DamagedFile(f"{path}: is no piano roll; give {KEYS} lines of {STEPS} characters, each '#' or '.'")
    return PianoRoll(np.array([[note == "#" for note in line] for line in lines[::-1]]))


# ------------------------------------------------------------------ networks


class RollPromptEncoder(PromptEncoder):
    """Piano rolls into the shared space.

    Args:
        hidden_size: width of the convolutions.
        projection_dim: of the shared space.
    """

    @register_to_config
    def __init__(self, hidden_size: int = 48, projection_dim: int = 256):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, hidden_size, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(hidden_size, hidden_size, 4, stride=4),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(hidden_size * 16, projection_dim),
        )

    def preprocess(self, rolls: Sequence[PianoRoll]) -> dict[str, Tensor]:
        """Rolls → [B, 1, KEYS, STEPS], 1 where a key sounds."""
        return {"notes": torch.from_numpy(np.stack([roll.notes for roll in rolls])).float()[:, None]}

    def forward(self, notes: Tensor) -> Condition:
        """[B, 1, KEYS, STEPS] → Condition [B, 1, D]."""
        return Condition.from_embedding(self.layers(notes.to(self.dtype)))

    def unconditional(self, batch_size: int) -> Condition:
        """The condition of no roll."""
        return Condition.zeros(batch_size, self.config.projection_dim, like=self)


class RollAutoencoder(ModelMixin, ConfigMixin):
    """Rolls are small: their latents are the notes themselves, folded into channels. Nothing learns.

    Args:
        scale: of a latent: its values are plus and minus this.
    """

    @register_to_config
    def __init__(self, scale: float = 1.0):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor([scale]), requires_grad=False)

    def encode(self, notes: Tensor) -> Tensor:
        """[B, 1, KEYS, STEPS] of 0 and 1 → latents [B, PATCH², KEYS / PATCH, STEPS / PATCH]."""
        return F.pixel_unshuffle((2 * notes - 1) * self.gain, PATCH)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents → [B, 1, KEYS, STEPS], above 0.5 where a key sounds."""
        return F.pixel_shuffle(latents / self.gain, PATCH) / 2 + 0.5


class RollCodec:
    """Piano rolls ↔ latents."""

    def __init__(self, autoencoder: RollAutoencoder):
        self.autoencoder, self.defaults = autoencoder, {}

    def latent_shape(self, batch_size: int, **size: object) -> tuple[int, ...]:
        return batch_size, PATCH**2, KEYS // PATCH, STEPS // PATCH

    def encode(self, rolls: Sequence[PianoRoll], **size: object) -> Tensor:
        notes = torch.from_numpy(np.stack([roll.notes for roll in rolls])).float()[:, None]
        return self.autoencoder.encode(notes.to(self.autoencoder.device))

    def decode_arrays(self, latents: Tensor) -> np.ndarray:
        return self.autoencoder.decode(latents.to(self.autoencoder.dtype))[:, 0].float().cpu().numpy()

    def decode(self, latents: Tensor) -> list[PianoRoll]:
        return [PianoRoll(notes > 0.5) for notes in self.decode_arrays(latents)]


RECORD = ModalityRecord(
    name="roll",
    media_type=lambda: PianoRoll,
    read=read_roll,
    write=write_roll,
    read_suffixes=(".roll",),
    write_suffix=".roll",
    prompt_encoder="roll_prompt_encoder",
    codec=lambda: RollCodec,
    codec_parts={"autoencoder": "roll_autoencoder"},
    denoiser="roll_denoiser",
)
if RECORD.name not in MODALITIES:
    register(RECORD)
