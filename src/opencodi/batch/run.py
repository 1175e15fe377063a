"""A whole prompts file: what is done is left out, the rest is made, and each item gets its line in ``results.jsonl``."""

import json
import logging
import os
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from .items import Item, read_items
from .making import DONE, FAILED, Maker, failure

RESULTS = "results.jsonl"
WAITING = 64
"""Batches' worth of items that may wait for others of their kind."""

Lines = Iterable[list[dict[str, Any]]]


@dataclass(frozen=True)
class Batch:
    """What to make, and how.

    Attributes:
        prompts: the JSON Lines file.
        folder: of the results.
        defaults: what holds for lines that do not say it, see ``items.KEYS``. Without a ``seed`` each item draws its own;
            with one, an item's is that plus its place among the lines.
        size: items of one call, at most.
    """

    prompts: Path
    folder: Path
    defaults: Mapping[str, Any]
    size: int = 8

    def pending(self) -> Iterator[Item]:
        """The items that are not done, with their seeds. An item that failed is tried again; so is one whose line changed."""
        done = {line["id"]: line["request"] for line in read_results(self.folder) if self._is_whole(line)}
        first = self.defaults.get("seed")
        defaults = {key: value for key, value in self.defaults.items() if key != "seed"}
        for place, item in enumerate(read_items(self.prompts, defaults)):
            before = done.get(item.id)
            seed = item.request.get("seed")
            if seed is None:
                # An item that is made again after its line changed draws a new seed; one that is the same is not made again.
                seed = first + place if first is not None else (before or {}).get("seed", secrets.randbelow(2**31))
            item = replace(item, request={**item.request, "seed": seed})
            if item.error is not None or before != item.request:
                yield item

    def _is_whole(self, line: Mapping[str, Any]) -> bool:
        return line["status"] == DONE and all((self.folder / file).is_file() for file in line["files"])

    def groups(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        """Items that one call can make together, up to ``size``; few wait at a time, however long the file is."""
        waiting: dict[str, list[Item]] = defaultdict(list)
        for item in items:
            group = waiting[item.kind]
            group.append(item)
            if len(group) == self.size:
                yield waiting.pop(item.kind)
            elif sum(map(len, waiting.values())) > WAITING * self.size:
                yield waiting.pop(max(waiting, key=lambda kind: len(waiting[kind])))
        yield from waiting.values()


def make_here(batch: Batch, maker: Maker) -> Iterator[list[dict[str, Any]]]:
    """Make everything in this process; lines of results, as they come."""
    wrong: list[Item] = []

    def fine() -> Iterator[Item]:
        for item in batch.pending():
            if item.error is None:
                yield item
            else:
                wrong.append(item)

    for group in batch.groups(fine()):
        yield maker.make(group)
    yield [failure(item, str(item.error)) for item in wrong]


def make_with_ray(batch: Batch, load: Callable[[], Maker], workers: int) -> Iterator[list[dict[str, Any]]]:
    """Make everything with Ray Data: each worker loads the model once, and makes groups as ``make_here`` does.

    Args:
        batch: what to make; its folder must be one that all machines see.
        load: returns what makes items; called in each worker.
        workers: how many.

    Raises:
        ArgumentError: if Ray is not installed.
    """
    ray = _started()
    wrong: list[Item] = []
    fine: list[Item] = []
    for item in batch.pending():
        (fine if item.error is None else wrong).append(item)
    yield [failure(item, str(item.error)) for item in wrong]
    groups = [{"group": group} for group in batch.groups(fine)]
    if not groups:
        return
    data = ray.data.from_items(groups, override_num_blocks=min(len(groups), 16 * workers))
    made = data.map(
        _Worker,
        fn_constructor_args=(load,),
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(groups))),
    )
    for row in made.iter_rows():
        yield json.loads(row["lines"])


def _started() -> Any:
    """Ray, connected to the cluster of ``RAY_ADDRESS`` or started on this machine."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody unless the user says so
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ArgumentError("--ray: needs Ray: pip install 'opencodi[ray]'") from error
    if not ray.is_initialized():
        own = {} if os.environ.get("RAY_ADDRESS") else {"include_dashboard": False}
        ray.init(log_to_driver=False, logging_level=logging.WARNING, **own)
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray


class _Worker:
    """What runs in a worker of Ray."""

    def __init__(self, load: Callable[[], Maker]):
        self.maker = load()

    def __call__(self, row: Mapping[str, Any]) -> dict[str, str]:
        return {"lines": json.dumps(self.maker.make(list(row["group"])))}


def record(batch: Batch, made: Lines, told: Callable[[Mapping[str, Any]], None] = lambda line: None) -> Counter:
    """Write the lines to ``results.jsonl`` as they come; how many items are done and failed, earlier runs included.

    A run that was stopped at any moment leaves whole lines, and perhaps a part of one, which the next run removes.
    """
    batch.folder.mkdir(parents=True, exist_ok=True)
    place = batch.folder / RESULTS
    kept = [line for line in read_results(batch.folder) if line["status"] == DONE]
    partial = place.with_name(f".{RESULTS}.partial")
    partial.write_text("".join(_written(line) for line in kept), encoding="utf-8")
    os.replace(partial, place)
    status = {line["id"]: line["status"] for line in kept}
    with place.open("a", encoding="utf-8") as file:
        for lines in made:
            for line in lines:
                file.write(_written(line))
                status[line["id"]] = line["status"]
                told(line)
            file.flush()
    latest = {line["id"]: line for line in read_results(batch.folder)}
    partial.write_text("".join(_written(line) for line in latest.values()), encoding="utf-8")
    os.replace(partial, place)
    return Counter(status.values())


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The lines of a ``results.jsonl``; what is no whole line of ours is left out. Empty if there is none."""
    place, found = folder / RESULTS, []
    if not place.is_file():
        return []
    for line in place.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if isinstance(told, dict) and {"id", "status", "request"} <= told.keys() and told["status"] in (DONE, FAILED):
            found.append(told)
    return found


def _written(line: Mapping[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False) + "\n"
