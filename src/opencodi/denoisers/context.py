"""What cross-attention listens to: the tokens of a prompt or of the other modalities' environments."""

from collections.abc import Callable, Hashable
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor


class Context:
    """Tokens for the cross-attentions of a denoiser, and what each attention makes of a single one.

    With one key the softmax is 1 whatever the query, so a cross-attention adds one vector to all positions (SPEC §0.4). Each
    attention computes its vector when it first meets the context; kept by a sampler for a trajectory (the prompt) or a step
    (the environment), the context makes it do so once. With weights that change in between, make a new one.

    Args:
        tokens: [B, N, D].
        mask: bool [B, N], True where a token counts, at least one of each row; None if all do.
        seconds: [N], when in the sample each token is, NaN for one that is about all of it; None if all are.
        bias: [N], added to the attention logits of each token; None adds nothing.
        manner: [B, M], how what the tokens name is to be shown (``Condition.manner``); None says nothing of it.
    """

    def __init__(
        self,
        tokens: Tensor,
        mask: Tensor | None = None,
        seconds: Tensor | None = None,
        bias: Tensor | None = None,
        manner: Tensor | None = None,
    ):
        self.tokens = tokens
        self.mask = None if mask is None or mask.all() else mask
        self.seconds, self.bias, self.manner = seconds, bias, manner
        self.halves = self.frames = 1
        self.only_last = False
        self._constants: dict[Hashable, Tensor] = {}

    def repeated(self, halves: int = 1, frames: int = 1, only_last: bool = False) -> Self:
        """The same for a larger batch: all of it ``halves`` times over (guidance), each sample ``frames`` times (video).

        With ``only_last`` it counts in the last of the halves alone: ``heard`` keeps the others as if it were not there.
        What was computed and what will be is shared with this one.
        """
        larger = type(self)(self.tokens, self.mask, self.seconds, self.bias, self.manner)
        larger.halves, larger.frames = halves * self.halves, frames * self.frames
        larger.only_last = only_last or self.only_last
        larger._constants = self._constants
        return larger

    def stacked(self, listens: tuple[bool, ...]) -> Self:
        """The same for passes one below the other, of which some listen: all of them, or the last alone."""
        return self.repeated(halves=len(listens), only_last=not all(listens))

    def heard(self, without: Tensor, with_it: Tensor) -> Tensor:
        """``with_it`` [batch, ...] where the context counts, else ``without``, the same before it had a say."""
        if not self.only_last:
            return with_it
        start = len(with_it) - len(with_it) // self.halves
        return torch.cat([without[:start], with_it[start:]])

    @property
    def is_single(self) -> bool:
        """Whether there is one token for each sample."""
        return self.tokens.shape[1] == 1

    def mean(self) -> Tensor:
        """The mean of the tokens [B, D], L2-normalised; with ``bias``, as an attention that has only that would weigh them."""
        weights = torch.zeros_like(self.tokens[0, :, 0]) if self.bias is None else self.bias.to(self.tokens.dtype)
        return F.normalize(torch.einsum("n,bnd->bd", weights.softmax(0), self.tokens), dim=-1)

    def constant(self, layer: Hashable, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """``compute(tokens)`` [B, ...], computed once for this layer, spread over the batch."""
        return self._spread(self._once(layer, compute))

    def of_frames(self, layer: Hashable, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """``compute(tokens)`` [B, frames, ...], computed once for this layer, with the frames folded into the batch."""
        return torch.cat([self._once(layer, compute)] * self.halves).flatten(0, 1)

    def keys(self) -> tuple[Tensor, Tensor | None]:
        """Tokens [batch, N, D] and their mask, spread over the batch.

        The mask is None, boolean [batch, 1, 1, N], or (with ``bias`` or ``seconds``) what it adds to the logits.
        """
        mask = None if self.mask is None else self._spread(self.mask)[:, None, None]
        if mask is not None and (self.bias is not None or self.seconds is not None):
            mask = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, -torch.inf)
        if self.bias is not None:
            bias = self.bias[None, None, None]
            mask = bias if mask is None else mask + bias
        return self._spread(self.tokens), mask

    def _once(self, layer: Hashable, compute: Callable[[Tensor], Tensor]) -> Tensor:
        if layer not in self._constants:
            self._constants[layer] = compute(self.tokens)
        return self._constants[layer]

    def _spread(self, x: Tensor) -> Tensor:
        if self.halves > 1:
            x = torch.cat([x] * self.halves)
        return x.repeat_interleave(self.frames, dim=0) if self.frames > 1 else x
