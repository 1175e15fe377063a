"""Stage 2, beside bridging: reading style and motion attributes (*manners*, ``extras.manner``) from inputs.

The frozen prompt encoders embed everything once. The stage takes a minute.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ...data.augment import over_white
from ...data.paired import in_chunks
from ...extras.manner import MANNER, MannerReader
from ...prompts import Condition, ImagePromptEncoder, TextPromptEncoder
from ..components import ModelFolder
from ..recipe import Values
from ..sentences import embed_captions
from ..task import Task


@dataclass
class Manners:
    """What a ``MannerReader`` learns from. Texts, pictures and courses come as (training, validation).

    Attributes:
        styles, motions: names of the attributes.
        texts: texts and their labels, float [N, styles + motions + 1]. The last label says that a text names no thing.
        pictures: uint8 RGBA [N, H, W, 4] and the number of each style, int64 [N]. The number after the last means no style.
        courses: names of stills and the affine maps of each motion, float [N, motions, frames, 2, 3].
    """

    styles: list[str]
    motions: list[str]
    texts: tuple[tuple[list[str], torch.Tensor], ...]
    pictures: tuple[tuple[np.ndarray, torch.Tensor], ...]
    courses: tuple[tuple[list[str], torch.Tensor], ...]


class MannerTask(Task):
    """Learn to read styles and motions from texts, styles from pictures, and the place of a moving thing in each frame."""

    class Settings(Values):
        """The size of the reader, and how it learns.

        Attributes:
            hidden_size: of each head.
            dropout: of the features of pictures, in training.
            harmonics: of the Fourier series of the courses.
            course_noise: standard deviation of noise on the embedding of the thing that moves.
            unnamed_styles: chance of each style where none is named or shown, as ``MannerReader`` takes it.
        """

        hidden_size: int
        dropout: float
        harmonics: int
        course_noise: float
        unnamed_styles: dict[str, float]

    def __init__(self, settings: Settings, data: Manners, parts: ModelFolder):
        super().__init__()
        self.settings, self.data = settings, data
        text_encoder = parts.load(TextPromptEncoder, "text_prompt_encoder")
        image_encoder = parts.load(ImagePromptEncoder, "image_prompt_encoder")
        self.reader = MannerReader(
            data.styles,
            data.motions,
            sentence_dim=text_encoder.config.hidden_size,
            feature_dim=image_encoder.tower.described_dim,
            embedding_dim=image_encoder.config.projection_dim,
            hidden_size=settings.hidden_size,
            harmonics=settings.harmonics,
            unnamed_styles=settings.unnamed_styles,
        )
        self.texts, self.held_texts = ((_sentences(text_encoder, texts), told) for texts, told in data.texts)
        self.pictures, self.held_pictures = (
            (_features(image_encoder, pictures), styles) for pictures, styles in data.pictures
        )
        self.courses, self.held_courses = (
            (_embeddings(text_encoder, names), courses) for names, courses in data.courses
        )

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> dict[str, torch.Tensor]:
        """``batch_size`` texts, pictures and courses each, with their labels."""
        sets = {"text": self.texts, "picture": self.pictures, "course": self.courses}
        return {
            f"{name}.{part}": tensor[rows]
            for name, tensors in sets.items()
            for rows in [torch.from_numpy(rng.integers(0, len(tensors[0]), batch_size))]
            for part, tensor in zip(("given", "wanted"), tensors)
        }

    def forward(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Cross-entropies of texts and pictures, and the mean squared error of the courses of every motion."""
        given, seen = batch["course.given"], F.dropout(batch["picture.given"], self.settings.dropout, self.training)
        noise = torch.randn(given.shape, generator=generator, device=given.device) * self.settings.course_noise
        losses = {
            "text": F.binary_cross_entropy_with_logits(
                self.reader.text_logits(batch["text.given"]), batch["text.wanted"]
            ),
            "picture": F.cross_entropy(self.reader.picture_logits(seen), batch["picture.wanted"]),
            "course": self._course_error(given + noise, batch["course.wanted"]),
        }
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}

    def _course_error(self, embeddings: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Mean squared error of the courses [B, motions, frames, 2, 3] of the things that embeddings [B, D] name."""
        errors, num_styles = [], len(self.data.styles)
        for motion in range(len(self.data.motions)):
            told = torch.zeros(len(embeddings), num_styles + len(self.data.motions), device=embeddings.device)
            told[:, num_styles + motion] = 1
            mask = torch.ones(len(told), 1, dtype=torch.bool, device=told.device)
            prompt = Condition(embeddings[:, None], mask, {MANNER: told})
            errors.append(F.mse_loss(self.reader.courses(prompt, wanted.shape[2]), wanted[:, motion]))
        return torch.stack(errors).mean()

    @torch.no_grad()
    def validate(self, generator: torch.Generator) -> dict[str, float]:
        """Shares of validation texts and pictures that are read without error, and the error of the courses."""
        sentences, told = (tensor.to(self.device) for tensor in self.held_texts)
        features, styles = (tensor.to(self.device) for tensor in self.held_pictures)
        embeddings, wanted = (tensor.to(self.device) for tensor in self.held_courses)
        return {
            "texts_read": float(((self.reader.text_logits(sentences) > 0) == (told > 0)).all(1).float().mean()),
            "styles_seen": float((self.reader.picture_logits(features).argmax(1) == styles).float().mean()),
            "course_error": float(self._course_error(embeddings, wanted).sqrt()),
        }

    def score(self, measures: Mapping[str, float]) -> float | None:
        """What is read right, less the error of the courses."""
        return measures["texts_read"] + measures["styles_seen"] - measures["course_error"] if measures else None

    def components(self) -> dict[str, torch.nn.Module]:
        """The reader."""
        return {"manner_reader": self.reader}


def _sentences(encoder: TextPromptEncoder, texts: list[str]) -> torch.Tensor:
    """Sentence embeddings [N, E]."""
    known, embeddings = embed_captions(encoder, texts)
    return embeddings[[known[text] for text in texts]]


@torch.no_grad()
def _embeddings(encoder: TextPromptEncoder, names: list[str]) -> torch.Tensor:
    """Prompt embeddings [N, D]."""
    known, sentences = embed_captions(encoder, names)
    embeddings = encoder.project(sentences.to(encoder.device)).tokens[:, 0].cpu()
    return embeddings[[known[name] for name in names]]


def _features(encoder: ImagePromptEncoder, pictures: np.ndarray) -> torch.Tensor:
    """Features [N, F] of pictures."""
    return in_chunks(lambda chunk: encoder.tower.described(over_white(chunk).to(encoder.device)), pictures)
