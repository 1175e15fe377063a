"""How a server behaves: every limit and every time in one place, each with its default."""

import hmac
import logging
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import ArgumentError, ConfigurationError
from ..media import Limits

LOOPBACK = ("127.0.0.1", "::1", "localhost")
SHORTEST_KEY = 16
log = logging.getLogger("opencodi.server")


class Settings(BaseModel):
    """Settings of one server. A file of them is YAML with these names; an unknown name is an error.

    Sizes of uploads count per file, ``max_body_bytes`` per request. ``max_outputs`` are results of one request,
    ``max_batch`` results in one denoising run. ``max_pixels``, ``max_frames`` and ``max_seconds`` bound what is read,
    the three ``max_made_…`` what is made, ``max_sized_pixels`` to what size OpenAI's routes enlarge.
    ``queue_seconds`` is the longest wait, ``job_seconds`` the longest run, ``keep_seconds`` how long a finished job and
    its files stay, ``drain_seconds`` how long a stop waits for jobs. Results are signed with ``certificate`` and
    ``private_key``, else with those of this installation, unless ``credentials`` is false; ``trust`` is a PEM file of
    authorities that ``/v1/verify`` believes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    public_url: str | None = None
    allowed_origins: list[str] = []
    aliases: list[str] = []
    results: Path | None = None
    log_prompts: bool = False
    credentials: bool = True
    certificate: Path | None = None
    private_key: Path | None = None
    trust: Path | None = None
    warm_up: bool = True
    max_connections: int = Field(256, ge=1)
    watermark: bool = False

    max_queue: int = Field(64, ge=1)
    max_batch: int = Field(8, ge=1)
    max_outputs: int = Field(8, ge=1)
    max_steps: int = Field(100, ge=1)
    max_guidance: float = Field(50.0, gt=0)
    max_inputs: int = Field(8, ge=1)
    max_characters: int = Field(2_000, ge=1)

    max_body_bytes: int = Field(48 * 2**20, ge=1)
    max_upload_bytes: int = Field(32 * 2**20, ge=1)
    max_pixels: int = Field(16 * 2**20, ge=1)
    max_seconds: float = Field(120.0, gt=0)
    max_frames: int = Field(1_800, ge=1)
    max_decoded_bytes: int = Field(512 * 2**20, ge=1)
    max_waiting_bytes: int = Field(2 * 2**30, ge=1)
    max_made_pixels: int = Field(1024 * 1024, ge=1)
    max_sized_pixels: int = Field(2048 * 2048, ge=1)
    max_made_frames: int = Field(64, ge=1)
    max_made_seconds: float = Field(30.0, gt=0)
    max_stored_bytes: int = Field(4 * 2**30, ge=1)

    decoders: int = Field(2, ge=1)
    decode_seconds: float = Field(30.0, gt=0)
    upload_seconds: float = Field(60.0, gt=0)
    queue_seconds: float = Field(300.0, gt=0)
    job_seconds: float = Field(300.0, gt=0)
    keep_seconds: float = Field(3600.0, gt=0)
    drain_seconds: float = Field(30.0, ge=0)

    @property
    def media_limits(self) -> Limits:
        """What one upload may ask of the process that decodes it."""
        return Limits(
            max_bytes=self.max_upload_bytes,
            max_characters=self.max_characters,
            max_pixels=self.max_pixels,
            max_seconds=self.max_seconds,
            max_frames=self.max_frames,
            max_decoded_bytes=self.max_decoded_bytes,
            timeout_seconds=self.decode_seconds,
        )

    @property
    def public_host(self) -> str | None:
        """The host name in ``public_url``."""
        return urlsplit(self.public_url).hostname if self.public_url else None

    def base_url(self, port: int | None = None) -> str:
        """Where links to results point: what the operator says, never what a request claims."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"http://{host}:{port or self.port}").rstrip("/")


def make_settings(file: Path | None = None, **given: Any) -> Settings:
    """Settings from a YAML file, overridden by what is ``given`` and not None.

    Raises:
        ConfigurationError: if the file cannot be read.
        ArgumentError: if a name is unknown or a value impossible.
    """
    values: dict[str, Any] = {}
    if file is not None:
        try:
            values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise ConfigurationError(f"{file}: cannot be read as YAML ({error}), correct it") from error
        if not isinstance(values, dict):
            raise ConfigurationError(f"{file}: must be a list of names and values, such as max_queue: 64")
    try:
        return Settings(**values | {name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise ArgumentError(f"{name}: {first['msg']}; see docs/server.md for the settings") from None


class Keys:
    """The keys of a file: one per line, ``NAME KEY`` or ``KEY``; ``#`` begins a comment. Without a file, nobody needs one.

    Raises:
        ConfigurationError: if the file cannot be read, is empty, repeats a name or holds a key of fewer than 16 characters.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._names: dict[bytes, str] = {}
        if file is None:
            return
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
            public = bool(os.stat(file).st_mode & 0o004)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{file}: cannot be read ({error}), give a text file of keys") from error
        if public:
            log.warning("keys file=%s may be read by everyone on this machine; chmod 600 is safer", file)
        for number, line in enumerate(lines, start=1):
            words = line.split("#", 1)[0].split()
            if not words:
                continue
            name = words[0] if len(words) > 1 else f"key{number}"
            if len(words) > 2 or len(words[-1]) < SHORTEST_KEY or name in self._names.values():
                raise ConfigurationError(
                    f"{file}: line {number} must be NAME KEY with a new name and a key of at least {SHORTEST_KEY} characters"
                )
            self._names[words[-1].encode()] = name
        if not self._names:
            raise ConfigurationError(f"{file}: holds no key, write one per line")

    def __bool__(self) -> bool:
        return bool(self._names)

    def owner(self, authorization: str) -> str | None:
        """Whose key an ``Authorization: Bearer KEY`` header holds, or None; how long it takes tells nothing of the keys."""
        if not self._names:
            return "anyone"
        scheme, _, given = authorization.partition(" ")
        found = None
        for key, name in self._names.items():
            if hmac.compare_digest(key, given.strip().encode("utf-8", "replace")) and scheme.lower() == "bearer":
                found = name
        return found


def check_address(settings: Settings, keys: Keys) -> None:
    """Refuse to be where others can reach this server without a key.

    Raises:
        ArgumentError: if the address, or the public one, is not this machine's own and there are no keys.
    """
    for option, host in (("--host", settings.host), ("--public-url", settings.public_host)):
        if host is not None and host not in LOOPBACK and not keys:
            raise ArgumentError(f"{option}: {host} can be reached by others; give --keys FILE as well, or leave it out")
