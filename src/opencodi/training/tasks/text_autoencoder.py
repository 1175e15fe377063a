"""Stage 1, text: sentences ↔ one vector (Optimus, paper §3.2)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...latents.normalisation import channel_statistics
from ...latents.text import TextAutoencoder, TextCodec, build_tokenizer
from ..components import ModelFolder
from ..recipe import Values
from ..task import Task


@dataclass
class Sentences:
    """What a text autoencoder learns from.

    Attributes:
        names: short ones that it must get exactly right.
        captions: of any length.
        held: captions to validate on, never learned from.
    """

    names: list[str]
    captions: list[str]
    held: list[str] = field(default_factory=list)


class TextAutoencoderTask(Task):
    """Learn sentences ↔ vectors.

    The decoder must forgive the errors of a diffuser, so noise is added to the vector in training.
    """

    class Settings(Values):
        """Network widths (see ``TextAutoencoder``), the tokenizer's size and loss weights.

        ``name_share`` of the sentences are plain names, which is what the text diffuser learns to say; ``noise`` is the
        largest standard deviation added to a latent, relative to the latents' own.
        """

        vocab_size: int
        latent_dim: int
        hidden_size: int
        encoder_layers: int
        decoder_layers: int
        intermediate_size: int
        num_attention_heads: int
        name_share: float
        noise: float
        kl_weight: float

    def __init__(self, settings: Settings, data: Sentences, parts: ModelFolder):
        super().__init__()
        self.settings, self.names, self.captions, self.held = settings, data.names, data.captions, data.held
        tokenizer = build_tokenizer(self.captions, settings.vocab_size)
        self.autoencoder = TextAutoencoder(
            latent_dim=settings.latent_dim,
            encoder_vocab_size=len(tokenizer),
            encoder_hidden_size=settings.hidden_size,
            encoder_layers=settings.encoder_layers,
            encoder_heads=settings.num_attention_heads,
            encoder_intermediate_size=settings.intermediate_size,
            decoder_vocab_size=len(tokenizer),
            decoder_hidden_size=settings.hidden_size,
            decoder_layers=settings.decoder_layers,
            decoder_heads=settings.num_attention_heads,
            decoder_intermediate_size=settings.intermediate_size,
        )
        self.codec = TextCodec(self.autoencoder, tokenizer)

    def sample_batch(self, rng: np.random.Generator, batch_size: int) -> dict[str, torch.Tensor]:
        """input_ids and attention_mask [B, L]."""
        from_names = rng.random(batch_size) < self.settings.name_share
        texts = [
            source[rng.integers(0, len(source))]
            for source in (self.names if named else self.captions for named in from_names)
        ]
        return {name: tensor.cpu() for name, tensor in self.codec.tokenize(texts).items()}

    def forward(self, batch: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Cross-entropy of the sentence given its noisy vector, plus a light Kullback–Leibler term."""
        ids, mask = batch["input_ids"], batch["attention_mask"]
        # For short sentences the plain attention trains twice as fast on a CPU as the fused one in bfloat16.
        with sdpa_kernel(SDPBackend.MATH):
            mean, log_variance = self.autoencoder.moments(ids, mask)
            log_variance = log_variance.clamp(-12, 8)
            noise = torch.randn(mean.shape, generator=generator, device=mean.device)
            level = torch.rand(len(mean), 1, generator=generator, device=mean.device) * self.settings.noise
            extra = torch.randn(mean.shape, generator=generator, device=mean.device) * level * mean.detach().std()
            logits = self.autoencoder.reconstruct_logits(mean + noise * (0.5 * log_variance).exp() + extra, ids)
        target = ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
        cross_entropy = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), target.flatten(), ignore_index=-100)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        return {"loss": cross_entropy + self.settings.kl_weight * kl, "cross_entropy": cross_entropy, "kl": kl}

    def validate(self, generator: torch.Generator) -> dict[str, float]:
        """Shares of names and held captions that come back exactly, from their own vectors and from these plus some noise."""
        exact, exact_with_noise = self._exact(self.names[:: max(1, len(self.names) // 256)], generator)
        found = {"exact": exact, "exact_with_noise": exact_with_noise}
        if self.held:
            found["exact_held"], found["exact_held_with_noise"] = self._exact(self.held, generator)
        return found

    def score(self, measures: Mapping[str, float]) -> float | None:
        """The share of texts that come back from their vectors plus noise: held captions, where there are some."""
        return measures.get("exact_held_with_noise", measures.get("exact_with_noise"))

    def _exact(self, texts: list[str], generator: torch.Generator) -> tuple[float, float]:
        latents = self.autoencoder.encode(**self.codec.tokenize(texts))
        noise = torch.randn(latents.shape, generator=generator, device=latents.device) * latents.std() * 0.25
        shares = [np.mean([a == b for a, b in zip(texts, self.codec.decode(z))]) for z in (latents, latents + noise)]
        return float(shares[0]), float(shares[1])

    def finish(self) -> None:
        """Record the latents' per-dimension statistics over the names, and over as many captions where captions are held."""
        texts = self.names + (self.captions[:: max(1, len(self.captions) // len(self.names))] if self.held else [])
        parts = [texts[start : start + 256] for start in range(0, len(texts), 256)]
        raw = torch.cat([self.autoencoder.moments(**self.codec.tokenize(part))[0] for part in parts])
        mean, std = channel_statistics(raw)
        self.autoencoder.register_to_config(latents_mean=mean, latents_std=std)

    def components(self) -> dict[str, Any]:
        """The text autoencoder and its tokenizer."""
        return {"text_autoencoder": self.autoencoder, "text_tokenizer": self.codec.tokenizer}
