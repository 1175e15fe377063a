"""An emoji that tags a caption, found by its words in the names of Unicode and of the library ``rich``."""

import re
import unicodedata

ANY = "✨"
"""The tag of a caption in which no emoji is named; apps want at least one."""

_GLUE = frozenset({"a", "an", "and", "at", "in", "of", "on", "or", "the", "to", "with"})
_KINDS = frozenset({"clip", "old", "picture", "photo", "sound", "style", "video", "word"})
_FIRST_PICTURE = 0x1F300
_MOST_WORDS = 6


def emoji_for(caption: str) -> str:
    """The emoji that the longest run of words of ``caption`` names; ``ANY`` if none does.

    >>> emoji_for("the sound of a rooster")
    '🐓'
    """
    words = re.findall(r"[^\W_]+(?:['’][^\W_]+)?", caption.lower())
    for length in range(min(_MOST_WORDS, len(words)), 0, -1):
        for start in range(len(words) - length + 1):
            run = " ".join(words[start : start + length])
            if length == 1 and (run in _GLUE | _KINDS or len(run) < 2):
                continue
            for name in (run, run.removesuffix("s"), f"{run} face"):
                found = _named(name)
                if found:
                    return found
    return ANY


def emoji_name(emoji: str) -> str:
    """How an emoji is called in words, such as ``"rooster"``; Discord wants this as the tag."""
    return unicodedata.name(emoji[0], "sparkles").lower()


def _named(name: str) -> str | None:
    from rich.emoji import Emoji

    try:
        character = unicodedata.lookup(name.upper())
    except KeyError:
        character = ""
    if len(character) == 1 and ord(character) >= _FIRST_PICTURE:
        return character
    code = f":{name.replace(' ', '_')}:"
    found = Emoji.replace(code)
    return None if found == code else found
