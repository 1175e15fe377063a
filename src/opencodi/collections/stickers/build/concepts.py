"""What is a concept of the collection: an emoji without skin tone that enough styles draw."""

import json
from collections.abc import Iterable, Mapping

from .drawings import Drawing
from .emoji import Emoji

LEAST_STYLES = 4
COUNTRY_FLAGS = {"country-flag", "subdivision-flag"}


def select_concepts(
    emoji: Mapping[str, Emoji], drawings: Mapping[str, Mapping[str, Drawing]]
) -> dict[str, tuple[Emoji, list[str]]]:
    """code → (emoji, the styles that draw it, sorted). Left out: skin tones, flags of places, mirrored people."""
    chosen = {}
    for code, row in emoji.items():
        styles = sorted(style for style, drawn in drawings.items() if code in drawn)
        flag = row.group == "flags" and row.subgroup in COUNTRY_FLAGS
        if row.tone is None and len(styles) >= LEAST_STYLES and not flag and "facing right" not in row.name:
            chosen[code] = (row, styles)
    return chosen


def concepts_jsonl(concepts: Iterable[tuple[Emoji, list[str]]]) -> str:
    """The text of ``concepts.jsonl``: one concept a line."""
    lines = []
    for row, styles in concepts:
        record = {
            "code": row.code,
            "name": row.name,
            "keywords": list(row.keywords),
            "group": row.group,
            "subgroup": row.subgroup,
            "emoji": row.emoji,
            "styles": styles,
        }
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    return "".join(lines)
