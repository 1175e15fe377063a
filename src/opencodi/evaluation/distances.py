"""Distances between sets: of features, of pixels, and what counts as a copy."""

from typing import Any

import numpy as np
import torch

from .share import share

AS_NEAR_AS = 0.95
"""A picture is a near copy if it is as near to a training picture as this share of re-encoded training pictures is."""


def frechet_distance(one: torch.Tensor, other: torch.Tensor) -> float | None:
    """Fréchet distance of the Gaussians fitted to two sets of features [N, F], [M, F] (Heusel et al. 2017).

    None for fewer than two items on a side. It is biased upwards for few items: compare only sets of like size.
    """
    if min(len(one), len(other)) < 2:
        return None
    a, b = one.double(), other.double()
    cov_a, cov_b = (torch.atleast_2d(torch.cov(x.T)) for x in (a, b))
    # The trace of (A B)^½ is that of the symmetric (A^½ B A^½)^½, whose eigenvalues are real.
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors @ torch.diag(values.clamp_min(0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp_min(0).sqrt().sum()
    distance = (a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross
    return float(distance.clamp_min(0))


def pixel_distances(one: np.ndarray | torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Root mean square differences [N, M] of pictures [N, 3, H, W] and [M, 3, H, W] in [-1, 1]."""
    a, b = torch.as_tensor(one).flatten(1).float(), other.flatten(1).float()
    return torch.cdist(a, b) / a.shape[1] ** 0.5


def mean_pairwise_distance(features: torch.Tensor) -> float | None:
    """Mean Euclidean distance of all pairs of [N, F]; None for fewer than two."""
    return float(torch.pdist(features.float()).mean()) if len(features) > 1 else None


def near_copies(nearest: torch.Tensor, reencoded: torch.Tensor) -> dict[str, Any]:
    """Share of pictures whose distance to the nearest training picture is at most what re-encoding alone makes.

    Args:
        nearest: [N], distance of each picture made to the nearest training picture.
        reencoded: [M], distance of training pictures to themselves after the autoencoder.
    """
    limit = torch.quantile(reencoded.float(), AS_NEAR_AS)
    return share((nearest <= limit).tolist()) | {"limit": float(limit), "median_nearest": float(nearest.median())}
