"""How well two sets of embeddings find each other."""

from collections.abc import Sequence

import torch


def retrieval(texts: torch.Tensor, items: torch.Tensor, groups: torch.Tensor, top: Sequence[int] = (1, 5)) -> dict:
    """Recall by concept: a hit is any item of the concept that was asked for.

    Args:
        texts, items: L2-normalised [N, D]; row i of one belongs to row i of the other.
        groups: int64 [N], the concept of each row. Texts of one concept count as one query, the first of them.
        top: how many results may be looked at.

    Returns:
        ``text_to_item_R@k`` and ``item_to_text_R@k`` in [0, 1], ``matched_cosine`` and ``modality_gap``, the distance
        between the mean text and the mean item (0: interpolating the two leaves neither's region).
    """
    texts, items = texts.float(), items.float()
    concepts, inverse = groups.unique(return_inverse=True)
    # The first row of each concept: later writes would win, so write in reverse.
    first = torch.zeros(len(concepts), dtype=torch.long, device=groups.device)
    for row in reversed(range(len(groups))):
        first[inverse[row]] = row
    similarity = texts[first] @ items.T
    measures = {}
    for k in top:
        found = groups[similarity.topk(min(k, len(items)), dim=1).indices]
        measures[f"text_to_item_R@{k}"] = float((found == concepts[:, None]).any(1).float().mean())
        found = concepts[similarity.T.topk(min(k, len(first)), dim=1).indices]
        measures[f"item_to_text_R@{k}"] = float((found == groups[:, None]).any(1).float().mean())
    measures["matched_cosine"] = float((texts * items).sum(1).mean())
    measures["modality_gap"] = float((texts.mean(0) - items.mean(0)).norm())
    return measures
