"""What a prompt encoder returns."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from diffusers import ModelMixin

from ..errors import ArgumentError

UNCONDITIONAL_CHOICES = ("zeros", "empty")


@dataclass(frozen=True, eq=False)
class Condition:
    """A batch of prompts in the shared space.

    Attributes:
        tokens: [B, N, D]. ``tokens[:, 0]`` is the aligned, L2-normalised embedding (zeros where unconditional).
        mask: bool [B, N], True where a token counts.
        manner: [B, M], how it is to be shown, beside what: how much each style and motion of a ``MannerReader`` is meant, or
            None if nothing is said of that. Networks that know no manner do without.

    Raises:
        ArgumentError: if the shapes disagree or the mask is not boolean.
    """

    tokens: torch.Tensor
    mask: torch.Tensor
    manner: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if self.tokens.ndim != 3:
            raise ArgumentError(f"Condition.tokens: must be [batch, tokens, width], not {list(self.tokens.shape)}")
        if self.mask.dtype != torch.bool or self.mask.shape != self.tokens.shape[:2]:
            expected, found = list(self.tokens.shape[:2]), list(self.mask.shape)
            raise ArgumentError(f"Condition.mask: must be bool {expected}, not {self.mask.dtype} {found}")
        if self.manner is not None and (self.manner.ndim != 2 or len(self.manner) != len(self.tokens)):
            raise ArgumentError(
                f"Condition.manner: must be [{len(self.tokens)}, manners], not {list(self.manner.shape)}"
            )

    @classmethod
    def from_embedding(cls, embedding: torch.Tensor) -> "Condition":
        """One token per prompt: embedding [B, D] → tokens [B, 1, D], divided by their L2 norm (SPEC §1.1)."""
        tokens = torch.nn.functional.normalize(embedding, dim=-1).unsqueeze(1)
        return cls(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device))

    @classmethod
    def zeros(cls, batch_size: int, width: int, like: torch.Tensor | ModelMixin) -> "Condition":
        """No prompt at all: a zero token [B, 1, D] with the device and dtype of a tensor or a network."""
        tokens = torch.zeros(batch_size, 1, width, device=like.device, dtype=like.dtype)
        return cls(tokens, torch.ones(batch_size, 1, dtype=torch.bool, device=like.device))

    def spread(self, batch_size: int) -> "Condition":
        """One prompt for every one of a batch; a batch of prompts stays as it is."""
        return self._each(lambda tensor: tensor.expand(batch_size, *(-1,) * (tensor.ndim - 1)))

    def repeated(self, times: int) -> "Condition":
        """Each prompt ``times`` times in a row."""
        return self._each(lambda tensor: tensor.repeat_interleave(times, 0))

    def to(self, *args, **kwargs) -> "Condition":
        """Move or cast tokens and manner as ``Tensor.to`` does; the mask follows to the same device."""
        tokens = self.tokens.to(*args, **kwargs)
        manner = None if self.manner is None else self.manner.to(*args, **kwargs)
        return Condition(tokens, self.mask.to(tokens.device), manner)

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Condition":
        return Condition(change(self.tokens), change(self.mask), None if self.manner is None else change(self.manner))


def check_unconditional(choice: str) -> None:
    """Raise ArgumentError unless a prompt encoder's ``unconditional`` is one of the known choices."""
    if choice not in UNCONDITIONAL_CHOICES:
        raise ArgumentError(f"unconditional: must be one of {', '.join(UNCONDITIONAL_CHOICES)}, not {choice!r}")
