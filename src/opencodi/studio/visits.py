"""What a visitor has made since the page was opened: runs with their settings and files."""

import secrets
import shutil
import tempfile
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path

from .jobs import Job
from .wish import Wish

MAX_RUNS = 30


@dataclass
class Run:
    """One finished run.

    Attributes:
        number: counts from 1 in a visit.
        wish: its settings; files point to copies that stay.
        files: the results, ``image-0.png`` and so on.
        seconds: how long it took.
        packs: app → zip of a sticker pack that was made of it.
    """

    number: int
    wish: Wish
    files: tuple[Path, ...]
    seconds: float
    packs: dict[str, Path] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.files[0].parent

    def file(self, modality: str, index: int) -> Path | None:
        """The result of one modality, or None."""
        return next((file for file in self.files if file.stem == f"{modality}-{index}"), None)

    @property
    def picture(self) -> Path | None:
        """What stands for it in the history."""
        return self.file("image", 0)


@dataclass
class Visit:
    """One open page. Its folder has a name that nobody can guess, since the server hands out files by their path."""

    folder: Path
    runs: list[Run] = field(default_factory=list)
    job: Job | None = None
    count: int = 0

    def keep_inputs(self, wish: Wish) -> tuple[Wish, Path]:
        """The wish with its files copied to where they stay, and the folder for its results."""
        self.count += 1
        place = self.folder / f"run-{self.count}"
        (place / "inputs").mkdir(parents=True)
        kept = {}
        for name, path in wish.files.items():
            kept[name] = str(place / "inputs" / f"{name}{Path(path).suffix}")
            shutil.copyfile(path, kept[name])
        return replace(wish, files=kept), place / "results"

    def add(self, wish: Wish, files: tuple[Path, ...], seconds: float) -> Run:
        """A new run, at the end; the oldest goes when there are too many."""
        run = Run(self.count, wish, files, seconds)
        write_zip(run.folder.parent / "opencodi.zip", run.folder)
        self.runs.append(run)
        if len(self.runs) > MAX_RUNS:
            shutil.rmtree(self.runs.pop(0).folder.parent, ignore_errors=True)
        return run

    def run(self, number: int) -> Run | None:
        """The run of that number, or None."""
        return next((run for run in self.runs if run.number == number), None)


class Visits:
    """All open pages."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="opencodi-studio-"))
        self._visits: dict[str, Visit] = {}

    def of(self, session: str) -> Visit:
        """The visit of a session; a new one if it has none."""
        if session not in self._visits:
            self._visits[session] = Visit(self.root / secrets.token_urlsafe(16))
        return self._visits[session]

    def end(self, session: str) -> None:
        """The page was closed: stop what it runs and remove its files."""
        visit = self._visits.pop(session, None)
        if visit:
            if visit.job:
                visit.job.cancel()
            shutil.rmtree(visit.folder, ignore_errors=True)

    def close(self) -> None:
        """The server stops: remove everything."""
        for session in list(self._visits):
            self.end(session)
        shutil.rmtree(self.root, ignore_errors=True)


def write_zip(path: Path, folder: Path) -> Path:
    """Everything in a folder, its folders included, as one zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # pictures, clips and packs are compressed already
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return path
