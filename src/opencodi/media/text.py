"""Text files ↔ `str`."""

from codecs import getincrementaldecoder
from pathlib import Path

from ..errors import ArgumentError, EmptyFile, OverLimit, WrongKind
from .files import opened, replacing
from .kinds import HEAD_BYTES, KINDS, kind_of
from .limits import DEFAULT_LIMITS, Limits

WRITE_SUFFIXES = (".txt",)


def read_text(path: str | Path, limits: Limits = DEFAULT_LIMITS) -> str:
    """Read a UTF-8 text (with or without a byte order mark), without the white space around it.

    Raises:
        MissingFile, OverLimit: if the file is not there, or longer than `limits` allow.
        EmptyFile: if it holds nothing but white space.
        WrongKind: if it is not text in UTF-8.
    """
    with opened(path, limits) as file:
        content = file.read(4 * limits.max_characters + 1)  # no character takes more than four bytes
        is_all = not file.read(1)
    try:
        text = getincrementaldecoder("utf-8-sig")().decode(content, final=is_all)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        is_what = KINDS.get(kind_of(content[:HEAD_BYTES]), "not UTF-8 text")
        raise WrongKind(f"{path}: is {is_what}, give a text file saved as UTF-8")
    text = text.strip()
    if len(text) > limits.max_characters or not is_all:
        raise OverLimit(
            f"{path}: the text is longer than the limit of {limits.max_characters:,} characters, shorten it"
        )
    if not text:
        raise EmptyFile(f"{path}: holds no word, write one into it")
    return text


def write_text(text: str, path: str | Path) -> None:
    """Write a text as UTF-8, ending in a newline.

    Raises:
        ArgumentError: if `text` is not a string that UTF-8 can hold.
        MediaError: if it cannot be written (see `files.replacing`).
    """
    if not isinstance(text, str):
        raise ArgumentError(f"text: must be a str, not {type(text).__name__}")
    try:
        content = f"{text}\n".encode()
    except UnicodeEncodeError as error:
        raise ArgumentError(f"text: holds half a surrogate pair at character {error.start}, remove it") from error
    with replacing(path, WRITE_SUFFIXES) as temporary:
        temporary.write_bytes(content)
