"""What a prompt encoder returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

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
        attributes: name → [B, ...], further numbers that a network may know how to use. They are mixed like the tokens.
        has_details: whether each further token stands for something of its own, a word or a region. When prompts are mixed such
            tokens are listed one after the other; others are interpolated place by place.

    Raises:
        ArgumentError: if the shapes disagree or the mask is not boolean.
    """

    tokens: torch.Tensor
    mask: torch.Tensor
    attributes: Mapping[str, torch.Tensor] = field(default_factory=dict)
    has_details: bool = False

    def __post_init__(self) -> None:
        if self.tokens.ndim != 3:
            raise ArgumentError(f"Condition.tokens: must be [batch, tokens, width], not {list(self.tokens.shape)}")
        if self.mask.dtype != torch.bool or self.mask.shape != self.tokens.shape[:2]:
            expected, found = list(self.tokens.shape[:2]), list(self.mask.shape)
            raise ArgumentError(f"Condition.mask: must be bool {expected}, not {self.mask.dtype} {found}")
        for name, value in self.attributes.items():
            if value.ndim < 2 or len(value) != len(self.tokens):
                raise ArgumentError(
                    f"Condition.attributes: {name} must be [{len(self.tokens)}, ...], not {list(value.shape)}"
                )

    @classmethod
    def from_embedding(cls, embedding: torch.Tensor) -> "Condition":
        """One token per prompt: embedding [B, D] → tokens [B, 1, D], divided by their L2 norm (SPEC §1.1)."""
        tokens = torch.nn.functional.normalize(embedding, dim=-1).unsqueeze(1)
        return cls(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device))

    def followed_by(self, details: torch.Tensor, mask: torch.Tensor | None = None) -> "Condition":
        """The same with further tokens [B, M, D], each divided by its L2 norm; ``mask`` bool [B, M], None: all count."""
        details = torch.nn.functional.normalize(details, dim=-1)
        if mask is None:
            mask = torch.ones(details.shape[:2], dtype=torch.bool, device=details.device)
        details = details * mask.unsqueeze(-1)
        return Condition(torch.cat([self.tokens, details], 1), torch.cat([self.mask, mask], 1), self.attributes, True)

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
        """Move or cast tokens and attributes as ``Tensor.to`` does; the mask follows to the same device."""
        tokens = self.tokens.to(*args, **kwargs)
        attributes = {name: value.to(*args, **kwargs) for name, value in self.attributes.items()}
        return Condition(tokens, self.mask.to(tokens.device), attributes, self.has_details)

    def equals(self, other: "Condition") -> bool:
        """Whether both say the same."""
        if self is other:
            return True
        if self.tokens.shape != other.tokens.shape or self.attributes.keys() != other.attributes.keys():
            return False
        return (
            torch.equal(self.tokens, other.tokens)
            and torch.equal(self.mask, other.mask)
            and all(torch.equal(value, other.attributes[name]) for name, value in self.attributes.items())
        )

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Condition":
        attributes = {name: change(value) for name, value in self.attributes.items()}
        return Condition(change(self.tokens), change(self.mask), attributes, self.has_details)


def check_unconditional(choice: str) -> None:
    """Raise ArgumentError unless a prompt encoder's ``unconditional`` is one of the known choices."""
    if choice not in UNCONDITIONAL_CHOICES:
        raise ArgumentError(f"unconditional: must be one of {', '.join(UNCONDITIONAL_CHOICES)}, not {choice!r}")
