"""Several prompts, one condition: weighted interpolation of their embeddings (paper §3.1, SPEC §1.2)."""

from collections.abc import Sequence
from math import isfinite

import torch

from ..errors import ArgumentError
from .condition import Condition


def mix(conditions: Sequence[Condition], weights: Sequence[float]) -> Condition:
    """Interpolate conditions: sum of weight_i / sum(weights) * tokens_i.

    The result is not normalised again, as in the reference: two prompts that disagree give a shorter vector. Conditions
    of fewer tokens are padded at the end with masked zeros (the reference refuses them); a token of the result counts
    if it counts in any condition of non-zero weight. Attributes are interpolated likewise; a condition that lacks one adds
    nothing to it.

    Tokens that stand for words or regions (``Condition.has_details``) are not added up: they are listed one after the other,
    those of the heaviest prompt as they are, the others shorter by their weight.

    Args:
        conditions: any number of [B, N_i, D], from any modalities, several of one modality included.
        weights: one non-negative number per condition; only their proportions matter.

    Returns:
        Condition [B, max(N_i), D].

    Raises:
        ArgumentError: if there is nothing to mix, a weight is negative or not finite, all are zero, or batch sizes or
            widths differ.
    """
    if not conditions or len(conditions) != len(weights):
        raise ArgumentError(f"weights: need one per condition, got {len(weights)} for {len(conditions)} conditions")
    for weight in weights:
        if not isfinite(weight) or weight < 0:
            raise ArgumentError(f"weights: must be finite and not negative, got {weight}")
    largest = max(weights)
    if largest == 0:
        raise ArgumentError("weights: at least one must be greater than zero")
    shapes = {(condition.tokens.shape[0], condition.tokens.shape[2]) for condition in conditions}
    if len(shapes) > 1:
        raise ArgumentError(f"conditions: batch sizes and widths must agree, got {sorted(shapes)}")

    # Divided by the largest first, so that the sum of huge weights stays finite.
    total = sum(weight / largest for weight in weights)
    length = max(condition.tokens.shape[1] for condition in conditions)
    if any(condition.has_details for condition in conditions):
        return _listed(conditions, [weight / largest for weight in weights], total)
    tokens, mask = None, None
    for condition, weight in zip(conditions, weights):
        padding = length - condition.tokens.shape[1]
        padded_mask = torch.nn.functional.pad(condition.mask, (0, padding))
        padded = torch.nn.functional.pad(condition.tokens * condition.mask.unsqueeze(-1), (0, 0, 0, padding))
        share = padded * (weight / largest / total)
        counts = padded_mask if weight > 0 else torch.zeros_like(padded_mask)
        tokens = share if tokens is None else tokens + share
        mask = counts if mask is None else mask | counts
    return Condition(tokens, mask, _attributes(conditions, [weight / largest / total for weight in weights]))


def _listed(conditions: Sequence[Condition], weights: Sequence[float], total: float) -> Condition:
    """The interpolated embeddings, then the further tokens of every condition; weights are at most 1."""
    shares = [weight / total for weight in weights]
    embedding = sum(share * condition.tokens[:, :1] for condition, share in zip(conditions, shares))
    known = [(condition, weight) for condition, weight in zip(conditions, weights) if weight > 0]
    tokens = torch.cat([embedding, *(weight * condition.tokens[:, 1:] for condition, weight in known)], 1)
    first = torch.ones_like(conditions[0].mask[:, :1])
    mask = torch.cat([first, *(condition.mask[:, 1:] for condition, _ in known)], 1)
    return Condition(tokens, mask, _attributes(conditions, shares), has_details=True)


def _attributes(conditions: Sequence[Condition], shares: Sequence[float]) -> dict[str, torch.Tensor]:
    attributes: dict[str, torch.Tensor] = {}
    for condition, share in zip(conditions, shares):
        for name, value in condition.attributes.items():
            attributes[name] = share * value + attributes.get(name, 0)
    return attributes
