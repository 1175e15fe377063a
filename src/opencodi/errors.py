"""Typed exceptions. Each message is one sentence that names the file or argument and says what to do."""


class OpenCoDiError(Exception):
    """Base of everything OpenCoDi raises on bad input; the command line prints it in one line and exits with code 2.

    A message may name a file whose name is not UTF-8 or holds control characters: both are shown escaped.
    """

    def __str__(self) -> str:
        text = super().__str__()
        return text if text.isprintable() else "".join(map(self._printable, text))

    def _printable(self, character: str) -> str:
        return character if character == "\n" else printable(character)


def printable(character: str) -> str:
    """A character as a terminal may safely show it."""
    if character.isprintable():
        return character
    code = ord(character)
    # Python keeps the byte 0xNN of a name that is not UTF-8 as the character U+DCNN (PEP 383).
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else ascii(character)[1:-1]


class ArgumentError(OpenCoDiError, ValueError):
    """An argument is unknown, contradictory or out of range."""


class ConfigurationError(OpenCoDiError, ValueError):
    """A recipe or model folder holds an unknown, missing or impossible value."""


class TrainingError(OpenCoDiError, RuntimeError):
    """A training run cannot start, continue or go on (no data, another run's checkpoint, a loss that is not finite)."""


class CollectionError(OpenCoDiError, RuntimeError):
    """A data collection cannot be fetched, made or verified."""


class MediaError(OpenCoDiError):
    """A media file cannot be read or written."""

    def _printable(self, character: str) -> str:
        return printable(character)  # a line break belongs to a file's name


class MissingFile(MediaError, FileNotFoundError):
    """The file does not exist or is not a regular file."""


class EmptyFile(MediaError):
    """The file has no bytes, or holds no picture, sample or word."""


class DamagedFile(MediaError):
    """The file is truncated, or its content cannot be decoded."""


class WrongKind(MediaError):
    """The file is of another kind than was asked for, or of none we read."""


class OverLimit(MediaError):
    """The file exceeds a limit on bytes, pixels, seconds or frames."""


class SystemFailure(MediaError):
    """The system refuses what reading or writing needs: space, memory, file handles, processes. The file is not at fault."""


class DecoderCrash(MediaError):
    """The decoder crashed on the file; only its own process ended."""


class NotFinite(OpenCoDiError, ArithmeticError):
    """A result holds NaN or infinity, so there is nothing to show, play or save."""
