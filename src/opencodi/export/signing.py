"""Stickers whose credentials hold those of the file that they were made from."""

from dataclasses import replace
from pathlib import Path

from ..trust import Credentials, Verdict, verify
from .encode import Frames, encode
from .targets import FileRule

_ACTIONS = ("c2pa.resized", "c2pa.transcoded")


class Signer:
    """Signs what was made from files that this installation signed, and nothing else: nobody says how others were made.

    Args:
        credentials: who signs; None: nobody.
    """

    def __init__(self, credentials: Credentials | None) -> None:
        self._credentials = credentials
        self._known: dict[Path, bool] = {}

    def write(self, path: Path, frames: Frames, fps: float, rule: FileRule, source: Path | None) -> bool:
        """Encode frames into a file that keeps the rule with its credentials in it; whether it has any.

        Raises:
            MediaError: if nothing fits.
        """
        path.write_bytes(encode(frames, fps, rule))
        bare = path.stat().st_size
        if not self.sign(path, source, _ACTIONS):
            return False
        added = path.stat().st_size - bare
        if path.stat().st_size > rule.max_bytes:
            path.write_bytes(encode(frames, fps, replace(rule, max_bytes=rule.max_bytes - added)))
            self.sign(path, source, _ACTIONS)
        return True

    def sign(self, path: Path, source: Path | None, actions: tuple[str, ...]) -> bool:
        """Sign a file made from ``source``, if that is signed; whether it was."""
        if self._credentials is None or self._credentials.identity is None or source is None:
            return False
        if source not in self._known:
            found = verify(source, trust=self._credentials.identity.authorities, watermark=False)
            self._known[source] = found.verdict == Verdict.GENERATED
        if self._known[source]:
            self._credentials.sign_edit(path, source, actions)
        return self._known[source]
