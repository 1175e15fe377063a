"""Make a prepared folder from anyone's samples: read, check, and store them in shards that can be resumed."""

import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, CollectionError, MediaError, OpenCoDiError, SystemFailure
from ..media import DEFAULT_LIMITS, Audio, Limits, Video, read, read_audio, read_text, resample, write_audio
from ..media.files import opened
from ..media.kinds import find_kind
from ..media.partial import partial_file
from ..modality import MODALITIES, Modality
from .columns import OPTIONAL, RawSample
from .prepared import DATASET, FORMAT, VERSION, modalities_in, read_info, read_list
from .sources import Source

SHARD_SIZE = 1000
"""Samples of the source, good or bad, for one shard."""

MOST_HERTZ = 48_000
NAMED = 10
"""Bad samples that a message names; ``skipped.txt`` names all."""

Advance = Callable[[], None]
Progress = Callable[[str, int], AbstractContextManager[Advance]]


class BadSample(Exception):
    """A sample cannot be used; the message says why."""


@dataclass
class Prepared:
    """What was made.

    Attributes:
        samples: how many are stored.
        bad: ``name: reason`` of those left out.
    """

    samples: int
    bad: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All that were read."""
        return self.samples + len(self.bad)


def prepare(
    source: Source,
    output: Path,
    *,
    max_bad: float = 0.05,
    workers: int = 2,
    shard_size: int = SHARD_SIZE,
    limits: Limits = DEFAULT_LIMITS,
    progress: Progress | None = None,
) -> Prepared:
    """Store the samples of ``source`` in ``output``, an empty folder or one that the same call began to fill.

    Args:
        source: from ``sources.open_source``.
        output: made if it is missing. Finished shards of a call that was stopped are kept.
        max_bad: largest share of samples that may be left out.
        workers: samples that are read at once.
        shard_size: samples in a shard.
        limits: on each file.
        progress: ``steps_bar`` of the command line.

    Raises:
        ArgumentError: if ``output`` holds something else.
        CollectionError: if the source is damaged, nothing can be used, or more than ``max_bad`` cannot.
    """
    state = {"format": FORMAT, "version": VERSION, "source": f"{source.fingerprint}-{shard_size}"}
    done = _begin(output, state)
    shards = [f"samples-{number:06d}" for number in range(done)]
    samples = source.read(done * shard_size)
    with _nothing_left(output), ThreadPoolExecutor(workers) as pool, tempfile.TemporaryDirectory() as scratch:

        def made(sample: RawSample) -> "_Made | dict[str, str]":
            try:
                return _make(sample, Path(scratch), limits)
            except BadSample as error:
                return {"bad": str(error), "source": sample.name}

        while (first := next(samples, None)) is not None:
            shards.append(f"samples-{len(shards):06d}")
            results = _mapped(pool, made, chain([first], islice(samples, shard_size - 1)), 4 * workers)
            _write_shard(output, shards[-1], _shown(results, progress, shards[-1], shard_size))
    return _finish(output, shards, state, max_bad)


def _begin(output: Path, state: Mapping[str, Any]) -> int:
    """How many shards are there already."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        others = [each.name for each in output.iterdir() if not each.name.startswith(".partial-")]
    except OSError as error:
        raise ArgumentError(f"--output: {output} is no folder that can be written to; choose another") from error
    if others and DATASET not in others:
        raise ArgumentError(f"--output: {output} is not empty (it holds {sorted(others)[0]}); choose a new folder")
    if not others:
        _write(output / DATASET, json.dumps({**state, "complete": False, "shards": []}))
        return 0
    if read_info(output)["source"] != state["source"]:
        raise ArgumentError(
            f"--output: {output} was prepared from other data, or with other options; choose a new folder"
        )
    done = 0
    while (output / f"samples-{done:06d}.jsonl").is_file():
        done += 1
    return done


@contextmanager
def _nothing_left(output: Path) -> Iterator[None]:
    """If not even one shard is finished, a failure leaves the folder as empty as it was."""
    try:
        yield
    except BaseException:
        if not any(output.glob("*.jsonl")):
            for file in (*output.glob("samples-*.tar"), output / DATASET):
                file.unlink(missing_ok=True)
        raise


def _finish(output: Path, shards: list[str], state: Mapping[str, Any], max_bad: float) -> Prepared:
    records = [each for shard in shards for each in read_list(output, shard)]
    bad = [f"{each['source']}: {each['bad']}" for each in records if "bad" in each]
    made = Prepared(len(records) - len(bad), bad)
    named = "; ".join(bad[:NAMED]) + ("; …" if len(bad) > NAMED else "")
    if bad:
        _write(output / "skipped.txt", "".join(f"{line}\n" for line in bad))
    if not made.samples:
        raise CollectionError(f"{output}: no sample can be used: {named or 'the source is empty'}; correct the source")
    if len(bad) > max_bad * made.total:
        raise CollectionError(
            f"{output}: {len(bad)} of {made.total} samples cannot be used, more than --max-bad {max_bad:.3g} allows: "
            f"{named}; correct them and choose a new folder, or allow more"
        )
    counts = {name: sum(bool(each.get(name)) for each in records) for name in MODALITIES}
    state = {**state, "complete": True, "samples": made.samples, "skipped": len(bad), "modalities": counts}
    _write(output / DATASET, json.dumps({**state, "shards": shards}, indent=1) + "\n")
    return made


# ---------------------------------------------------------------------- one sample


@dataclass
class _Made:
    """A sample that can be used: its record, and {ending of the member: bytes}."""

    record: dict[str, Any]
    members: dict[str, bytes]


def _make(sample: RawSample, scratch: Path, limits: Limits) -> _Made:
    """Decode everything once; what is kept are the files' own bytes, and sounds as WAV.

    Raises:
        BadSample: if something cannot be read, or fewer than two modalities are filled.
    """
    if sample.problem:
        raise BadSample(sample.problem)
    made = _Made({"source": sample.name}, {})
    texts = _captions(sample.fields.get(Modality.TEXT), limits)
    if texts:
        made.record[Modality.TEXT] = texts
    for name in OPTIONAL:
        if sample.fields.get(name) is not None:
            made.record[name] = str(sample.fields[name])
    for name in MODALITIES:
        value = sample.fields.get(name)
        if name == Modality.TEXT or value is None:
            continue
        path, is_ours = (value, False) if isinstance(value, Path) else (_on_disk(value, scratch), True)
        try:
            _add(made, name, path, limits, alone=Modality.AUDIO not in sample.fields)
        except SystemFailure:
            raise  # the file is not at fault
        except OpenCoDiError as error:
            raise BadSample(f"{name}: {_without(path, error)}") from error
        finally:
            if is_ours:
                path.unlink(missing_ok=True)
    filled = modalities_in(made.record)
    if len(filled) < 2:
        lacking = "caption" if filled and filled[0] != Modality.TEXT else "picture, clip or sound"
        raise BadSample(f"has no {lacking}: a sample needs at least two modalities")
    return made


def _captions(value: Any, limits: Limits) -> list[str]:
    """Of a text file, each line is a wording of the caption."""
    if isinstance(value, Path):
        try:
            value = read_text(value, limits).splitlines()
        except MediaError as error:
            raise BadSample(f"text: {_without(value, error)}") from error
    values = [] if value is None else value if isinstance(value, list | tuple) else [value]
    for each in values:
        if not isinstance(each, str):
            raise BadSample(f"text: {each!r} is of type {type(each).__name__}, not a caption")
        if len(each) > limits.max_characters:
            raise BadSample(f"text: is longer than {limits.max_characters:,} characters")
        if not each.isascii() and any("\ud800" <= character <= "\udfff" for character in each):
            raise BadSample("text: holds half a surrogate pair")
    return list(dict.fromkeys(text for each in values if (text := " ".join(each.split()))))


def _add(made: _Made, modality: str, path: Path, limits: Limits, alone: bool) -> None:
    """Decode a file, and put its bytes and measures into ``made``; a clip brings its sound if it is ``alone``."""
    if modality == Modality.AUDIO:
        _put_sound(made, read_audio(path, limits, sample_rate=None))
        return
    medium = read(modality, path, limits)
    with opened(path, limits) as file:
        kind, _ = find_kind(file)
        file.seek(0)
        content, suffix = file.read(), {"jpeg": "jpg", "matroska": "mkv"}.get(kind, kind)
    if isinstance(medium, Video):
        frames, height, width, _ = medium.frames.shape
        measures = {"width": width, "height": height, "frames": frames, "fps": round(medium.fps, 3)}
        measures["seconds"] = round(medium.seconds, 3)
        if alone and medium.audio is not None:
            _put_sound(made, medium.audio)
    elif modality == Modality.IMAGE:
        measures = {"width": medium.width, "height": medium.height}
    else:
        measures = {}
    _put(made, modality, suffix, content, measures)


def _put_sound(made: _Made, audio: Audio) -> None:
    if audio.sample_rate > MOST_HERTZ:
        audio = resample(audio, MOST_HERTZ)
    measures = {"seconds": round(audio.seconds, 3), "sample_rate": int(audio.sample_rate)}
    _put(made, Modality.AUDIO, "wav", _wav(audio), measures)


def _put(made: _Made, modality: str, suffix: str, content: bytes, measures: Mapping[str, Any]) -> None:
    made.members[f"{modality}.{suffix}"] = content
    made.record[str(modality)] = {"file": suffix, **measures, "sha256": sha256(content).hexdigest()}


def _wav(audio: Audio) -> bytes:
    handle, name = tempfile.mkstemp(suffix=".wav")
    os.close(handle)
    try:
        write_audio(audio, name)
        return Path(name).read_bytes()
    finally:
        os.unlink(name)


def _on_disk(content: bytes, scratch: Path) -> Path:
    handle, name = tempfile.mkstemp(dir=scratch)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    return Path(name)


def _without(path: Path, error: OpenCoDiError) -> str:
    """The message of an error without the path; the sample's name stands before it."""
    return str(error).replace(f"{path}: ", "")


# ---------------------------------------------------------------------- one shard


def _mapped(
    pool: ThreadPoolExecutor, function: Callable[[Any], Any], items: Iterator[Any], ahead: int
) -> Iterator[Any]:
    """``function`` of each item, in order; only ``ahead`` of them are in memory."""
    while some := list(islice(items, ahead)):
        yield from pool.map(function, some)


def _shown(results: Iterable[Any], progress: Progress | None, shard: str, count: int) -> Iterator[Any]:
    with progress(shard, count) if progress else nullcontext(lambda: None) as advance:
        for each in results:
            yield each
            advance()


def _write_shard(folder: Path, shard: str, results: Iterable[Any]) -> None:
    """Write the tar, then its list: a shard is finished when its list is there."""
    lines = []
    try:
        with partial_file(folder / f"{shard}.tar") as temporary:
            with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
                for number, made in enumerate(results):
                    if not isinstance(made, _Made):
                        lines.append(made)
                        continue
                    key = f"{shard.partition('-')[2]}-{number:06d}"
                    record = {"key": key, **made.record}
                    for ending, content in made.members.items():
                        offset = _append(tar, f"{key}.{ending}", content)
                        modality = ending.partition(".")[0]
                        place = {"file": f"{key}.{ending}", "offset": offset, "size": len(content)}
                        record[modality] = {**record[modality], **place}
                    _append(tar, f"{key}.json", json.dumps(made.record).encode())
                    lines.append(record)
            temporary.replace(folder / f"{shard}.tar")
        _write(folder / f"{shard}.jsonl", "".join(json.dumps(each) + "\n" for each in lines))
    except OSError as error:
        raise CollectionError(
            f"{folder}: cannot be written ({error.strerror or error}); mend that and give the same command again"
        ) from error


def _append(tar: tarfile.TarFile, name: str, content: bytes) -> int:
    """Add a member; where its bytes begin in the tar."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, BytesIO(content))
    return tar.offset - -(-len(content) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _write(path: Path, text: str) -> None:
    with partial_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
