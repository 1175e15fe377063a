"""Contrastive losses: matched pairs together, the rest of the batch apart (InfoNCE; paper §3.1 and §3.3)."""

import math

import torch
import torch.nn.functional as F
from torch import nn


def info_nce(
    first: torch.Tensor, second: torch.Tensor, scale: torch.Tensor | float, affinity: torch.Tensor | None = None
) -> torch.Tensor:
    """Symmetric InfoNCE, in both directions at once.

    Args:
        first, second: L2-normalised [B, D]; row i of one belongs to row i of the other.
        scale: inverse temperature.
        affinity: non-negative [B, B]: how much ``second[j]`` answers ``first[i]``; each row, and for the other direction each
            column, is divided by its sum to give soft targets. None: only i answers i.

    Returns:
        the mean of both cross entropies.
    """
    logits = scale * first.float() @ second.float().T
    if affinity is None:
        targets = answers = torch.arange(len(logits), device=logits.device)
    else:
        targets, answers = (each / each.sum(dim=1, keepdim=True) for each in (affinity, affinity.T))
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, answers)) / 2


def late_interaction(
    words: torch.Tensor, mask: torch.Tensor, regions: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """How well texts and pictures agree word by word and region by region (FILIP, Yao et al. 2022).

    Args:
        words: L2-normalised tokens of texts [T, W, D].
        mask: bool [T, W], the words that count.
        regions: L2-normalised tokens of pictures [P, R, D].

    Returns:
        ([T, P], [T, P]): the mean over a text's words of their best region's cosine, and the mean over a picture's regions of
        their best word's.
    """
    cosines = torch.einsum("twd,prd->tpwr", words, regions)
    counts = mask.sum(1).clamp_min(1)[:, None]
    of_words = (cosines.amax(3) * mask[:, None]).sum(2) / counts
    of_regions = cosines.masked_fill(~mask[:, None, :, None], -1).amax(2).mean(2)
    return of_words, of_regions


class Temperature(nn.Module):
    """A learned temperature, stored as the logarithm of its inverse and kept above ``minimum`` as CLIP does."""

    def __init__(self, initial: float = 0.07, minimum: float = 0.01):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(-math.log(initial)))
        self.largest = -math.log(minimum)

    def forward(self) -> torch.Tensor:
        """The factor on cosine similarities, 1 / temperature."""
        return self.log_scale.clamp(max=self.largest).exp()
