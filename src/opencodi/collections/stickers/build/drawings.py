"""Which drawing of which emoji every art style has: SVG text from Iconify sets, or a picture file."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from .emoji import Emoji, normalise

Drawing = str | Path
"""SVG text, or the path of a WebP picture."""

NAMED_BY = ("noto", "twemoji", "openmoji", "fluent-emoji-flat")
"""Sets that say which code each of their names has. Sets that do not are matched by these names."""
CODES_OF = {"fluent-emoji": "fluent-emoji-flat"}
"""A set without codes whose icons are named exactly as another set's."""


def drawings(folders: Mapping[str, Path], emoji: Mapping[str, Emoji]) -> dict[str, dict[str, Drawing]]:
    """style → {emoji code: its drawing}.

    folders: style → folder of its unpacked package, in the order wanted.
    """
    found: dict[str, dict[str, Drawing]] = {}
    for style, folder in folders.items():
        if (folder / "icons.json").is_file():
            found[style] = _iconify(style, folders, emoji)
        else:
            files = {normalise(path.stem): path for path in sorted((folder / "assets").glob("*.webp"))}
            found[style] = {code: path for code, path in files.items() if code in emoji}
    return found


def slug(name: str) -> str:
    """``woman’s hat`` → ``womans-hat``, as icon sets name their icons."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower().replace("’", "").replace("'", "")).strip("-")


def _iconify(style: str, folders: Mapping[str, Path], emoji: Mapping[str, Emoji]) -> dict[str, Drawing]:
    icons = _json(folders[style] / "icons.json")
    codes = _codes(folders[style])
    if style in CODES_OF:
        codes = _codes(folders[CODES_OF[style]]) or codes
    if not codes:
        codes = _codes_by_name([*icons["icons"], *icons.get("aliases", {})], folders, emoji)
    found = {}
    for code, name in codes.items():
        icon = icons["icons"].get(_resolve(name, icons.get("aliases", {})))
        if icon and code in emoji:
            found[code] = _svg({key: icon.get(key, icons.get(key)) for key in ("width", "height")} | icon)
    return found


def _resolve(name: str, aliases: Mapping[str, Mapping]) -> str:
    """Follow aliases; one that also turns or flips the icon is not followed, so it names no icon."""
    while name in aliases and set(aliases[name]) == {"parent"}:
        name = aliases[name]["parent"]
    return name


def _codes(folder: Path) -> dict[str, str]:
    """code → icon name, from the set's own ``chars.json``; empty if it has none."""
    file = folder / "chars.json"
    return {normalise(code): name for code, name in _json(file).items()} if file.is_file() else {}


def _codes_by_name(icon_names: list[str], folders: Mapping[str, Path], emoji: Mapping[str, Emoji]) -> dict[str, str]:
    """code → icon name: by the name in another set or in Unicode, then the same without hyphens."""
    codes: dict[str, str] = {}
    for style in NAMED_BY:
        for code, name in _codes(folders[style]).items():
            codes.setdefault(name, code)
    codes.update({slug(row.name): code for code, row in emoji.items()})
    squeezed = {name.replace("-", ""): code for name, code in codes.items()}
    found: dict[str, str] = {}
    for name in icon_names:
        code = codes.get(name) or squeezed.get(name.replace("-", ""))
        if code:
            found.setdefault(code, name)
    return found


def _svg(icon: Mapping) -> str:
    box = f"{icon.get('left', 0)} {icon.get('top', 0)} {icon['width'] or 16} {icon['height'] or 16}"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{box}" width="128" height="128">{icon["body"]}</svg>'
    )


def _json(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8"))
