"""How often a classifier is right."""

from collections.abc import Sequence

import numpy as np
import torch
from torchmetrics.functional.classification import multiclass_accuracy


def accuracy(logits: torch.Tensor, labels: torch.Tensor, top: int = 1) -> float:
    """Share of rows of ``logits`` [B, C] whose label [B] is among the ``top`` largest."""
    classes = logits.shape[1]
    return float(multiclass_accuracy(logits, labels, classes, top_k=min(top, classes), average="micro"))


def in_top(logits: torch.Tensor, labels: Sequence[str], wanted: Sequence[str], top: int) -> np.ndarray:
    """bool [B]: is ``wanted[i]`` among the ``top`` best labels of row i of logits [B, C]?"""
    best = logits.topk(min(top, logits.shape[1]), dim=1).indices.tolist()
    return np.array([want in {labels[place] for place in row} for want, row in zip(wanted, best)], dtype=bool)
