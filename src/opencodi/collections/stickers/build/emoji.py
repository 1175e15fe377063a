"""What emoji there are: code, English name, keywords, group and skin tone, from emojibase."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

TONES = {"1f3fb": "light", "1f3fc": "medium-light", "1f3fd": "medium", "1f3fe": "medium-dark", "1f3ff": "dark"}
GROUPS = {
    0: "smileys",
    1: "people",
    3: "animals-nature",
    4: "food",
    5: "travel",
    6: "activities",
    7: "objects",
    8: "symbols",
    9: "flags",
}
"""emojibase's group numbers; group 2 (parts of emoji, such as hair) is left out."""


@dataclass(frozen=True)
class Emoji:
    """One emoji. ``base`` is the code without a skin tone: the concept. ``tone`` is None for the yellow one."""

    code: str
    name: str
    keywords: tuple[str, ...]
    group: str
    subgroup: str
    emoji: str
    tone: str | None
    base: str


def normalise(code: str) -> str:
    """``1F441-FE0F`` and ``1f441_fe0f`` → ``1f441``: one spelling for the file names and tables of all packages."""
    return code.lower().replace("-fe0f", "").replace("_", "-")


def read_emoji(emojibase: Path) -> dict[str, Emoji]:
    """All emoji by code, in Unicode's order, each followed by its variants of one skin tone.

    emojibase: folder of the unpacked package ``emojibase-data``.
    """
    subgroups = json.loads((emojibase / "meta" / "groups.json").read_text(encoding="utf-8"))["subgroups"]
    table: dict[str, Emoji] = {}
    for entry in json.loads((emojibase / "en" / "data.json").read_text(encoding="utf-8")):
        if entry.get("group") not in GROUPS:
            continue
        code = normalise(entry["hexcode"])
        plain = Emoji(
            code=code,
            name=entry["label"],
            keywords=tuple(entry.get("tags", ())),
            group=GROUPS[entry["group"]],
            subgroup=subgroups.get(str(entry.get("subgroup")), ""),
            emoji=entry["emoji"],
            tone=None,
            base=code,
        )
        table[code] = plain
        for skin in entry.get("skins", ()):
            toned = normalise(skin["hexcode"])
            tones = {TONES[part] for part in toned.split("-") if part in TONES}
            if len(tones) == 1:  # two people of different tones are no variant of one tone
                table[toned] = replace(plain, code=toned, name=skin["label"], emoji=skin["emoji"], tone=tones.pop())
    return table
