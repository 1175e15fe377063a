"""How well two sets of embeddings find each other."""

from collections.abc import Sequence
from typing import Any

import torch
from torchmetrics.functional.retrieval import retrieval_hit_rate


def hit_rate(similarity: torch.Tensor, relevant: torch.Tensor, top: int) -> float:
    """Share of queries that find something relevant among the ``top`` most similar.

    similarity: [Q, G]; relevant: bool [Q, G].
    """
    hits = [retrieval_hit_rate(*row, top_k=top) for row in zip(similarity, relevant)]
    return float(torch.stack(hits).double().mean())


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
    asked = concepts[:, None] == groups[None]
    for k in top:
        measures[f"text_to_item_R@{k}"] = hit_rate(similarity, asked, k)
        measures[f"item_to_text_R@{k}"] = hit_rate(similarity.T, asked.T, k)
    measures["matched_cosine"] = float((texts * items).sum(1).mean())
    measures["modality_gap"] = float((texts.mean(0) - items.mean(0)).norm())
    return measures


def recall(
    queries: torch.Tensor,
    gallery: torch.Tensor,
    query_groups: Sequence[str],
    gallery_groups: Sequence[str],
    top: Sequence[int] = (1, 5),
) -> dict[str, Any]:
    """R@k: the share of queries that find an item of their group among their k nearest.

    Args:
        queries: L2-normalised [Q, D].
        gallery: L2-normalised [G, D].
        query_groups, gallery_groups: the concept of each; queries whose concept is not in the gallery do not count.
        top: the values of k.

    Returns:
        ``R@k`` in [0, 1] (None without queries), ``chance@k`` of a gallery with one item per concept, ``n`` queries
        and the ``gallery`` size.
    """
    there = set(gallery_groups)
    rows = [row for row, group in enumerate(query_groups) if group in there]
    found: dict[str, Any] = {"n": len(rows), "gallery": len(gallery_groups)}
    relevant = torch.tensor([[query_groups[row] == group for group in gallery_groups] for row in rows])
    similarity = queries[rows] @ gallery.T
    for k in top:
        found[f"R@{k}"] = hit_rate(similarity, relevant, k) if rows else None
        found[f"chance@{k}"] = min(1.0, k / len(gallery_groups)) if gallery_groups else None
    return found
