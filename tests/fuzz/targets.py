"""What cases are tried on. A target is made once for each process and then called with the bytes of a case.

It returns ``ok``, or the name of the typed error that refused the case. Whatever else it raises is a defect.
"""

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

from opencodi.errors import OpenCoDiError
from opencodi.media import Limits, decoding
from opencodi.media.containers import missing_end
from opencodi.media.kinds import FFMPEG_PARSERS, SNDFILE_KINDS, find_kind

from . import corpus
from .mutations import LARGEST

LIMITS = Limits(
    max_pixels=2_000_000, max_seconds=60.0, max_frames=600, timeout_seconds=20.0, max_decoder_bytes=2 * 2**30
)

Try = Callable[[bytes], str]


@dataclass(frozen=True)
class Target:
    """One door.

    Attributes:
        seeds: folder for scratch files → whole files to mutate.
        make: folder for scratch files → what tries one case.
        is_contained: the product runs this in a child of its own, so that a crash ends that child only.
    """

    seeds: Callable[[Path], Sequence[bytes]]
    make: Callable[[Path], Try]
    is_contained: bool = False


def _reader(modality: str) -> Callable[[Path], Try]:
    """The public door, as the command line and Python use it."""

    def make(folder: Path) -> Try:
        from opencodi.media import read

        path = folder / "case"

        def attempt(content: bytes) -> str:
            path.write_bytes(content)
            try:
                read(modality, path, LIMITS)
            except OpenCoDiError as error:
                assert str(path) in str(error), f"the message names no file: {error}"
                return type(error).__name__
            return "ok"

        return attempt

    return make


def _decoder(frames: bool) -> Callable[[Path], Try]:
    """The program that decodes clips and compressed sounds, called again and again in one process."""

    def make(folder: Path) -> Try:
        worker = Path(decoding.__file__).with_name("worker")
        sys.path.insert(0, str(worker))
        spec = importlib.util.spec_from_file_location("decoder_program", worker / "__main__.py")
        program = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(program)

        def attempt(content: bytes) -> str:
            file = BytesIO(content)
            kind, start = find_kind(file)
            if kind is None:
                return "WrongKind"
            request = asdict(LIMITS) | {
                "start": start,
                "size": len(content) - start,
                "kind": kind,
                "parser": FFMPEG_PARSERS.get(kind),
                "libsndfile": kind in SNDFILE_KINDS,
                "frames": frames,
                "sample_rate": 16_000,
                "sample_rates": [1_000, 1_000_000],
            }
            if request["parser"] is None and kind not in ("png", "gif", "webp") and not request["libsndfile"]:
                return "WrongKind"
            answer, arrays = program.main(request, BytesIO(content[start:]))
            json.dumps(answer)
            return answer.get("error") or ("SystemFailure" if "errno" in answer else "ok" if arrays else "empty answer")

        return attempt

    return make


def _container(folder: Path) -> Try:
    """What is found out about a file before anything decodes it: its kind, and whether its end is missing."""

    def attempt(content: bytes) -> str:
        file = BytesIO(content)
        kind, start = find_kind(file)
        lack = missing_end(kind, file, len(content), start) if kind else None
        assert lack is None or isinstance(lack, str)
        return "DamagedFile" if lack else "ok" if kind else "WrongKind"

    return attempt


def _saved_model(folder: Path) -> Path:
    from .. import tiny

    saved = folder / "saved"
    if not saved.exists():
        tiny.pipeline().save_pretrained(saved)
    return saved


def _model_seeds(folder: Path) -> list[bytes]:
    """The files of a tiny model folder, each led by its name."""
    saved = _saved_model(folder)
    files = sorted(file for file in saved.rglob("*") if file.is_file() and file.stat().st_size < LARGEST)
    return [str(file.relative_to(saved)).encode() + b"\n" + file.read_bytes() for file in files]


def _model(folder: Path) -> Try:
    """One file of a model folder replaced by the case; the folder is opened and a picture and a text are made."""
    import torch

    from opencodi import AnyToAnyPipeline

    torch.set_num_threads(1)
    saved, tried = _saved_model(folder), folder / "tried"
    names = sorted(str(file.relative_to(saved)) for file in saved.rglob("*") if file.is_file())
    shutil.copytree(saved, tried)

    def attempt(content: bytes) -> str:
        head, _, body = content.partition(b"\n")
        name = head.decode(errors="replace")
        name = name if name in names else names[len(content) % len(names)]
        (tried / name).write_bytes(body)
        try:
            pipe = AnyToAnyPipeline.from_pretrained(tried)
            pipe(text="a rooster", outputs=["image", "text"], num_inference_steps=1)
        except OpenCoDiError as error:
            return type(error).__name__
        finally:
            (tried / name).write_bytes((saved / name).read_bytes())
        return "ok"

    return attempt


def _signed(folder: Path) -> list[bytes]:
    """Files with credentials in them, of every kind that takes some."""
    from opencodi.trust import Statement, prepare

    os.environ["OPENCODI_CONFIG"] = str(folder / "config")
    credentials, found = prepare(), []
    whole = corpus.pictures(folder) | corpus.clips(folder) | corpus.sounds(folder)
    for name in ("png", "jpg", "webp", "gif", "wav", "flac", "mp3", "m4a", "mp4"):
        path = folder / f"signed.{name}"
        path.write_bytes(whole[name])
        if credentials.sign(path, Statement(model="stickers", seed=0)) is None:
            found.append(path.read_bytes())
    return found


def _credentials(folder: Path) -> Try:
    """The program that parses credentials, called again and again in one process."""
    from opencodi.trust import reader
    from opencodi.trust.reading import READABLE
    from opencodi.trust.signing import OFFLINE

    reader._limit = lambda request: None  # set once, for all cases: this process writes each of them to a file
    path = folder / "case"

    def attempt(content: bytes) -> str:
        kind, _ = find_kind(BytesIO(content))
        if kind not in READABLE:
            return "WrongKind"
        path.write_bytes(content)
        request = {"path": str(path), "media_type": READABLE[kind], "settings": OFFLINE, "sidecar": None}
        answer = reader.answer(request | {"own": "", "trusted": ""})
        json.dumps(answer)
        return "DamagedFile" if "broken" in answer else "ok" if answer["found"] else "without credentials"

    return attempt


def _verify(folder: Path) -> Try:
    """The whole way of ``opencodi verify``."""
    from opencodi.trust import verify

    os.environ["OPENCODI_CONFIG"] = str(folder / "config")
    path = folder / "case"

    def attempt(content: bytes) -> str:
        path.write_bytes(content)
        try:
            found = verify(path)
        except OpenCoDiError as error:
            return type(error).__name__
        assert found.verdict and "real" not in str(found.verdict)
        return "ok"

    return attempt


def _recipe_seeds(folder: Path) -> list[bytes]:
    recipes = Path(__file__).parents[2] / "recipes"
    return [file.read_bytes() for file in sorted((recipes / "stickers").glob("*.yaml"))]


def _recipe(folder: Path) -> Try:
    from opencodi.training.recipe import load_recipe

    path = folder / "recipe.yaml"

    def attempt(content: bytes) -> str:
        path.write_bytes(content)
        try:
            load_recipe(path)
        except OpenCoDiError as error:
            return type(error).__name__
        return "ok"

    return attempt


def _everything(folder: Path) -> list[bytes]:
    found = corpus.pictures(folder) | corpus.clips(folder) | corpus.sounds(folder)
    return list(found.values())


TARGETS: dict[str, Target] = {
    "image": Target(lambda folder: list(corpus.pictures(folder).values()), _reader("image")),
    "clip decoder": Target(lambda folder: list(corpus.clips(folder).values()), _decoder(frames=True), True),
    "sound decoder": Target(lambda folder: list(corpus.sounds(folder).values()), _decoder(frames=False), True),
    "container": Target(_everything, _container),
    "audio": Target(lambda folder: list(corpus.sounds(folder).values()), _reader("audio")),
    "video": Target(lambda folder: list(corpus.clips(folder).values()), _reader("video")),
    "text": Target(_everything, _reader("text")),
    "credentials reader": Target(_signed, _credentials, True),
    "verify": Target(_signed, _verify),
    "model folder": Target(_model_seeds, _model),
    "recipe": Target(_recipe_seeds, _recipe),
}
