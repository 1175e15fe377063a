"""Tensors of many items that are made once and then read from disk: a folder of safetensors files, one for each chunk.

Chunks are written one after the other, so an interrupted run goes on with the first that is missing. They are read as needed:
a set may be larger than the memory.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..errors import TrainingError

CHUNK = 2048
PARTIAL = ".partial"


class Chunks:
    """Rows of tensors by their number.

    Args:
        folder: of the files; what is there already is not made again.
        count: number of rows.
        make: (first, last + 1) → {name: tensor [last + 1 - first, ...]}.
        size: rows of each file.

    Raises:
        TrainingError: if a file there is damaged, or the disk is full.
    """

    def __init__(
        self, folder: Path, count: int, make: Callable[[int, int], Mapping[str, torch.Tensor]], size: int = CHUNK
    ):
        self.count, self.size = count, size
        folder.mkdir(parents=True, exist_ok=True)
        self._files = []
        for start in range(0, count, size):
            stop = min(start + size, count)
            path = folder / f"{start:08d}-{stop:08d}.safetensors"
            if not path.is_file():
                _write(path, make(start, stop))
            try:
                self._files.append(safe_open(path, "pt"))
            except SafetensorError as error:
                raise TrainingError(f"{path} is damaged ({error}): remove it, and it is made again") from error
        self._columns: dict[str, list[torch.Tensor]] = {}

    def __len__(self) -> int:
        return self.count

    def rows(self, name: str, places: np.ndarray) -> torch.Tensor:
        """The rows of the tensor ``name`` at these places, [len(places), ...]."""
        if name not in self._columns:
            # Memory-mapped: what is not touched is not read.
            self._columns[name] = [file.get_tensor(name) for file in self._files]
        column = self._columns[name]
        found = column[0].new_empty((len(places), *column[0].shape[1:]))
        files, rows = np.divmod(np.asarray(places, dtype=np.int64), self.size)
        for file in np.unique(files):
            mine = np.flatnonzero(files == file)
            found[torch.from_numpy(mine)] = column[file][torch.from_numpy(rows[mine])]
        return found


def _write(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    temporary = path.with_suffix(PARTIAL)
    try:
        save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, temporary)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise TrainingError(f"{path} cannot be written ({reason}): free some space and start again") from error
    temporary.replace(path)


class Joined:
    """Several chunked sets as one, their rows one after the other; for tensors of the same shape in all of them."""

    def __init__(self, parts: Sequence[Chunks]):
        self.parts = list(parts)
        self.starts = np.cumsum([0, *(len(part) for part in parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def rows(self, name: str, places: np.ndarray) -> torch.Tensor:
        """As ``Chunks.rows``."""
        places = np.asarray(places, dtype=np.int64)
        found = None
        of_part = np.searchsorted(self.starts, places, side="right") - 1
        for number in np.unique(of_part):
            mine = np.flatnonzero(of_part == number)
            rows = self.parts[number].rows(name, places[mine] - self.starts[number])
            found = rows.new_empty((len(places), *rows.shape[1:])) if found is None else found
            found[torch.from_numpy(mine)] = rows
        return found


class Rows:
    """One tensor of ``Chunks`` as if it were in memory: ``shape``, and rows by their places."""

    def __init__(self, chunks: Chunks | Joined, name: str):
        self._chunks, self._name = chunks, name
        first = chunks.rows(name, np.zeros(1, int))
        self.shape = (len(chunks), *first.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, places: np.ndarray) -> torch.Tensor:
        return self._chunks.rows(self._name, places)


def packed_texts(texts: Sequence[Sequence[str]], width: int) -> torch.Tensor:
    """Some texts for each row as bytes uint8 [N, width]; what does not fit is left out, text by text."""
    table = np.zeros((len(texts), width), np.uint8)
    for row, each in zip(table, texts):
        kept = "\0".join(each).encode()
        if len(kept) > width:
            kept = kept[: kept.rindex(b"\0", 0, width)]
        row[: len(kept)] = np.frombuffer(kept, np.uint8)
    return torch.from_numpy(table)


def unpacked_texts(table: torch.Tensor) -> list[list[str]]:
    """What ``packed_texts`` packed."""
    return [row.numpy().tobytes().rstrip(b"\0").decode().split("\0") for row in table]
