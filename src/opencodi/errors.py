"""Typed exceptions. Each message is one sentence that names the file or argument and says what to do."""


class OpenCoDiError(Exception):
    """Base of everything OpenCoDi raises on bad input; the command line prints it in one line and exits with code 2."""


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
