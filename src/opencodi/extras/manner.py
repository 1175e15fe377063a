"""Style and motion as attributes of a prompt, read from what prompt encoders see before they project it.

One vector cannot say both what and how: "a cat, openmoji style" lies beside "a cat" in the shared space.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from ..modality import Modality
from ..prompts.condition import Condition
from ..sampling.request import Call
from .base import Extra, PromptInput

MANNER = "manner"
"""The attribute of a condition [B, M]: how much each style and each motion is meant."""

LEAST = 0.05
"""A manner that leads by less than this is not meant."""


def with_manner(condition: Condition, manner: Tensor) -> Condition:
    """The condition with this manner [B, M] in place of its own."""
    return replace(condition, attributes={**condition.attributes, MANNER: manner})


class MannerReader(ModelMixin, ConfigMixin):
    """Reads styles and motions from what prompt encoders see before they project it into the shared space.

    One vector cannot say both what and how: "a cat, openmoji style" lies beside "a cat", and the mixture of a picture and
    "openmoji style" shows neither. So the manner is read by itself, and a text that names nothing else says nothing of what.

    Args:
        styles: names of M_s styles; the first positions of a manner [B, M].
        motions: names of M_m motions; the others.
        sentence_dim: E, of the sentence embeddings of texts.
        feature_dim: F, of what is seen in pictures and frames.
        embedding_dim: D, of the shared space.
        hidden_size: width of the hidden layer of each head.
        harmonics: of the Fourier series along which things move; 8 are exact for 16 frames.
        shown_share: how much the style of a picture or clip counts; what is named counts 1.
        unnamed_styles: chance of each style where none is named or shown, {name: chance}; the rest, up to 1, is none. So
            several pictures of one name differ.
    """

    @register_to_config
    def __init__(
        self,
        styles: Sequence[str],
        motions: Sequence[str],
        sentence_dim: int = 384,
        feature_dim: int = 576,
        embedding_dim: int = 256,
        hidden_size: int = 256,
        harmonics: int = 8,
        shown_share: float = 0.5,
        unnamed_styles: Mapping[str, float] | None = None,
    ):
        super().__init__()
        self.text_head = _head(sentence_dim, hidden_size, len(styles) + len(motions) + 1)
        self.picture_head = nn.Sequential(nn.LayerNorm(feature_dim), *_head(feature_dim, hidden_size, len(styles) + 1))
        self.course_head = _head(embedding_dim, hidden_size, len(motions) * (1 + 2 * harmonics) * 6)

    @property
    def num_manners(self) -> int:
        """M, styles and motions together."""
        return len(self.config.styles) + len(self.config.motions)

    def text_logits(self, sentences: Tensor) -> Tensor:
        """Sentence embeddings [B, E] → [B, M + 1]: of each manner, and of naming nothing else."""
        return self.text_head(sentences.to(self.dtype))

    def picture_logits(self, features: Tensor) -> Tensor:
        """What is seen in pictures [B, F] → [B, M_s + 1]: of each style, and of none."""
        return self.picture_head(features.to(self.dtype))

    def forward(self, condition: Condition, modality: Modality, embeddings: Tensor) -> Condition:
        """A condition with its manner; a text that names a manner alone loses its tokens, since they name no thing.

        Args:
            condition: tokens [B, N, D] of inputs of one modality.
            modality: theirs; sounds have no manner.
            embeddings: what their encoder saw, ``PromptEncoder.embed``.
        """
        if modality == Modality.TEXT:
            told = (self.text_logits(embeddings) > 0).to(condition.tokens.dtype)
            says_what = 1 - told[:, -1:] * (told[:, :-1].amax(1, keepdim=True) > 0)
            return with_manner(replace(condition, tokens=condition.tokens * says_what[:, None]), told[:, :-1])
        if modality == Modality.AUDIO:
            return condition
        logits = self.picture_logits(embeddings)
        shown = F.one_hot(logits.argmax(1), logits.shape[1])[:, :-1] * self.config.shown_share
        return with_manner(condition, F.pad(shown.to(condition.tokens.dtype), (0, len(self.config.motions))))

    def led_by_texts(
        self, conditions: Sequence[Condition], modalities: Sequence[Modality], weights: Sequence[float]
    ) -> list[Condition]:
        """Without the shown style wherever texts that name a thing count at least as much.

        A picture beside such a text helps to say what; in which style, it says only to texts that name nothing else, or if it
        leads. A style has to be drawn well to be followed, and most pictures are in one that is drawn worse than none.

        Args:
            conditions: of one prompt each, tokens [B, N, D], about to be mixed.
            modalities, weights: theirs; what is shown counts ``shown_share`` of its weight, as in a mixture.
        """
        named = shown = conditions[0].tokens.new_zeros(len(conditions[0].tokens), dtype=torch.float)
        for condition, modality, weight in zip(conditions, modalities, weights, strict=True):
            if modality == Modality.TEXT:
                named = named + weight * condition.tokens[:, 0].any(1).to(named)
            elif MANNER in condition.attributes:
                shown = shown + weight * condition.attributes[MANNER].sum(1).to(named)
        follow = (shown > named)[:, None]
        return [
            condition
            if modality == Modality.TEXT or MANNER not in condition.attributes
            else with_manner(condition, condition.attributes[MANNER] * follow.to(condition.tokens))
            for condition, modality in zip(conditions, modalities)
        ]

    def decided(self, condition: Condition) -> Condition:
        """Of each kind of manner the one that counts most, alone and fully: a mixture of styles is none, and so is a tie."""
        manner = condition.attributes.get(MANNER)
        if manner is None:
            return condition
        groups = manner.split([len(self.config.styles), len(self.config.motions)], dim=1)
        chosen = []
        for group in groups:
            first, second = (
                F.pad(group, (0, 2)).topk(2, dim=1).values.split(1, dim=1)
            )  # padded for groups of fewer than two
            leads = first - second > LEAST
            chosen.append((group == first) * leads)
        return with_manner(condition, torch.cat(chosen, dim=1).to(manner.dtype))

    def in_some_style(
        self,
        condition: Condition,
        generators: Sequence[torch.Generator],
        chances: Mapping[str, float] | None = None,
    ) -> Condition:
        """Where a ``decided`` condition is in no style, one drawn by ``chances``, with a generator for each prompt.

        None: by the config's ``unnamed_styles``.
        """
        chances = (self.config.unnamed_styles or {}) if chances is None else chances
        if not chances:
            return condition
        edges = torch.tensor([chances.get(name, 0.0) for name in self.config.styles]).cumsum(0)
        drawn = torch.cat([torch.rand(1, generator=generator) for generator in generators])
        some = F.one_hot(torch.searchsorted(edges, drawn, right=True), len(edges) + 1)[:, :-1]
        none = condition.tokens.new_zeros(len(drawn), self.num_manners)
        manner = condition.attributes.get(MANNER, none)
        styles, motions = manner.split([len(self.config.styles), len(self.config.motions)], dim=1)
        styles = torch.where(styles.amax(1, keepdim=True) > 0, styles, some.to(styles))
        return with_manner(condition, torch.cat([styles, motions], dim=1))

    def courses(self, condition: Condition, num_frames: int) -> Tensor:
        """Where each prompt's thing is in every frame of a clip that loops.

        Args:
            condition: tokens [B, N, D] and a ``decided`` manner.
            num_frames: of the clip.

        Returns:
            [B, num_frames, 2, 3], for ``torch.nn.functional.affine_grid``: from a place in the frame to the place in the
            picture of the thing at rest. The identity where no motion is meant.
        """
        count, harmonics = len(condition.tokens), self.config.harmonics
        identity = torch.eye(2, 3, device=self.device, dtype=self.dtype).expand(count, num_frames, 2, 3)
        if MANNER not in condition.attributes or not self.config.motions:
            return identity
        moving = condition.attributes[MANNER][:, len(self.config.styles) :].to(self.device, self.dtype)
        what = F.normalize(condition.tokens[:, 0].to(self.device, self.dtype), dim=-1) * self.config.embedding_dim**0.5
        series = self.course_head(what).unflatten(1, (len(self.config.motions), 1 + 2 * harmonics, 2, 3))
        angles = 2 * math.pi * torch.arange(num_frames)[:, None] / num_frames * torch.arange(1, harmonics + 1)
        waves = torch.cat([torch.ones(num_frames, 1), angles.cos(), angles.sin()], dim=1).to(moving)
        return identity + torch.einsum("bm,bmkij,fk->bfij", moving, series, waves)


class ReadManner(Extra):
    """Reads the style and the motion that inputs ask for.

    A text that names only a manner ("openmoji style") then says nothing of what to show.
    """

    needs = ("manner_reader",)

    def inputs(self, inputs: list[PromptInput], call: Call) -> list[PromptInput]:
        """Each input with the manner that it asks for."""
        reader = call.part("manner_reader")
        read = [
            each
            if each.features is None
            else replace(
                each,
                condition=reader(each.condition.to(reader.device), each.modality, each.features.to(reader.device)),
            )
            for each in inputs
        ]
        conditions = reader.led_by_texts(
            [each.condition for each in read], [each.modality for each in read], [each.weight for each in read]
        )
        return [replace(each, condition=condition) for each, condition in zip(read, conditions)]


def _head(in_features: int, hidden_size: int, out_features: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(in_features, hidden_size), nn.GELU(), nn.Linear(hidden_size, out_features))
