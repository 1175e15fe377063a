"""Secrets of the user: small files that nobody else may read, made when they are first needed."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from ..errors import ConfigurationError
from ..media.system import refused

CONFIG = "OPENCODI_CONFIG"
WATERMARK_FILE = "watermark.key"
KEY_BYTES = 32


def config_folder() -> Path:
    """Where this user's settings are: ``$OPENCODI_CONFIG``, else ``opencodi`` in the folder that the system has for that.

    Raises:
        ConfigurationError: if there is no home folder.
    """
    if os.environ.get(CONFIG):
        return Path(os.environ[CONFIG])
    parent = os.environ.get("APPDATA") if os.name == "nt" else os.environ.get("XDG_CONFIG_HOME")
    try:
        return (Path(parent) if parent else Path.home() / ".config") / "opencodi"
    except RuntimeError as error:
        raise ConfigurationError(f"there is no home folder; name a folder in {CONFIG}") from error


def private_file(path: Path, content: Callable[[], bytes]) -> bytes:
    """What a secret file holds; it is made with ``content()`` if it is not there.

    It appears whole and with mode 600. Of two processes that make it at once, both get what the first one wrote.

    Raises:
        SystemFailure, MediaError: if the system refuses to read or keep it.
    """
    try:
        if not os.path.lexists(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Swept like all partial files if this process is killed here.
            temporary = path.with_name(f".partial-{secrets.token_hex(6)}{path.suffix}")
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with open(handle, "wb") as file:
                    file.write(content())
                    file.flush()
                    os.fsync(handle)
                os.link(temporary, path)  # unlike a renaming, this fails if another was faster
            except FileExistsError:
                pass
            finally:
                temporary.unlink(missing_ok=True)
        return path.read_bytes()
    except OSError as error:
        raise refused(f"{path}: the secret key cannot be kept there or read", error, path.parent) from error


def watermark_key(create: bool = True) -> bytes:
    """The key of this user's watermark: 32 random bytes, written as hexadecimal digits.

    Args:
        create: make one if there is none.

    Raises:
        ConfigurationError: if there is none, others may read it, or it is no key.
        SystemFailure, MediaError: if the system refuses to read or keep it.
    """
    path = config_folder() / WATERMARK_FILE
    if not create and not os.path.lexists(path):
        raise ConfigurationError(f"{path}: there is no watermark key yet; it is made with the first marked result")
    content = private_file(path, lambda: secrets.token_hex(KEY_BYTES).encode() + b"\n")
    if os.name != "nt" and path.stat().st_mode & 0o077:
        raise ConfigurationError(f"{path}: holds a secret key that others may read; run chmod 600 on it")
    try:
        key = bytes.fromhex(content.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"{path}: must hold {2 * KEY_BYTES} hexadecimal digits; restore it, or move it away")
    return key
