"""Stage 2: bridging alignment. Every modality learns to be found by text, and through text they find each other.

Pairs are text–image, text–audio and text–video only, one run each (paper §3.1). The text projection learns together
with the images; after that it stays as it is, and sounds and clips are aligned to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ...data.epochs import draw_items
from ...data.sampling import draw_by_source
from ...device import pick_device
from ...errors import ConfigurationError
from ...evaluation.retrieval import retrieval
from ...modality import MODALITIES, Modality
from ...prompts import Condition, TextPromptEncoder
from ...prompts.text import find_minilm
from ..components import ModelFolder, build_network
from ..contrastive import Temperature, info_nce, late_interaction
from ..pictures import save_grid
from ..processes import gathered, mirrored_within
from ..recipe import Values
from ..sentences import CACHE_FILE, CaptionTable, embed_captions
from ..task import Task
from ..words import WordTable
from .bridging_pairs import PAIRS

VALIDATION_CHUNK = 128
WORDS_AT_ONCE = 128
"""Items of a batch whose words and regions are compared: the comparison grows with the square of their number."""


@dataclass
class CaptionedItems:
    """Items of one modality, and what each may be called.

    Attributes:
        media: uint8 or int16 [N, ...]: pictures, clips or recordings; an array, or what makes them when it is indexed.
        captions: of each item, its plain name first.
        groups: int64 [N], equal for items that show the same thing.
        mirrored: bool [N]: pictures that may be mirrored.
        sources: int64 [N]: which of the sources each is from.
        things: of each item the plain name of what it shows, one of ``Captioned.things``; empty: not told, or none of these.
    """

    media: Any
    captions: list[list[str]]
    groups: torch.Tensor
    mirrored: np.ndarray
    sources: np.ndarray
    things: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.captions)


@dataclass
class Captioned:
    """What bridging learns from.

    Attributes:
        training, held: items to learn from and to validate on; their groups have the same numbers.
        shares: of each source in a batch.
        unpaired: texts without a partner, such as the names of all things as sounds and as spoken words.
        things: the plain names of all things, among which items are named when they validate; empty: they are not.
        source_names: what the sources are called.
        classes: what a vision network's classes are called, see ``BridgingTask.Settings.class_weight``.
        in_epochs: each item is drawn once per epoch, whatever its source.
    """

    training: CaptionedItems
    held: CaptionedItems
    shares: tuple[float, ...]
    unpaired: list[str]
    things: Sequence[str] = ()
    source_names: Sequence[str] = ()
    classes: Sequence[str] = ()
    in_epochs: bool = False


class BridgingTask(Task):
    """Contrastive alignment of one modality's prompt encoder with text.

    Besides InfoNCE there is a small pull of each pair's cosine towards one. InfoNCE alone only orders the pairs, and
    leaves the modalities in separate regions of the sphere (Liang et al. 2022); interpolating conditions, and prompting
    a diffuser with a modality it was not trained on, both need one shared region.
    """

    class Settings(Values):
        """One pair of modalities.

        Attributes:
            modality: ``image``, ``audio`` or ``video``.
            network: config values of the prompt encoder that learns.
            sentence_encoder: ``minilm``, or a folder of another sentence-transformers BERT: a new text prompt encoder
                is built from it, and its projection learns, too. ``trained``: that of the model folder is used, frozen.
            text_network: config values of the new text prompt encoder.
            name_share: chance that an item's caption is its plain name.
            temperature: initial temperature of InfoNCE. It is learned.
            least_temperature: lower limit of the temperature.
            same_concept_weight: how much an item of the same concept counts as a match, beside 1 for the pair itself. It
                shows the same thing in another style or voice.
            pull_weight: weight of 1 - cosine of matched pairs.
            mix_share: share of the batches whose items are mixed with one another. A mixed item matches both captions, each by
                its share. This augments small data sets.
            structure_weight: weight of the loss that keeps the cosines between captions as in the sentence encoder, also for
                captions without items: "the word drum", "the sound of a drum" and "a drum" stay apart. It counts only
                while the projection learns.
            word_weight: weight of InfoNCE between words and regions (``contrastive.late_interaction``), for encoders with both.
            class_weight: weight of the distance between what an image encoder knows of its vision network's classes and the
                embeddings of their names: the network's knowledge of photographs comes in by words, too.
        """

        modality: str
        network: dict[str, Any]
        sentence_encoder: str
        text_network: dict[str, Any]
        name_share: float
        temperature: float
        least_temperature: float
        same_concept_weight: float
        pull_weight: float
        structure_weight: float
        mix_share: float = 0.0
        word_weight: float = 0.0
        class_weight: float = 0.0

    def __init__(self, settings: Settings, data: Captioned, parts: ModelFolder):
        super().__init__()
        check(settings)
        self.settings, self.data = settings, data
        modality = Modality(settings.modality)
        self.pair = PAIRS[modality](settings.network, parts)
        self.name = MODALITIES[modality].prompt_encoder
        # The module registers what the pair only refers to.
        self.encoder = self.pair.encoder
        self.text_learns = settings.sentence_encoder != "trained"
        if self.text_learns:
            source = find_minilm() if settings.sentence_encoder == "minilm" else Path(settings.sentence_encoder)
            self.text_encoder = build_network(
                TextPromptEncoder.from_sentence_transformer, settings.text_network, source
            )
        else:
            self.text_encoder = parts.load(TextPromptEncoder, MODALITIES[Modality.TEXT].prompt_encoder)
        self.temperature = Temperature(settings.temperature, settings.least_temperature)

        cache = parts.cache(CACHE_FILE)
        self.words = None
        if settings.word_weight:
            every = [text for each in (data.training, data.held) for choices in each.captions for text in choices]
            every += [*data.unpaired, *data.things, *data.classes]
            self.words = WordTable(self.text_encoder.to(pick_device()), every, cache.parent)
        known = None if self.words is None else self.words.known
        self.captions, self.held_captions = (
            CaptionTable(self.text_encoder, each.captions, cache, settings.name_share, known)
            for each in (data.training, data.held)
        )
        self.groups, self.held_groups = data.training.groups, data.held.groups
        self.members = [np.flatnonzero(data.training.sources == source) for source in range(len(data.shares))]
        self.unpaired = self._of_texts(data.unpaired, cache) if self.text_learns else None
        self.things = self._of_texts(data.things, cache) if data.things else None
        self.classes = self._of_texts(data.classes, cache) if settings.class_weight else None
        self.pair.fit(data.training.media)
        self.prepared, self.held = (
            self.pair.prepare(each.media, each.mirrored) if len(each) else None for each in (data.training, data.held)
        )

    def _of_texts(self, texts: Sequence[str], cache: Path) -> torch.Tensor:
        """Sentence embeddings [len(texts), E]."""
        if self.words is not None:
            return self.words.embeddings(np.array([self.words.known[text] for text in texts]))
        known, embeddings = embed_captions(self.text_encoder, texts, cache)
        return embeddings[[known[text] for text in texts]]

    def _sentences(self, table: CaptionTable, rows: np.ndarray) -> torch.Tensor:
        return table.embeddings[rows] if self.words is None else self.words.embeddings(rows)

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> dict[str, torch.Tensor]:
        """The encoder's inputs, ``sentences`` [B, E], ``captions`` int64 [B], ``groups`` int64 [B] and, if words are learned,
        states ``words`` [B, W, E] and their ``word_mask``.
        """
        if self.data.in_epochs:
            chosen = draw_items(rng, len(self.data.training), batch_size)
        else:
            chosen = draw_by_source(rng, self.members, self.data.shares, batch_size)
        captions = self.captions.draw(chosen, rng)
        batch = {
            "sentences": self._sentences(self.captions, captions),
            "captions": torch.from_numpy(captions),
            "groups": self.groups[chosen],
        }
        if self.words is not None:
            batch["words"], batch["word_mask"] = self.words.words(captions)
        if self.unpaired is not None:
            batch["unpaired"] = self.unpaired[rng.integers(0, len(self.unpaired), batch_size)]
        return batch | {f"input.{name}": value for name, value in self.pair.batch(self.prepared, chosen, rng).items()}

    def forward(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """InfoNCE, pull, and structure (if the text projection learns)."""
        inputs = {name.removeprefix("input."): value for name, value in batch.items() if name.startswith("input.")}
        written = self.text_encoder.project(batch["sentences"], batch.get("words"), batch.get("word_mask"))
        texts = written.tokens[:, 0].float()
        inputs, own = self.pair.mixed(inputs, np.random.default_rng(generator.initial_seed()), self.settings.mix_share)
        seen = self.pair.condition(inputs, generator)
        items = seen.tokens[:, 0].float()
        losses = self._losses(texts, items, batch["groups"], batch["captions"], own)
        if self.words is not None:
            losses["words"] = self._word_loss(written, seen, batch["groups"], own)
            losses["loss"] = losses["loss"] + self.settings.word_weight * losses["words"]
        if self.classes is not None:
            named = self.text_encoder.project(self.classes.to(texts.device)).tokens[:, 0].float()
            known = self.encoder.sight.class_embeddings.weight.T.float()
            losses["classes"] = (known - named).square().sum(1).mean()
            losses["loss"] = losses["loss"] + self.settings.class_weight * losses["classes"]
        if "unpaired" in batch:
            sentences = torch.cat([batch["sentences"], batch["unpaired"]])
            projected = gathered(self.text_encoder.project(sentences).tokens[:, 0].float())
            sentences = gathered(sentences)
            losses["structure"] = (projected @ projected.T - sentences @ sentences.T).square().mean()
            losses["loss"] = losses["loss"] + self.settings.structure_weight * losses["structure"]
        return losses

    def _losses(self, texts, items, groups, captions, own: float = 1.0) -> dict[str, torch.Tensor]:
        """``own``: share of each item that is its own; the rest is the item at its place from the end."""
        pull = 1 - ((own * texts + (1 - own) * texts.flip(0)) * items).sum(1).mean()
        count = len(texts)
        texts, items, groups, captions = (gathered(each) for each in (texts, items, groups, captions))
        same = (groups[:, None] == groups) | (captions[:, None] == captions)
        affinity = self.settings.same_concept_weight * same.float()
        scale = self.temperature()
        affinity = affinity.fill_diagonal_(1.0)
        mixed = own * affinity + (1 - own) * mirrored_within(affinity, count)
        contrastive = info_nce(texts, items, scale, mixed)
        loss = contrastive + self.settings.pull_weight * pull
        return {"loss": loss, "contrastive": contrastive, "pull": pull, "temperature": 1 / scale.detach()}

    def _word_loss(self, written: Condition, seen: Condition, groups: torch.Tensor, own: float) -> torch.Tensor:
        """InfoNCE between the words and the regions of a part of the batch."""
        part = slice(WORDS_AT_ONCE)
        words, regions = written.tokens[part, 1:], seen.tokens[part, 1:]
        of_words, of_regions = late_interaction(words, written.mask[part, 1:], regions)
        same = self.settings.same_concept_weight * (groups[part, None] == groups[part]).float()
        affinity = same.fill_diagonal_(1.0)
        answers = affinity / affinity.sum(1, keepdim=True)
        scale = self.temperature().detach()
        return own * (
            F.cross_entropy(scale * of_words.float(), answers) + F.cross_entropy(scale * of_regions.float().T, answers)
        )

    @torch.no_grad()
    def _embed_held(self) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
        rows = self.held_captions.names(np.arange(len(self.held_groups)))
        texts, items = [], []
        for start in range(0, len(rows), VALIDATION_CHUNK):
            part = np.arange(start, min(start + VALIDATION_CHUNK, len(rows)))
            sentences = self._sentences(self.held_captions, rows[part]).to(self.device)
            inputs = {k: v.to(self.device) for k, v in self.pair.batch(self.held, part, None).items()}
            texts.append(self.text_encoder.project(sentences).tokens[:, 0].float())
            items.append(self.pair.condition(inputs, None).tokens[:, 0].float())
        return torch.cat(texts), torch.cat(items), rows

    @torch.no_grad()
    def validate(self, generator: torch.Generator) -> dict[str, float]:
        """Loss, recall by concept and modality gap on the validation items, each under its plain name."""
        if self.held is None:
            return {}
        texts, items, rows = self._embed_held()
        groups, captions = self.held_groups.to(self.device), torch.from_numpy(rows).to(self.device)
        losses = [
            self._losses(*parts)["loss"]
            for parts in zip(*(t.split(VALIDATION_CHUNK) for t in (texts, items, groups, captions)))
        ]
        found = {"loss": float(torch.stack(losses).mean()), **retrieval(texts, items, groups)}
        return found | self._named(items)

    def _named(self, items: torch.Tensor) -> dict[str, float]:
        """For each source, the share of its held items whose nearest of all things' names is their own."""
        if self.things is None:
            return {}
        names = self.text_encoder.project(self.things.to(self.device)).tokens[:, 0].float()
        nearest = (items @ names.T).argmax(1).tolist()
        right = np.array([self.data.things[place] == thing for place, thing in zip(nearest, self.data.held.things)])
        told = np.array([bool(thing) for thing in self.data.held.things])
        found = {}
        for source, name in enumerate(self.data.source_names):
            asked = told & (self.data.held.sources == source)
            if asked.any():
                found[f"named_{name}"] = float(right[asked].mean())
        return found

    def sample(self, path: Path, generator: torch.Generator) -> None:
        """Rows of validation items: the one a caption belongs to, then the seven that the caption finds."""
        if self.held is None:
            return
        texts, items, _ = self._embed_held()
        asked = np.arange(0, len(texts), max(1, len(texts) // 12))[:12]
        found = (texts[asked] @ items.T).topk(min(7, len(items)), dim=1).indices.cpu().numpy()
        shown = np.concatenate([asked[:, None], found], axis=1)
        pictures = self.pair.picture(self.held, shown.ravel())
        if pictures is not None:
            save_grid(pictures, path, columns=shown.shape[1])

    def components(self) -> dict[str, torch.nn.Module]:
        """The prompt encoder, and the text prompt encoder if it learned."""
        text = {MODALITIES[Modality.TEXT].prompt_encoder: self.text_encoder} if self.text_learns else {}
        return {**text, self.name: self.encoder}


def check(settings: BridgingTask.Settings) -> None:
    """Raise ConfigurationError if no run can be made of these settings."""
    if settings.modality not in PAIRS:
        raise ConfigurationError(f"settings: modality: {settings.modality!r} is not one of {', '.join(PAIRS)}")
    if not 0 < settings.least_temperature <= settings.temperature:
        raise ConfigurationError("settings: temperature must be at least least_temperature, and both above zero")
