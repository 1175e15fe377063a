"""Stage 2, beside bridging: to read the manner, the style and motion that inputs ask for (``prompts.manner``).

What the frozen prompt encoders see is embedded once, so this takes a minute.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ...collections.stickers.captions import kind_captions
from ...collections.stickers.manners import DOINGS, MANNERS, STYLES, manner_text, manners_of
from ...collections.stickers.motion import MOTIONS, course
from ...collections.stickers.splits import split
from ...data.augment import over_white
from ...data.shards import Items, load_concepts, load_images
from ...prompts import Condition, ImagePromptEncoder, MannerReader, TextPromptEncoder
from ..components import load_component
from ..sentences import embed_captions
from ..task import Task
from .pairs import of_styles
from .prompt_sets import in_chunks

PLAIN_SHARE = 0.3
"""Of the texts: names, keywords and kinds that say nothing of the manner, whatever words they use."""


class MannerTask(Task):
    """Learn to read styles and motions from texts, styles from pictures, and where a thing in motion is in each frame."""

    @dataclass(frozen=True)
    class Settings:
        """What the reader is and what it learns from.

        Attributes:
            shards: of pictures whose style is told, and of those that have none.
            num_texts: texts made of the collection's names, styles and motions (``stickers.manners.manner_text``).
            hidden_size: of each head.
            dropout: of what is seen in pictures, in training.
            harmonics: of the courses.
            course_styles: art styles of the stills whose courses are learned.
            course_noise: standard deviation of noise on the embedding of what moves.
            unnamed_styles: chance of each style where none is named or shown, as ``MannerReader`` takes it.
        """

        shards: tuple[str, ...]
        num_texts: int
        hidden_size: int
        dropout: float
        harmonics: int
        course_styles: tuple[str, ...]
        course_noise: float
        unnamed_styles: dict[str, float]

    def __init__(self, settings: Settings, data: Path, model_folder: Path):
        super().__init__()
        self.settings = settings
        text_encoder = load_component(TextPromptEncoder, model_folder, "text_prompt_encoder")
        image_encoder = load_component(ImagePromptEncoder, model_folder, "image_prompt_encoder")
        self.reader = MannerReader(
            list(STYLES),
            list(DOINGS),
            sentence_dim=text_encoder.config.hidden_size,
            feature_dim=image_encoder.tower.described_dim,
            embedding_dim=image_encoder.config.projection_dim,
            hidden_size=settings.hidden_size,
            harmonics=settings.harmonics,
            unnamed_styles=settings.unnamed_styles,
        )
        self.texts, self.held_texts = _texts(text_encoder, data, settings.num_texts)
        everything = load_images(data, settings.shards)
        self.pictures, self.held_pictures = (_pictures(image_encoder, part) for part in split(everything))
        self.courses, self.held_courses = (
            _courses(text_encoder, part, of)
            for of, part in enumerate(split(of_styles(everything, settings.course_styles)))
        )

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> dict[str, torch.Tensor]:
        """As many texts, pictures and courses, each with what is to be read."""
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
        """Of courses wanted [B, motions, frames, 2, 3] for what embeddings [B, D] name."""
        errors = []
        for motion in range(len(DOINGS)):
            told = torch.zeros(len(embeddings), len(MANNERS), device=embeddings.device)
            told[:, len(STYLES) + motion] = 1
            mask = torch.ones(len(told), 1, dtype=torch.bool, device=told.device)
            prompt = Condition(embeddings[:, None], mask, told)
            errors.append(F.mse_loss(self.reader.courses(prompt, wanted.shape[2]), wanted[:, motion]))
        return torch.stack(errors).mean()

    @torch.no_grad()
    def validate(self, generator: torch.Generator) -> dict[str, float]:
        """Shares of texts read exactly and of pictures whose style is read, on names and pictures that never trained."""
        sentences, told = (tensor.to(self.device) for tensor in self.held_texts)
        features, styles = (tensor.to(self.device) for tensor in self.held_pictures)
        embeddings, wanted = (tensor.to(self.device) for tensor in self.held_courses)
        return {
            "texts_read": float(((self.reader.text_logits(sentences) > 0) == (told > 0)).all(1).float().mean()),
            "styles_seen": float((self.reader.picture_logits(features).argmax(1) == styles).float().mean()),
            "course_error": float(self._course_error(embeddings, wanted).sqrt()),
        }

    def components(self) -> dict[str, torch.nn.Module]:
        """The reader."""
        return {"manner_reader": self.reader}


Tensors = tuple[torch.Tensor, torch.Tensor]
"""What is given and what is to be read."""


def _texts(encoder: TextPromptEncoder, data: Path, count: int) -> tuple[Tensors, Tensors]:
    """(training, validation) sentence embeddings [N, E] and [N, M + 1] what they say; names are of one side only."""
    concepts = list(load_concepts(data).values())
    rng = np.random.default_rng(0)
    held = set(rng.permutation(len(concepts))[: max(1, len(concepts) // 20)].tolist())
    sides = []
    for number, keeps in enumerate((False, True)):
        rng = np.random.default_rng(number)
        mine = [concept for place, concept in enumerate(concepts) if (place in held) == keeps]
        made = []
        for _ in range(max(1, count // 20) if keeps else count):
            concept = mine[rng.integers(len(mine))]
            if rng.random() < PLAIN_SHARE:
                plain = [concept["name"], *concept.get("keywords", ()), *kind_captions(concept)]
                made.append((str(rng.choice(plain)), [], False))
            else:
                made.append(manner_text(concept["name"], rng))
        known, embeddings = embed_captions(encoder, [text for text, _, _ in made])
        told = torch.zeros(len(made), len(MANNERS) + 1)
        for row, (_, manners, alone) in zip(told, made):
            row[[MANNERS.index(name) for name in manners]] = 1
            row[-1] = alone
        sides.append((embeddings[[known[text] for text, _, _ in made]], told))
    return sides[0], sides[1]


def _pictures(encoder: ImagePromptEncoder, items: Items) -> Tensors:
    """Features [N, F] and the number of each picture's style; the number after the last is none."""
    features = in_chunks(lambda chunk: encoder.tower.described(over_white(chunk).to(encoder.device)), items.media)
    told = manners_of(items.records)[:, : len(STYLES)]
    return features, torch.where(told.amax(1) > 0, told.argmax(1), len(STYLES))


def _courses(encoder: TextPromptEncoder, items: Items, side: int) -> Tensors:
    """Embeddings [N, D] of names and the courses [N, motions, frames, 2, 3] of their stills, each motion always one way."""
    names = [str(record["name"]) for record in items.records]
    known, sentences = embed_captions(encoder, names)
    with torch.no_grad():
        embeddings = encoder.project(sentences.to(encoder.device)).tokens[:, 0].cpu()
    courses = np.stack(
        [[course(still, motion, np.random.default_rng(WAY)) for motion in MOTIONS] for still in items.media]
    )
    return embeddings[[known[name] for name in names]], torch.from_numpy(courses).float()


WAY = 0
"""Seed of beat, size and direction: the same for all, so that a motion's name says exactly how it goes."""
