"""Encode a prepared folder once: latents by the autoencoders of a model, embeddings by its prompt encoders."""

import hashlib
import json
import multiprocessing
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.encoded import ENCODED, LATENTS, PROMPTS, in_memory, is_written, part_folder, read_rows, write_rows
from ..data.prepare import Progress
from ..data.prepared import PreparedFolder, having
from ..device import pick_device, working_on
from ..errors import ConfigurationError, TrainingError
from ..modality import MODALITIES, Modality
from .components import PATHS, ModelFolder, find_component

ROOMS = ("opencodi.prompts", "opencodi.latents")
BATCH_SIZE = 32
VIDEOS_AT_ONCE = 4

Encoded = dict[str, tuple[torch.Tensor, np.ndarray]]
"""{part: (rows [K, ...] in half precision, int64 [K] which sample of the shard each is of)}."""


def parts_of(modalities: Collection[str]) -> list[str]:
    """All parts that these modalities can have."""
    return [f"{kind}.{name}" for name in MODALITIES if name in modalities for kind in (LATENTS, PROMPTS)]


def components_of(part: str) -> list[str]:
    """Names of the components that encode a part; those that a codec needs only to decode are none of them."""
    kind, modality = part.split(".")
    record = MODALITIES[modality]
    if kind == LATENTS:
        return [name for name in record.codec_parts.values() if name not in record.optional_parts]
    return [record.prompt_encoder, *record.prompt_encoder_parts.values()]


def fingerprint(parts: ModelFolder, part: str) -> str:
    """Twelve letters that change with the weights and configs which encode a part."""
    digest = hashlib.sha256()
    for name in components_of(part):
        for path in sorted((parts.holder(name) / name).iterdir()):
            if path.suffix == ".safetensors" or path.name == "tokenizer.json":
                digest.update(path.read_bytes())
            elif path.name == "config.json":
                values = json.loads(path.read_text(encoding="utf-8"))
                kept = {key: value for key, value in values.items() if key not in PATHS | {"_diffusers_version"}}
                digest.update(json.dumps(kept, sort_keys=True).encode())
    return digest.hexdigest()[:12]


def load_part(parts: ModelFolder, name: str) -> Any:
    """A component of whatever class its own config names.

    Raises:
        TrainingError: if it is missing or damaged.
        ConfigurationError: if it is of no class that encodes, or the run does not say that it reads it.
    """
    folder = parts.holder(name) / name
    if (folder / "tokenizer_config.json").is_file():
        return parts.load(import_module("transformers").PreTrainedTokenizerFast, name)
    if not (folder / "config.json").is_file():
        return parts.load(object, name)  # says that it is missing
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("_class_name")
    for room in map(import_module, ROOMS):
        if isinstance(getattr(room, str(kind), None), type):
            return parts.load(getattr(room, kind), name)
    raise ConfigurationError(f"{folder}: {kind} encodes nothing; use another model")


class Encoder:
    """Encodes samples with the components of a model folder, each loaded when it is first needed.

    Args:
        parts: the model folder.
        batch_size: media that are encoded at once; clips a few at a time.
    """

    def __init__(self, parts: ModelFolder, batch_size: int = BATCH_SIZE):
        self.parts, self.batch_size = parts, batch_size
        self.loaded: dict[str, Any] = {}

    def component(self, name: str) -> Any:
        """A component of the model folder."""
        if name not in self.loaded:
            self.loaded[name] = load_part(self.parts, name)
        return self.loaded[name]

    def _codec_part(self, name: str) -> Any:
        is_optional = any(name in record.optional_parts for record in MODALITIES.values())
        return None if is_optional else self.component(name)

    @torch.no_grad()
    def encode(self, part: str, media: Sequence[Any]) -> torch.Tensor:
        """Media objects of one modality → rows [K, ...] in half precision on the CPU."""
        kind, modality = part.split(".")
        record = MODALITIES[modality]
        if kind == LATENTS:
            return record.build_codec(self._codec_part).encode(media).half().cpu()
        others = {argument: self.component(name) for argument, name in record.prompt_encoder_parts.items()}
        return self.component(record.prompt_encoder).encode(media, **others).tokens[:, 0].half().cpu()

    def shard(self, folder: PreparedFolder, number: int, wanted: Collection[str]) -> Encoded:
        """Encode the ``wanted`` parts of one shard; every medium is decoded once."""
        start, end = folder.starts[number : number + 2]
        records, found = folder.records[start:end], {}
        for modality in MODALITIES:
            parts = [part for part in wanted if part.endswith(f".{modality}")]
            if not parts:
                continue
            rows: dict[str, list[torch.Tensor]] = {part: [] for part in parts}
            owners: list[int] = []
            media = _media(folder, start, having(records, modality), modality)
            size = VIDEOS_AT_ONCE if modality == Modality.VIDEO else self.batch_size
            while batch := list(islice(media, size)):
                owners += [owner for owner, _ in batch]
                for part in parts:
                    rows[part].append(self.encode(part, [medium for _, medium in batch]))
            for part in parts:
                made = torch.cat(rows[part]) if rows[part] else torch.zeros(0, dtype=torch.half)
                found[part] = made, np.array(owners, np.int64)
        return found


def _media(folder: PreparedFolder, start: int, samples: Sequence[int], modality: str) -> Iterator[tuple[int, Any]]:
    """(sample of the shard, medium); every caption is a medium of its own."""
    for sample in samples:
        medium = folder.media(start + sample, modality)
        for each in medium if modality == Modality.TEXT else [medium]:
            yield sample, each


def encode(
    folder: Path,
    model: Path,
    output: Path | None = None,
    workers: int = 1,
    batch_size: int = BATCH_SIZE,
    device: str | None = None,
    progress: Progress | None = None,
) -> Iterator[str]:
    """Encode all that a model can of a prepared folder; yields a line about each part when everything is done.

    Args:
        folder: prepared.
        model: folder with autoencoders and prompt encoders; parts whose components it lacks are left out.
        output: where the parts are written; by default ``encoded`` in ``folder``.
        workers: processes, each of which encodes whole shards.
        batch_size: media that are encoded at once.
        device: by default the best there is.
        progress: ``steps_bar`` of the command line.

    Raises:
        CollectionError: if the folder is not prepared, or a medium is damaged.
        TrainingError: if the model can encode nothing, or a worker dies.
    """
    prepared, encoded = PreparedFolder(folder), output or folder / ENCODED
    present = [name for name in MODALITIES if prepared.info["modalities"].get(name)]
    parts = [p for p in parts_of(present) if all(find_component(model / name) for name in components_of(p))]
    if not parts:
        raise TrainingError(
            f"{model}: has no autoencoder or prompt encoder for {', '.join(present)}; use another model"
        )
    places = {part: part_folder(encoded, part, fingerprint(ModelFolder(model), part)) for part in parts}
    todo = []
    for number, shard in enumerate(prepared.shards):
        missing = [part for part, place in places.items() if not (place / f"{shard}.safetensors").is_file()]
        if missing:
            todo.append((number, missing))
    began = time.perf_counter()
    work = _Work(folder, model, places, batch_size, device, max(1, torch.get_num_threads() // workers))
    if todo:
        with progress("shards", len(todo)) if progress else nullcontext(lambda: None) as advance:
            for _ in _spread(work, todo, workers):
                advance()
    seconds = time.perf_counter() - began
    samples = sum(prepared.starts[number + 1] - prepared.starts[number] for number, _ in todo)
    for part, place in places.items():
        size = sum((place / f"{shard}.safetensors").stat().st_size for shard in prepared.shards)
        rows, _ = read_rows(place, prepared.shards, prepared.starts)
        yield f"{part}: {len(rows):,} rows of {tuple(rows.shape[1:])}, {size / max(1, len(rows)):,.0f} bytes each"
    if todo:
        yield f"{samples:,} samples in {seconds:.1f} s: {samples / seconds:.1f} a second"
    else:
        yield "everything was encoded already"


class _Work:
    """What a worker does with one shard. It can be sent to another process."""

    def __init__(self, folder, model, places, batch_size, device, threads):
        self.folder, self.model, self.places = folder, model, places
        self.batch_size, self.device, self.threads = batch_size, device, threads
        self.tools: tuple[PreparedFolder, Encoder] | None = None

    def __call__(self, job: tuple[int, list[str]]) -> None:
        number, wanted = job
        with working_on(pick_device(self.device)):
            if self.tools is None:
                torch.set_num_threads(self.threads)
                self.tools = PreparedFolder(self.folder), Encoder(ModelFolder(self.model), self.batch_size)
            prepared, encoder = self.tools
            for part, (rows, samples) in encoder.shard(prepared, number, wanted).items():
                path = self.places[part] / f"{prepared.shards[number]}.safetensors"
                try:
                    write_rows(path, rows, samples)
                except OSError as error:
                    raise TrainingError(
                        f"{path}: cannot be written ({error.strerror or error}); mend that and encode again"
                    ) from error


_work: _Work | None = None


def _adopt(work: _Work) -> None:
    global _work
    _work = work


def _do(job: tuple[int, list[str]]) -> None:
    _work(job)


def _spread(work: _Work, jobs: Sequence[Any], workers: int) -> Iterator[None]:
    if workers == 1 or len(jobs) == 1:
        yield from map(work, jobs)
        return
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(min(workers, len(jobs)), context, _adopt, (work,)) as pool:
            yield from pool.map(_do, jobs)
    except BrokenProcessPool as error:
        raise TrainingError(
            "a process that encodes has died, often for lack of memory; give the same command with fewer --workers"
        ) from error


def find_rows(
    prepared: PreparedFolder, parts: ModelFolder, wanted: Sequence[str], encoded: Path | None = None
) -> Mapping[str, tuple[Any, np.ndarray]]:
    """{part: (rows, which sample each is of)}: from the disk where they were encoded, else encoded now, in memory.

    Raises:
        ConfigurationError: if the run does not say that it reads a component that encodes.
        TrainingError, CollectionError: if something is missing or damaged.
    """
    place, found = encoded or prepared.path / ENCODED, {}
    for name in dict.fromkeys(name for part in wanted for name in components_of(part)):
        if parts.reads is not None and name not in parts.reads:
            raise ConfigurationError(f"reads: this run needs {name}; add it to the list")
        if not find_component(parts.holder(name) / name):
            raise TrainingError(f"{parts.holder(name) / name} is missing: first train the stage that makes it")
    for part in wanted:
        folder = part_folder(place, part, fingerprint(parts, part))
        if is_written(folder, prepared.shards):
            found[part] = read_rows(folder, prepared.shards, prepared.starts)
    missing = [part for part in wanted if part not in found]
    if missing:
        print(f"encoding {', '.join(missing)} anew: opencodi data encode writes them once")
        encoder = Encoder(parts)
        made = [encoder.shard(prepared, number, missing) for number in range(len(prepared.shards))]
        found |= {part: in_memory(made, part, prepared.starts) for part in missing}
    return found
