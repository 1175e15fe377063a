"""Prompts are drawn towards the known texts that lie near them.

What it buys stands in ``docs/results/extras.json`` and ``docs/results/anchors.json``.
"""

from collections.abc import Collection
from dataclasses import replace

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

from ..modality import Modality
from ..prompts.condition import Condition
from ..sampling.request import Call
from .base import Extra

OPEN = 0.85
"""Cosine from which a prompt says no more than the kind of thing it lies nearest to: "a big animal" does, "a platypus" not."""


class PromptAnchors(ModelMixin, ConfigMixin):
    """Embeddings of texts that a picture, clip or sound may mean.

    Contrastive alignment orders the pairs and leaves each modality a region of its own (Liang et al. 2022): the embedding of a
    sound lies nearest to its own name, and yet far from every text. A denoiser that learned from texts and pictures then
    meets a prompt unlike all it knows. One step of attention over texts (a modern Hopfield network, Ramsauer et al. 2021)
    moves the embedding to where its texts are. So does it with a mixture, which else is unlike any single prompt.

    Args:
        num_anchors: K, texts.
        embedding_dim: D, of the shared space.
        scale: inverse temperature of the attention on cosines; the larger, the more the nearest text counts alone.
        share: of the result that is the texts', in [0, 1]; the rest stays what it was and keeps what no text says.
        text_share: the same for prompts that are text alone: words that no denoiser learned ("puppy") mean the nearest it
            did. 0 leaves them where they are.
        heard_text_share: the same where a sound is made of them: no anchor says whether "the word dog" is to be heard or "the
            sound of a dog". None: ``text_share``.
        caption_share: the same for prompts that are no text where nothing but a text is made of them: a name is all that one
            says. None: ``share``.
        text_scale: inverse temperature for prompts that are text alone, which may lie between names; None: ``scale``.
        sentence_dim: E, of the sentence embeddings by which texts are understood before all that (``understood``); None: they
            are taken as they are read.
        sentence_scale: inverse temperature on cosines of those.
        num_audible: P, pairs of a kind of things ("an animal") and a name of that kind that has a sound ("rooster"), see
            ``audible``; 0: nothing is known of sounds.
    """

    @register_to_config
    def __init__(
        self,
        num_anchors: int,
        embedding_dim: int,
        scale: float = 60.0,
        share: float = 0.5,
        text_share: float = 0.0,
        heard_text_share: float | None = None,
        caption_share: float | None = None,
        text_scale: float | None = None,
        sentence_dim: int | None = None,
        sentence_scale: float = 80.0,
        num_audible: int = 0,
    ):
        super().__init__()
        self.anchors = nn.Parameter(torch.zeros(num_anchors, embedding_dim), requires_grad=False)
        self.sentences = None
        if sentence_dim:
            self.sentences = nn.Parameter(torch.zeros(num_anchors, sentence_dim), requires_grad=False)
        self.audible_pairs = None
        if num_audible:
            self.audible_pairs = nn.Parameter(torch.zeros(num_audible, 2, dtype=torch.int16), requires_grad=False)

    @classmethod
    def from_embeddings(
        cls,
        embeddings: torch.Tensor,
        sentences: torch.Tensor | None = None,
        audible_pairs: torch.Tensor | None = None,
        **config: float,
    ) -> "PromptAnchors":
        """Anchors at L2-normalised text embeddings [K, D] and, if given, their sentence embeddings [K, E].

        Of the latter the length counts: an anchor of length 0.75 is as near as another whose cosine is three quarters.
        ``audible_pairs`` [P, 2] are places of anchors: a kind, and a name of that kind that has a sound.
        """
        sizes = {
            "sentence_dim": None if sentences is None else sentences.shape[1],
            "num_audible": 0 if audible_pairs is None else len(audible_pairs),
        }
        made = cls(*embeddings.shape, **sizes, **config)
        made.anchors.data = embeddings.detach().float().clone()
        if sentences is not None:
            made.sentences.data = sentences.detach().float().clone()
        if made.audible_pairs is not None:
            made.audible_pairs.data = audible_pairs.to(torch.int16)
        return made

    def forward(
        self, condition: Condition, only_text: bool = False, outputs: Collection[str] = (), audible: bool = True
    ) -> Condition:
        """Move the aligned embedding ``tokens[:, 0]`` of each prompt; further tokens stay.

        Args:
            condition: tokens [B, N, D].
            only_text: they are texts, which move by ``text_share``, or ``heard_text_share``.
            outputs: what is made of them together. Where only a text is made, what is no text moves by ``caption_share``.
            audible: where only a sound is made, what is no text moves to names that have a sound.
        """
        made, share, scale = set(outputs), self.config.share, self.config.scale
        if only_text:
            share, scale = self.config.text_share, self._text_scale
        if only_text and Modality.AUDIO in made and self.config.heard_text_share is not None:
            share = self.config.heard_text_share
        if not only_text and made == {Modality.TEXT} and self.config.caption_share is not None:
            share = self.config.caption_share
        if not share:
            return condition
        first, rest = condition.tokens[:, :1], condition.tokens[:, 1:]
        moved = self.move(first, share, scale, audible=audible and made == {Modality.AUDIO} and not only_text)
        return replace(condition, tokens=torch.cat([moved, rest], dim=1))

    @property
    def _text_scale(self) -> float:
        return self.config.scale if self.config.text_scale is None else self.config.text_scale

    def understood(self, condition: Condition, sentences: torch.Tensor) -> Condition:
        """Correct the aligned embedding of each text where the projection misreads it.

        The projection into the shared space learned from captions alone, and takes "a big African animal with a trunk" for a
        camel; the frozen sentence encoder, which read a billion sentences, knows better. What the nearest anchors by the former
        show is replaced by what they show by the latter. What no anchor says (a style, a motion) stays as far as both think of
        the same anchors (the Bhattacharyya coefficient of their attention): beside a thing that is not meant it means nothing.
        A text that both understand alike stays as it is.

        Args:
            condition: of texts, tokens [B, N, D].
            sentences: their sentence embeddings [B, E], L2-normalised.
        """
        if self.sentences is None:
            return condition
        first, anchors = condition.tokens[:, 0], self.anchors.float()
        exact = F.normalize(first.float(), dim=-1)
        by_projection = (self._text_scale * exact @ anchors.T).softmax(-1)  # [B, K]
        by_sentence = (self.config.sentence_scale * sentences.float() @ self.sentences.float().T).softmax(-1)
        read, meant = (F.normalize(attention @ anchors, dim=-1) for attention in (by_projection, by_sentence))
        agreement = (by_projection * by_sentence).sqrt().sum(-1, keepdim=True)
        corrected = F.normalize(meant + agreement * (exact - read), dim=-1).to(first.dtype)
        return replace(condition, tokens=torch.cat([corrected[:, None], condition.tokens[:, 1:]], dim=1))

    def move(
        self,
        embeddings: torch.Tensor,
        share: float | None = None,
        scale: float | None = None,
        audible: bool = False,
    ) -> torch.Tensor:
        """Move embeddings [..., D], which become of length 1 first; zeros (no prompt) stay.

        Args:
            embeddings: in the shared space.
            share: how far; the config's if None.
            scale: inverse temperature; the config's if None.
            audible: only names that have a sound count, if any are known: a picture is heard as the likest thing that has one.
        """
        share = self.config.share if share is None else share
        scale = self.config.scale if scale is None else scale
        exact = F.normalize(embeddings.float(), dim=-1)
        anchors = self.anchors.float().to(exact.device)
        if audible and self.audible_pairs is not None:
            anchors = anchors[self.audible_pairs[:, 1].long().unique().to(anchors.device)]
        texts = F.normalize((scale * exact @ anchors.T).softmax(-1) @ anchors, dim=-1)
        moved = F.normalize((1 - share) * exact + share * texts, dim=-1)
        return torch.where(exact.norm(dim=-1, keepdim=True) > 0, moved, exact).to(embeddings.dtype)

    def audible(self, said: torch.Tensor, prompts: torch.Tensor) -> torch.Tensor:
        """What is said where a sound is made of it: moved to the nearest texts, as ``move`` does, but of those that have one.

        Only where the prompt leaves open which thing is meant. If it says a kind, the nearest name of that kind that has a
        sound takes its place; if there is no prompt, the nearest of any kind. A prompt that names a thing, and a kind of
        which nothing has a sound, change nothing.

        Args:
            said: embeddings of texts [B, D].
            prompts: of what they were made from [B, D]; zeros are no prompt.

        Returns:
            [B, D].
        """
        nearest = self.move(said, share=1.0)
        if self.audible_pairs is None:
            return nearest
        kinds, names = self.audible_pairs.long().to(said.device).unbind(1)
        anchors = self.anchors.float().to(said.device)
        likeness, meant = (F.normalize(prompts.float(), dim=-1) @ anchors.T).max(1)
        of_kind = (meant[:, None] == kinds) & (likeness[:, None] >= OPEN)
        allowed = of_kind | ~prompts.any(1)[:, None]  # [B, P]
        cosines = F.normalize(said.float(), dim=-1) @ anchors[names].T
        chosen = anchors[names[cosines.masked_fill(~allowed, -torch.inf).argmax(1)]].to(said.dtype)
        return torch.where(allowed.any(1, keepdim=True), chosen, nearest)


class AnchoredPrompts(Extra):
    """Draws the mixed prompt towards known texts (``PromptAnchors.forward``)."""

    needs = ("prompt_anchors",)

    def prompt(self, condition: Condition, call: Call, negative: bool = False) -> Condition:
        """The prompt, moved; a negative prompt and the absence of any input stay as they are."""
        if negative or not call.inputs:
            return condition
        anchors = call.part("prompt_anchors")
        return anchors(
            condition.to(anchors.device),
            only_text=call.inputs == {Modality.TEXT},
            outputs=call.outputs,
            audible="audible_names" in call.extras,
        )
