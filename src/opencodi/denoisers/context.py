"""What cross-attention attends to: the tokens of a prompt, or those of the other modalities' environments."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor


class Context:
    """Tokens for the cross-attentions of a denoiser, and what each attention makes of a single one.

    With one key the softmax is 1 whatever the query, so a cross-attention adds one vector to all positions (SPEC §0.4). Each
    attention computes its vector when it first meets the context; kept by a sampler for a trajectory (the prompt) or a step
    (the environment), the context makes it do so once. With weights that change in between, make a new one.

    Args:
        tokens: [B, N, D], one row for each sample of the pass.
        mask: bool [B, N], True where a token counts, at least one of each row; None if all do.
        seconds: [N], when in the sample each token is, NaN for one that is about all of it; None if all are.
        bias: [N], added to the attention logits of each token; None adds nothing.
        attributes: name → [B, ...]: what else is asked for, for adapters that know the name. A denoiser ignores it.
        rows: bool [B], the samples that see these tokens. The others are computed as if there were none. None: all see
            them. For environments; a prompt is for all.
    """

    def __init__(
        self,
        tokens: Tensor,
        mask: Tensor | None = None,
        seconds: Tensor | None = None,
        bias: Tensor | None = None,
        attributes: Mapping[str, Tensor] | None = None,
        rows: Tensor | None = None,
    ):
        self.tokens = tokens
        self.mask = None if mask is None or mask.all() else mask
        self.seconds, self.bias = seconds, bias
        self.attributes = dict(attributes or {})
        self.rows = None if rows is None or rows.all() else rows
        self.frames = 1
        self._constants: dict[Hashable, Any] = {}

    def repeated(self, frames: int) -> Self:
        """The same for a batch in which each sample is ``frames`` times in a row, as the frames of a clip are.

        What was computed and what will be is shared with this one.
        """
        larger = type(self)(self.tokens, self.mask, self.seconds, self.bias, self.attributes, self.rows)
        larger.frames = frames * self.frames
        larger._constants = self._constants
        return larger

    def stacked(self, listens: Sequence[bool]) -> Self:
        """The same for passes one below the other [len(listens) * B, N, D], of which some see it; made once."""
        return self._once(("stacked", *listens), lambda _: self._stack(listens))

    def _stack(self, listens: Sequence[bool]) -> Self:
        count, size = len(listens), len(self.tokens)
        rows = torch.tensor(listens, device=self.tokens.device).repeat_interleave(size)
        if self.rows is not None:
            rows = rows & self.rows.repeat(count)
        mask = None if self.mask is None else torch.cat([self.mask] * count)
        attributes = {name: torch.cat([value] * count) for name, value in self.attributes.items()}
        return type(self)(torch.cat([self.tokens] * count), mask, self.seconds, self.bias, attributes, rows)

    def selected(self) -> tuple[Self, slice | Tensor | None]:
        """The part of the batch that sees it: (a context of these samples alone, their places); None: all of it.

        Places are those in the batch with its frames: a slice where they follow one another, else numbers [M].
        """
        if self.rows is None:
            return self, None
        places, part = self._once("selected", lambda _: self._select())
        if self.frames == 1:
            return part, places
        if isinstance(places, slice):
            return part.repeated(self.frames), slice(places.start * self.frames, places.stop * self.frames)
        steps = torch.arange(self.frames, device=places.device)
        return part.repeated(self.frames), (places[:, None] * self.frames + steps).flatten()

    def _select(self) -> tuple[slice | Tensor, Self]:
        chosen = self.rows.nonzero()[:, 0].tolist()
        start, stop = (chosen[0], chosen[-1] + 1) if chosen else (0, 0)
        in_a_row = stop - start == len(chosen)
        places = slice(start, stop) if in_a_row else torch.tensor(chosen, device=self.tokens.device)
        attributes = {name: value[places] for name, value in self.attributes.items()}
        mask = None if self.mask is None else self.mask[places]
        return places, type(self)(self.tokens[places], mask, self.seconds, self.bias, attributes)

    @property
    def is_single(self) -> bool:
        """Whether there is one token for each sample."""
        return self.tokens.shape[1] == 1

    def mean(self) -> Tensor:
        """The mean of the tokens [B, D], L2-normalised; with ``bias``, as an attention that has only that would weigh them."""
        weights = torch.zeros_like(self.tokens[0, :, 0]) if self.bias is None else self.bias.to(self.tokens.dtype)
        return F.normalize(torch.einsum("n,bnd->bd", weights.softmax(0), self.tokens), dim=-1)

    def constant(self, layer: Hashable, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """``compute(tokens)`` [B, ...], computed once for this layer, repeated for each frame."""
        return self._spread(self._once(layer, compute))

    def kept(self, layer: Hashable, compute: Callable[[], Tensor]) -> Tensor:
        """``compute()``, computed once for this layer: for what depends on weights alone."""
        return self._once(layer, lambda _: compute())

    def of_frames(self, layer: Hashable, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """``compute(tokens)`` [B, frames, ...], computed once for this layer, with the frames folded into the batch."""
        return self._once(layer, compute).flatten(0, 1)

    def keys(self) -> tuple[Tensor, Tensor | None]:
        """Tokens [batch, N, D] and their mask, repeated for each frame.

        The mask is None, boolean [batch, 1, 1, N], or (with ``bias`` or ``seconds``) what it adds to the logits.
        """
        mask = None if self.mask is None else self._spread(self.mask)[:, None, None]
        if mask is not None and (self.bias is not None or self.seconds is not None):
            mask = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, -torch.inf)
        if self.bias is not None:
            bias = self.bias[None, None, None]
            mask = bias if mask is None else mask + bias
        return self._spread(self.tokens), mask

    def _once(self, layer: Hashable, compute: Callable[[Tensor], Any]) -> Any:
        if layer not in self._constants:
            self._constants[layer] = compute(self.tokens)
        return self._constants[layer]

    def _spread(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(self.frames, dim=0) if self.frames > 1 else x
