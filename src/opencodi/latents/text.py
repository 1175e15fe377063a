"""Sentences ↔ one latent vector: the Optimus autoencoder (Li et al. 2020, SPEC §4 and §9) in library layers."""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils.accelerate_utils import apply_forward_hook
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn
from transformers import BertConfig, BertModel, DynamicCache, GPT2Config, GPT2Model, PreTrainedTokenizerFast

from .normalisation import denormalise, normalise

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"


def _weigh_first(attention_mask: torch.Tensor) -> torch.Tensor:
    return F.one_hot(torch.zeros_like(attention_mask[:, 0]), attention_mask.shape[1])


def _weigh_equally(attention_mask: torch.Tensor) -> torch.Tensor:
    return attention_mask / attention_mask.sum(1, keepdim=True)


_POOLING = {"first": _weigh_first, "mean": _weigh_equally}
"""Pooling → weights [B, L] of the tokens, from the attention mask [B, L]."""


def build_tokenizer(texts: Iterable[str], vocab_size: int = 2048) -> PreTrainedTokenizerFast:
    """Learn a byte-level BPE tokenizer from sentences; the same sentences always give the same tokenizer.

    Any string can be encoded, and decoding gives it back. Case is kept. ``<bos>`` and ``<eos>`` are put around every
    sentence; ``<pad>``, ``<bos>``, ``<eos>`` have the ids 0, 1, 2.

    Args:
        texts: the sentences to learn from.
        vocab_size: largest number of tokens, special ones and the 256 bytes included.
    """
    tokenizer = Tokenizer(models.BPE())
    # The leading space makes a word the same token at the start of a sentence as inside it.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    special = [(token, tokenizer.token_to_id(token)) for token in (BOS, EOS)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A {EOS}", special_tokens=special)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        padding_side="right",
        truncation_side="right",
        clean_up_tokenization_spaces=False,
    )


class TextAutoencoder(ModelMixin, ConfigMixin):
    """A variational autoencoder from a sentence to one vector and back: BERT reads, GPT-2 writes.

    The vector z enters the decoder twice, as in Optimus: a linear map of z is added to every token embedding, and
    another gives each layer one past position whose key and value are both that vector, so tokens count from
    position 1. The output layer is the token embedding itself (tied).

    The published autoencoder is the configuration with BERT-base-cased and GPT-2 small widths (hidden sizes 768, 12
    layers, 12 heads, intermediate sizes 3072), ``latent_dim=768, encoder_vocab_size=28996, encoder_max_length=512,
    token_type_vocab_size=2, decoder_vocab_size=50260, decoder_max_length=1024, pad_token_id=50257, bos_token_id=50258,
    eos_token_id=50259, encoder_pooling="first", log_variance_offset=0, scaling_factor=4.3108, drop_repeats=True``.

    Args:
        latent_dim: D of the latents.
        encoder_vocab_size: tokens the encoder knows.
        encoder_hidden_size: width of the encoder.
        encoder_layers: transformer layers of the encoder.
        encoder_heads: attention heads of the encoder.
        encoder_intermediate_size: width of its feed-forward layers.
        encoder_max_length: longest sentence it reads, in tokens.
        encoder_pad_token_id: padding id of the encoder's tokenizer.
        encoder_pooling: what the encoder's pooler reads: the ``"first"`` token, as BERT does, or the ``"mean"`` of all, which
            a small encoder trained from nothing learns far faster.
        token_type_vocab_size: segment embeddings (2 in BERT; only the first is used).
        decoder_vocab_size: tokens the decoder knows.
        decoder_hidden_size: width of the decoder.
        decoder_layers: transformer layers of the decoder.
        decoder_heads: attention heads of the decoder.
        decoder_intermediate_size: width of its feed-forward layers.
        decoder_max_length: positions of the decoder; one is taken by the latent.
        pad_token_id: id that fills finished sentences.
        bos_token_id: id every sentence starts with.
        eos_token_id: id that ends a sentence.
        dropout: probability of dropout everywhere, in training only.
        log_variance_offset: added to the log-variances of the posterior. Below zero, training starts with vectors that
            are clearer than their noise, and the decoder learns to listen to them.
        scaling_factor: latents are multiplied by this.
        latents_mean: per-dimension mean of the raw latents, or None.
        latents_std: per-dimension standard deviation of the raw latents, or None.
        sample_length: most tokens of a sentence that is read or written, ``<bos>`` and ``<eos>`` included.
        drop_repeats: words and phrases that follow themselves are written once, as the published code does (SPEC §4).
    """

    @register_to_config
    def __init__(
        self,
        latent_dim: int = 256,
        encoder_vocab_size: int = 2048,
        encoder_hidden_size: int = 192,
        encoder_layers: int = 2,
        encoder_heads: int = 6,
        encoder_intermediate_size: int = 384,
        encoder_max_length: int = 64,
        encoder_pad_token_id: int = 0,
        encoder_pooling: str = "mean",
        token_type_vocab_size: int = 1,
        decoder_vocab_size: int = 2048,
        decoder_hidden_size: int = 192,
        decoder_layers: int = 3,
        decoder_heads: int = 6,
        decoder_intermediate_size: int = 384,
        decoder_max_length: int = 65,
        pad_token_id: int = 0,
        bos_token_id: int = 1,
        eos_token_id: int = 2,
        dropout: float = 0.0,
        log_variance_offset: float = -4.0,
        scaling_factor: float = 1.0,
        latents_mean: Sequence[float] | None = None,
        latents_std: Sequence[float] | None = None,
        sample_length: int = 32,
        drop_repeats: bool = False,
    ):
        super().__init__()
        self.encoder = BertModel(
            BertConfig(
                vocab_size=encoder_vocab_size,
                hidden_size=encoder_hidden_size,
                num_hidden_layers=encoder_layers,
                num_attention_heads=encoder_heads,
                intermediate_size=encoder_intermediate_size,
                max_position_embeddings=encoder_max_length,
                type_vocab_size=token_type_vocab_size,
                pad_token_id=encoder_pad_token_id,
                hidden_dropout_prob=dropout,
                attention_probs_dropout_prob=dropout,
                # The usual 0.02 suits width 768; at width 192 it leaves hardly any signal and learning starts late.
                initializer_range=encoder_hidden_size**-0.5,
            )
        )
        self.to_moments = nn.Linear(encoder_hidden_size, 2 * latent_dim, bias=False)
        nn.init.normal_(self.to_moments.weight, std=encoder_hidden_size**-0.5)
        # GPT2Model with the head applied by hand is GPT2LMHeadModel, without two names for one tied tensor on disk.
        self.decoder = GPT2Model(
            GPT2Config(
                vocab_size=decoder_vocab_size,
                n_embd=decoder_hidden_size,
                n_layer=decoder_layers,
                n_head=decoder_heads,
                n_inner=decoder_intermediate_size,
                n_positions=decoder_max_length,
                resid_pdrop=dropout,
                embd_pdrop=dropout,
                attn_pdrop=dropout,
                initializer_range=decoder_hidden_size**-0.5,
                bos_token_id=bos_token_id,
                eos_token_id=eos_token_id,
                pad_token_id=None,
            )
        )
        self.latent_to_embedding = nn.Linear(latent_dim, decoder_hidden_size, bias=False)
        self.latent_to_memory = nn.Linear(latent_dim, decoder_layers * decoder_hidden_size, bias=False)

    def moments(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids [B, L], mask [B, L] (1: token, 0: padding) → mean and log-variance of raw latents, each [B, D]."""
        if attention_mask is None:
            attention_mask = (input_ids != self.config.encoder_pad_token_id).long()
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = _POOLING[self.config.encoder_pooling](attention_mask).to(hidden)
        pooled = self.encoder.pooler((weights.unsqueeze(-1) * hidden).sum(1, keepdim=True))
        mean, log_variance = self.to_moments(pooled).chunk(2, dim=-1)
        return mean, log_variance + self.config.log_variance_offset

    @apply_forward_hook
    def encode(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        generator: torch.Generator | None = None,
        sample: bool = False,
    ) -> torch.Tensor:
        """Token ids [B, L] → normalised latents [B, D]; the posterior mean unless ``sample``."""
        raw, log_variance = self.moments(input_ids, attention_mask)
        if sample:
            noise = torch.randn(raw.shape, generator=generator, device=generator.device if generator else raw.device)
            raw = raw + noise.to(raw) * (0.5 * log_variance).exp()
        return normalise(raw, self.config)

    def reconstruct_logits(self, raw: torch.Tensor, input_ids: torch.Tensor) -> torch.Tensor:
        """Raw latents [B, D] and the true sentence [B, L] → logits of the next token at each position [B, L, V].

        Sentences padded on the right need no mask: no position sees a later one. For a decoder that forgives the
        errors of a diffuser, add noise to ``raw`` in training.
        """
        logits, _ = self._step(raw, input_ids, self._memory(raw), past_length=0)
        return logits

    def decode_logits(self, latents: torch.Tensor, input_ids: torch.Tensor) -> torch.Tensor:
        """``reconstruct_logits`` from normalised latents [B, D]."""
        return self.reconstruct_logits(denormalise(latents, self.config), input_ids)

    @torch.no_grad()
    @apply_forward_hook
    def generate(
        self,
        latents: torch.Tensor,
        max_length: int | None = None,
        do_sample: bool = False,
        temperature: float = 1.0,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
    ) -> torch.Tensor:
        """Normalised latents [B, D] → token ids [B, at most max_length], from ``<bos>``; ended sentences are padded.

        Args:
            latents: what the text diffuser makes.
            max_length: most tokens, ``<bos>`` and ``<eos>`` included; the config's ``sample_length`` by default.
            do_sample: draw each token from its distribution; otherwise take the likeliest, so that a sentence does not
                depend on the others of its batch.
            temperature: divides the logits before drawing.
            generator: source of the draws; from a list, each sentence takes its own, and then does not depend on the
                others of its batch.
        """
        raw = denormalise(latents, self.config)
        max_length = min(max_length or self.config.sample_length, self.config.decoder_max_length - 1)
        ids = torch.full((raw.shape[0], 1), self.config.bos_token_id, dtype=torch.long, device=raw.device)
        ended = torch.zeros_like(ids, dtype=torch.bool)
        cache = self._memory(raw)
        while ids.shape[1] < max_length and not ended.all():
            logits, cache = self._step(raw, ids[:, -1:], cache, past_length=ids.shape[1] - 1)
            logits = logits[:, -1].float()
            if do_sample:
                token = _draw((logits / temperature).softmax(-1), generator)
            else:
                token = logits.argmax(-1, keepdim=True)
            token = token.masked_fill(ended, self.config.pad_token_id)
            ended = ended | (token == self.config.eos_token_id)
            ids = torch.cat([ids, token], dim=1)
        return ids

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Normalised latents [B, D] → token ids [B, L], the likeliest token at each step."""
        return self.generate(latents)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Token ids [B, L] → logits [B, L, V] of the same sentence, from the posterior mean."""
        raw, _ = self.moments(input_ids, attention_mask)
        return self.reconstruct_logits(raw, input_ids)

    def _memory(self, raw: torch.Tensor) -> DynamicCache:
        """The latent as one past position of every layer; its key and value are the same vector."""
        config, cache = self.config, DynamicCache()
        memory = self.latent_to_memory(raw).view(
            raw.shape[0],
            config.decoder_layers,
            config.decoder_heads,
            1,
            config.decoder_hidden_size // config.decoder_heads,
        )
        for layer in range(config.decoder_layers):
            cache.update(memory[:, layer], memory[:, layer], layer)
        return cache

    def _step(
        self, raw: torch.Tensor, input_ids: torch.Tensor, cache: DynamicCache, past_length: int
    ) -> tuple[torch.Tensor, DynamicCache]:
        """Tokens [B, L] after ``past_length`` others and the latent → logits [B, L, V] and the cache grown by L."""
        embeddings = self.decoder.wte(input_ids) + self.latent_to_embedding(raw).unsqueeze(1)
        positions = torch.arange(past_length + 1, past_length + 1 + input_ids.shape[1], device=input_ids.device)
        hidden = self.decoder(
            inputs_embeds=embeddings,
            past_key_values=cache,
            position_ids=positions.unsqueeze(0),
            use_cache=True,
        ).last_hidden_state
        return F.linear(hidden, self.decoder.wte.weight), cache


def _draw(probabilities: torch.Tensor, generator: torch.Generator | Sequence[torch.Generator] | None) -> torch.Tensor:
    """One token [B, 1] from each row of probabilities [B, V], drawn where the generator lives."""
    if isinstance(generator, Sequence):
        return torch.cat([_draw(row[None], own) for row, own in zip(probabilities, generator)])
    device = generator.device if generator else probabilities.device
    return torch.multinomial(probabilities.to(device), 1, generator=generator).to(probabilities.device)


class TextCodec:
    """Sentences ↔ latents [B, D].

    Args:
        autoencoder: turns token ids into latents and back.
        tokenizer: turns sentences into token ids and back, both for the encoder and the decoder.
    """

    def __init__(self, autoencoder: TextAutoencoder, tokenizer: PreTrainedTokenizerFast):
        self.autoencoder = autoencoder
        self.tokenizer = tokenizer
        self.defaults: dict[str, int] = {}

    def latent_shape(self, batch_size: int, **_: object) -> tuple[int, ...]:
        """[B, D], whatever the length of the sentence."""
        return batch_size, self.autoencoder.config.latent_dim

    def tokenize(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Sentences → ``input_ids`` and ``attention_mask`` [B, L], padded to the longest, cut to ``sample_length``."""
        tokens = self.tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self.autoencoder.config.sample_length,
            return_tensors="pt",
            return_token_type_ids=False,
        )
        return dict(tokens.to(self.autoencoder.device))

    def encode(self, texts: Sequence[str], **_: object) -> torch.Tensor:
        """Sentences → latents [B, D]."""
        return self.autoencoder.encode(**self.tokenize(texts))

    def decode(self, latents: torch.Tensor, generator: Sequence[torch.Generator] | None = None) -> list[str]:
        """Latents [B, D] → sentences: the likeliest word at each step, or drawn words if there is a generator for each."""
        latents = latents.to(self.autoencoder.dtype)
        ids = self.autoencoder.generate(latents, do_sample=generator is not None, generator=generator)
        texts = [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]
        return [without_repeats(text) for text in texts] if self.autoencoder.config.drop_repeats else texts

    decode_arrays = decode


def without_repeats(text: str) -> str:
    """``"a cat and a cat and a dog"`` → ``"a cat and a dog"``: what follows itself is written once, words first."""
    words, length = text.split(), 1
    while 2 * length <= len(words):
        start = 0
        while start + 2 * length <= len(words):
            if words[start : start + length] == words[start + length : start + 2 * length]:
                del words[start + length : start + 2 * length]
            else:
                start += 1
        length += 1
    return " ".join(words)
