"""Layers that both denoisers share: attention on tokens, one block of the UNet, and the time embedding."""

import torch
import torch.nn.functional as F
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from einops import rearrange
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from .clock import TimeQuery
from .context import Context


def zero_init(layer: nn.Module) -> nn.Module:
    """Zero a layer's parameters, so that the residual branch it ends starts as an identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention on ``[batch, heads, tokens, head_dim]``.

    ``bias`` is added to the logits; a boolean one says which tokens count.
    """
    if query.device.type == "cpu" and query.dtype != torch.float32 and torch.is_grad_enabled():
        # The fused kernel's half-precision backward on the CPU takes about twice as long as plain matrix products.
        with sdpa_kernel(SDPBackend.MATH):
            return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)


class AttentionProcessor:
    """What diffusers' ``Attention`` computes here: ``attend`` between its projections."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        time: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> Tensor:
        """``hidden_states`` [B, N, C], ``encoder_hidden_states`` [B, M, D] (default: self-attention) -> [B, N, C].

        ``attention_mask`` [B, 1, 1, M] is True where a token of the other counts, or added to the logits. ``time`` is
        what ``TimeQuery`` adds.
        """
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)
        if time is not None:
            query, key = query + time[0], key + time[1]
            attention_mask = time[2] if attention_mask is None else attention_mask + time[2]
        if attention_mask is not None and attention_mask.is_floating_point():
            attention_mask = attention_mask.to(query.dtype)
        query, key, value = (rearrange(states, "b n (h d) -> b h n d", h=attn.heads) for states in (query, key, value))
        return attn.to_out[0](rearrange(attend(query, key, value, attention_mask), "b h n d -> b n (h d)"))


class SpatialTransformer(nn.Module):
    """Self-attention, cross-attention on a context and a gated feed-forward, as one residual branch (SPEC §2.1).

    Args:
        channels: channels of the feature map.
        context_dim: size of a context token.
        num_heads: attention heads; must divide ``width``.
        feed_forward_mult: hidden width of the feed-forward, as a multiple of ``width``.
        norm_num_groups: groups of the norm at the entry; must divide ``channels``.
        width: channels inside the branch; ``None`` means ``channels``, as in the reference.
        with_time: build a ``TimeQuery`` for contexts whose tokens have a time.
    """

    def __init__(
        self,
        channels: int,
        context_dim: int,
        num_heads: int,
        feed_forward_mult: float,
        norm_num_groups: int,
        width: int | None = None,
        with_time: bool = False,
    ):
        super().__init__()
        width = width or channels
        heads = {"heads": num_heads, "dim_head": width // num_heads, "processor": AttentionProcessor()}
        self.norm = nn.GroupNorm(norm_num_groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, width)
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = Attention(width, **heads)
        self.norm2 = nn.LayerNorm(width)
        self.attn2 = Attention(width, cross_attention_dim=context_dim, **heads)
        self.time = TimeQuery(width, num_heads) if with_time else None
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width, mult=feed_forward_mult, activation_fn="geglu")
        self.proj_out = zero_init(nn.Linear(width, channels))

    def forward(self, x: Tensor, context: Context, seconds: Tensor | None = None) -> Tensor:
        """``x`` [B, C, *positions], ``context`` of tokens [B, N, context_dim] -> like ``x``.

        ``seconds`` [B or 1, positions or 1] is when each position is; None where there is no time.
        """
        tokens = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))
        tokens = tokens + self.attn1(self.norm1(tokens))
        tokens = tokens + self.cross_attention(tokens, context, seconds)
        tokens = tokens + self.ff(self.norm3(tokens))
        return x + self.proj_out(tokens).transpose(1, 2).unflatten(2, x.shape[2:])

    def of_vectors(self, x: Tensor, context: Context, tokens: int) -> Tensor:
        """``x`` [B, C * tokens], channel-major -> like ``x``."""
        return self(x.unflatten(1, (-1, tokens)), context).flatten(1)

    def cross_attention(self, tokens: Tensor, context: Context, seconds: Tensor | None = None) -> Tensor:
        """What the context adds to every token: [B, 1, width] for one context token, else [B, N, width].

        One token needs no attending, exactly, and its gradients do not either (see ``Context``).
        """
        if context.is_single:
            return context.constant(self.attn2, lambda single: self.attn2.to_out[0](self.attn2.to_v(single)))
        keys, mask = context.keys()
        timed = self.time is not None and seconds is not None and context.seconds is not None
        time = {"time": self.time(seconds, context.seconds)} if timed else {}
        return self.attn2(self.norm2(tokens), keys, attention_mask=mask, **time)


class Block(nn.Module):
    """One step of the UNet: ``residual → attention → resample``, each part optional."""

    def __init__(
        self,
        residual: nn.Module | None = None,
        attention: SpatialTransformer | None = None,
        resample: nn.Module | None = None,
        tokens_per_feature: int | None = None,
    ):
        super().__init__()
        self.residual, self.attention, self.resample = residual, attention, resample
        self.tokens_per_feature = tokens_per_feature

    def forward(self, x: Tensor, time_embedding: Tensor, context: Context | None = None) -> Tensor:
        """``x`` [B, C, h, w] or [B, C * tokens] -> the next feature."""
        if self.residual is not None:
            x = self.residual(x, time_embedding)
        if self.attention is not None:
            tokens = self.tokens_per_feature
            x = self.attention(x, context) if tokens is None else self.attention.of_vectors(x, context, tokens)
        if self.resample is not None:
            x = self.resample(x)
        return x


class Head(nn.Module):
    """Norm, SiLU and a projection: how a network and its environment encoder end."""

    def __init__(self, channels: int, projection: nn.Module, norm_num_groups: int, tokens_per_feature: int | None):
        super().__init__()
        self.tokens_per_feature = tokens_per_feature
        self.norm = nn.GroupNorm(norm_num_groups, channels, eps=1e-5)
        self.proj = projection

    def forward(self, x: Tensor) -> Tensor:
        """``x`` [B, C, h, w] or [B, C * tokens] -> what ``projection`` makes of it."""
        if self.tokens_per_feature is None:
            return self.proj(F.silu(self.norm(x)))
        return self.proj(F.silu(self.norm(x.unflatten(1, (-1, self.tokens_per_feature)))).flatten(1))


class TimeEmbedding(nn.Module):
    """Sinusoid of the timestep, cosines first, through two linear layers (SPEC §2)."""

    def __init__(self, channels: int, embedding_dim: int):
        super().__init__()
        self.sinusoid = Timesteps(channels, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.mlp = TimestepEmbedding(channels, embedding_dim)

    def forward(self, timesteps: Tensor, dtype: torch.dtype) -> Tensor:
        """``timesteps`` [B], whole or fractional -> [B, embedding_dim]."""
        return self.mlp(self.sinusoid(timesteps).to(dtype))
