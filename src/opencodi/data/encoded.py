"""Latents and prompt embeddings on disk: one safetensors file per shard of a prepared folder, read only where it is needed.

``encoded/PART-FINGERPRINT/SHARD.safetensors`` holds ``rows`` [K, ...] in half precision and ``samples`` int64 [K]: which sample
of the shard each row is of. PART is ``latents.MODALITY`` or ``prompts.MODALITY``. The fingerprint is that of the components
which encoded, so rows of other weights are never taken for one's own.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..errors import CollectionError
from ..media.partial import partial_file

ENCODED = "encoded"
LATENTS, PROMPTS = "latents", "prompts"


class Rows:
    """Tensors that follow one another, indexed as if they were one; those of files are read where they are asked for.

    Args:
        parts: tensors [K_i, ...] of one shape but for their first axis; empty ones may have any shape.

    Attributes:
        shape: of all together.
    """

    def __init__(self, parts: Sequence[torch.Tensor]):
        self.parts = [part for part in parts if len(part)]
        self.ends = np.cumsum([len(part) for part in self.parts])
        item = self.parts[0].shape[1:] if self.parts else ()
        self.shape = torch.Size((int(self.ends[-1]) if self.parts else 0, *item))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen: int | slice | Sequence[int] | np.ndarray | torch.Tensor) -> torch.Tensor:
        """The rows at these positions, in memory."""
        if isinstance(chosen, slice):
            chosen = np.arange(*chosen.indices(len(self)))
        places = np.asarray(chosen)
        flat = places.reshape(-1)
        found = torch.empty((len(flat), *self.shape[1:]), dtype=self.parts[0].dtype)
        owners = np.searchsorted(self.ends, flat, side="right")
        for owner in np.unique(owners):
            part, where = self.parts[owner], np.flatnonzero(owners == owner)
            begin = self.ends[owner] - len(part)
            found[torch.from_numpy(where)] = part[torch.from_numpy(flat[where] - begin)]
        return found.reshape(*places.shape, *self.shape[1:])


class Groups(Sequence):
    """Which rows belong to each sample: rows of a sample follow one another.

    Args:
        owners: int64 [K], in order: the sample of each row.
        count: of samples.
    """

    def __init__(self, owners: np.ndarray, count: int):
        self.starts = np.searchsorted(owners, np.arange(count + 1))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, sample: int) -> np.ndarray:
        """Positions of the rows of a sample."""
        return np.arange(self.starts[sample], self.starts[sample + 1])


def part_folder(encoded: Path, part: str, fingerprint: str) -> Path:
    """Where the shards of a part are."""
    return encoded / f"{part}-{fingerprint}"


def is_written(folder: Path, shards: Sequence[str]) -> bool:
    """Whether all shards of a part are there."""
    return all((folder / f"{shard}.safetensors").is_file() for shard in shards)


def write_rows(path: Path, rows: torch.Tensor, samples: np.ndarray) -> None:
    """Write one shard of a part; it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with partial_file(path) as temporary:
        save_file({"rows": rows.contiguous(), "samples": torch.from_numpy(samples)}, temporary)
        temporary.replace(path)


def read_rows(folder: Path, shards: Sequence[str], starts: Sequence[int]) -> tuple[Rows, np.ndarray]:
    """(rows of a part, which sample of the prepared folder each is of). Rows stay on the disk until they are asked for.

    Raises:
        CollectionError: if a file is missing or damaged.
    """
    parts, owners = [], []
    for shard, start, end in zip(shards, starts, starts[1:]):
        path = folder / f"{shard}.safetensors"
        try:
            with safe_open(path, "pt") as file:
                rows, samples = file.get_tensor("rows"), file.get_tensor("samples").numpy()
        except (SafetensorError, OSError) as error:
            raise CollectionError(f"{path}: is missing or damaged; remove it and encode again") from error
        if len(rows) != len(samples) or (len(samples) and not 0 <= samples.min() <= samples.max() < end - start):
            raise CollectionError(f"{path}: does not fit the prepared folder; remove it and encode again")
        parts.append(rows)
        owners.append(samples + start)
    return Rows(parts), np.concatenate(owners) if owners else np.array([], np.int64)


def in_memory(made: Sequence[Mapping[str, tuple[torch.Tensor, np.ndarray]]], part: str, starts: Sequence[int]):
    """As ``read_rows``, of shards that were encoded just now: {part: (rows, samples)} each."""
    found = [shard[part] for shard in made]
    return Rows([rows for rows, _ in found]), np.concatenate([s + start for (_, s), start in zip(found, starts)])
