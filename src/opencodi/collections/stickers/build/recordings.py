"""Recorded sounds of games and music programs: where they lie in their packages, and the loud pieces of each."""

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .libraries import require
from .sources import (
    GCOMPRIS,
    SCRATCH,
    SIMUTRANS,
    SONIC_PI,
    TUXPAINT,
    UNKNOWN_HORIZONS,
    WESNOTH,
    WIDELANDS,
    Package,
)
from .waves import SAMPLE_RATE, envelope

LENGTH = 3 * SAMPLE_RATE // 2
"""Sounds are cut to 1.5 s."""
SUFFIXES = {".ogg", ".wav", ".mp3", ".flac", ".opus"}

FOLDERS = {
    "tp": (TUXPAINT, "usr/share/tuxpaint/stamps"),
    "sc": (SCRATCH, "usr/share/scratch/Media/Sounds"),
    "wl": (WIDELANDS, ""),
    "ws": (WESNOTH, ""),
    "uh": (UNKNOWN_HORIZONS, ""),
    "sm": (SIMUTRANS, ""),
    "sp": (SONIC_PI, ""),
}
"""Short name in ``sounds.yaml`` → package and the folder in it that is searched."""
RESOURCES = {
    "explore_farm_animals": "gc/",
    "instruments": "gc/",
    "memory-sound": "",
    "clickgame": "gc2/",
}
"""Qt resource file of gcompris → what stands before the names of its sounds in ``sounds.yaml``."""


def find_recordings(folders: Mapping[Package, Path]) -> dict[str, tuple[Path, Package]]:
    """``source/file name`` → file and package. Music, letters' names and spoken descriptions are left out."""
    found = {}
    for resource, prefix in RESOURCES.items():
        packed = folders[GCOMPRIS] / f"usr/share/gcompris-qt/rcc/{resource}.rcc"
        for file in unpack_resources(packed, packed.with_suffix("")):
            if file.suffix in (".ogg", ".wav"):
                found[prefix + file.name] = (file, GCOMPRIS)
    for short, (package, inside) in FOLDERS.items():
        for file in sorted((folders[package] / inside).rglob("*")):
            spoken = "_desc" in file.name or "/symbols/" in str(file) or "/music/" in str(file)
            if file.suffix.lower() in SUFFIXES and not spoken:
                found[f"{short}/{file.name}"] = (file, package)
    return found


def cut(samples: np.ndarray, most: int = 4) -> list[np.ndarray]:
    """Up to ``most`` pieces, at most 1.5 s each: silence trimmed, quiet pieces skipped, ends faded, peak at 0.8.

    samples: float32 [samples], 16 kHz.
    """
    if len(samples) == 0 or np.abs(samples).max() < 1e-3:
        return []
    level = envelope(samples, SAMPLE_RATE // 50)
    loud = np.flatnonzero(level > 0.02 * level.max())
    samples = samples[max(0, loud[0] - 160) : loud[-1] + 800]
    whole = np.sqrt((samples**2).mean())
    pieces = []
    for start in range(0, max(1, len(samples) - LENGTH // 2), LENGTH):
        piece = samples[start : start + LENGTH].copy()
        if start and np.sqrt((piece**2).mean()) < 0.15 * whole:
            continue
        fade = min(400, len(piece) // 4)
        piece[-fade:] *= np.linspace(1, 0, fade)
        if start:
            piece[:80] *= np.linspace(0, 1, 80)
        pieces.append((0.8 * piece / (np.abs(piece).max() + 1e-9)).astype(np.float32))
        if len(pieces) == most:
            break
    return pieces


def unpack_resources(file: Path, folder: Path) -> list[Path]:
    """The files of a Qt resource file (``.rcc``), written below ``folder``.

    The format: a tree of nodes (name offset, flags, then children or data offset), names in UTF-16, data with its length
    before it, plain, deflated or packed with Zstandard; all numbers big-endian.
    """
    raw = file.read_bytes()
    version, tree, data, names = struct.unpack_from(">4I", raw, 4)
    node_size = 14 if version < 2 else 22  # since version 2 a node ends with a time stamp
    written, todo = [], [(0, folder)]
    while todo:
        index, parent = todo.pop()
        at = tree + index * node_size
        name_at, flags = struct.unpack_from(">IH", raw, at)
        path = parent / _resource_name(raw, names + name_at) if index else parent
        if flags & 2:
            count, first = struct.unpack_from(">II", raw, at + 6)
            todo += [(child, path) for child in range(first, first + count)]
            continue
        (data_at,) = struct.unpack_from(">I", raw, at + 10)
        (length,) = struct.unpack_from(">I", raw, data + data_at)
        content = raw[data + data_at + 4 : data + data_at + 4 + length]
        if flags & 1:
            content = zlib.decompress(content[4:])
        elif flags & 4:
            content = require("zstandard", "unpacking").ZstdDecompressor().decompressobj().decompress(content)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        written.append(path)
    return sorted(written)


def _resource_name(raw: bytes, at: int) -> str:
    """One path component; a package's names never leave its folder."""
    (length,) = struct.unpack_from(">H", raw, at)
    return raw[at + 6 : at + 6 + 2 * length].decode("utf-16-be").replace("/", "_").replace("..", "_")
