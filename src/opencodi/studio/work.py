"""A wish → its results, in a thread of its own, with news on the way."""

import inspect
import json
import logging
import queue
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from .. import __version__
from ..errors import OpenCoDiError
from ..trust import Credentials, Statement, prepare
from ..trust.watermark import embed_output, written
from .jobs import Job, Line, Stopped
from .previews import Previews
from .wish import Wish, read_file

_LOG = logging.getLogger(__name__)
_PREVIEW_EVERY = 0.25


@dataclass(frozen=True)
class Waiting:
    """Others are first."""

    before: int


@dataclass(frozen=True)
class Loading:
    """The model is being read."""

    model: str


@dataclass(frozen=True)
class Working:
    """After a step: how far it is, seconds left, and a picture if there is a new one."""

    step: int
    steps: int
    seconds_left: float | None
    picture: Any = None


@dataclass(frozen=True)
class Done:
    """Finished: the files, and how long it took."""

    files: tuple[Path, ...]
    seconds: float


@dataclass(frozen=True)
class Failed:
    """It did not work; one sentence."""

    reason: str


class Cancelled:
    """The visitor stopped it."""


News = Waiting | Loading | Working | Done | Failed | Cancelled


class Studio:
    """What all visitors share: the line they stand in, the model that was used last, and who signs results."""

    def __init__(
        self, device: str | None = None, credentials: Credentials | None = None, watermark: bool = False
    ) -> None:
        self.line, self.credentials = Line(), credentials or prepare(False)
        self.watermark = watermark
        self._device = device
        self._loaded: tuple[str, Any] | None = None

    def pipeline(self, model: str) -> Any:
        """The pipeline of a model; the one before it is let go. Only whose turn it is calls this.

        Raises:
            ConfigurationError: if there is no such model.
        """
        if self._loaded is None or self._loaded[0] != model:
            from ..device import pick_device
            from ..models import resolve
            from ..pipeline import AnyToAnyPipeline

            self._loaded = None
            pipe = AnyToAnyPipeline.from_pretrained(resolve(model)).to(pick_device(self._device))
            pipe.set_progress_bar_config(disable=True)
            self._loaded = model, pipe
        return self._loaded[1]

    def is_loaded(self, model: str) -> bool:
        """Whether a call can start at once."""
        return self._loaded is not None and self._loaded[0] == model

    def work(self, job: Job, wish: Wish, folder: Path) -> Iterator[News]:
        """News of a job until it ends. Files are written to ``folder``.

        A cancelled job says so within a quarter of a second; its thread stops at its next step, and only then it is the
        next visitor's turn.
        """
        self.line.join(job)
        try:
            for before in self.line.waiting(job):
                yield Waiting(before)
        except Stopped:
            yield Cancelled()
            return
        news: queue.Queue[News] = queue.Queue()
        if not self.is_loaded(wish.model):
            news.put(Loading(wish.model))
        threading.Thread(target=self._run, args=(job, wish, folder, news), daemon=True).start()
        while not job.cancelled.is_set():
            for latest in _gathered(news):
                yield latest
                if isinstance(latest, Done | Failed | Cancelled):
                    return
        yield Cancelled()

    def _run(self, job: Job, wish: Wish, folder: Path, news: "queue.Queue[News]") -> None:
        try:
            started = monotonic()
            inputs = {name: read_file(name, path) for name, path in wish.files.items()}
            if wish.text:
                inputs["text"] = wish.text
            pipe = self.pipeline(wish.model)
            job.check()
            result = _call(pipe, job, wish, inputs, news.put)
            folder.mkdir(parents=True, exist_ok=True)
            if self.watermark:
                embed_output(result)
            statement = _state(wish) if self.credentials.identity else Statement()
            files = result.save(folder, self.credentials, statement)
            _write_report(folder, wish, files, self.credentials.report(statement), self.watermark)
            news.put(Done(tuple(files), monotonic() - started))
        except Stopped:
            news.put(Cancelled())
        except OpenCoDiError as error:
            news.put(Failed(str(error)))
        except MemoryError:
            news.put(Failed("There is not enough memory for this: ask for fewer results or fewer outputs."))
        except Exception as error:
            _LOG.exception("a run of the studio failed")
            news.put(Failed(f"Something went wrong ({type(error).__name__}: {error}); the log of the server says more."))
        finally:
            self.line.leave(job)


def takes_partner_guidance() -> bool:
    """Whether the pipeline's call has a scale for guidance towards the other outputs."""
    from ..pipeline import AnyToAnyPipeline

    return "modality_scale" in inspect.signature(AnyToAnyPipeline.__call__).parameters


def _call(pipe: Any, job: Job, wish: Wish, inputs: dict[str, Any], tell: Any) -> Any:
    import torch

    previews, total, started = Previews(pipe), _expected_steps(pipe, wish), monotonic()
    shown = started

    def after_step(_: Any, step: int, timesteps: dict, tensors: dict) -> None:
        nonlocal shown
        job.check()
        previews.keep(tensors["latents"], timesteps)
        now, done = monotonic(), step + 1
        picture = None
        if now - shown > _PREVIEW_EVERY or done == 1:
            picture, shown = previews.picture(), now
        steps = max(total, done)
        left = (now - started) / done * (steps - done) if done > 1 else None
        tell(Working(done, steps, left, picture))

    optional = {
        "num_inference_steps": wish.steps,
        "guidance_scale": wish.guidance,
        "modality_scale": wish.partner_guidance if takes_partner_guidance() else None,
        "negative_prompt": wish.negative or None,
        "weights": wish.weights or None,
    }
    return pipe(
        **inputs,
        outputs=list(wish.outputs),
        **{name: value for name, value in optional.items() if value is not None},
        num_outputs_per_prompt=wish.number,
        generator=[torch.Generator().manual_seed(wish.seed + place) for place in range(wish.number)],
        callback_on_step_end=after_step,
    )


def _gathered(news: "queue.Queue[News]", wait: float = 0.1) -> list[News]:
    """What there is to tell, at most after ``wait`` seconds; of steps that came faster than they were told, the last."""
    try:
        gathered = [news.get(timeout=wait)]
    except queue.Empty:
        return []
    while not news.empty():  # nobody else takes from it
        following = news.get()
        if isinstance(gathered[-1], Working) and isinstance(following, Working):
            gathered[-1] = replace(following, picture=following.picture or gathered[-1].picture)
        else:
            gathered.append(following)
    return gathered


def _expected_steps(pipe: Any, wish: Wish) -> int:
    """How often the callback will be called."""
    return pipe.num_ticks(list(wish.outputs), wish.inputs, wish.steps)


def _state(wish: Wish) -> Statement:
    """What the credentials of the results say."""
    from ..models import resolve

    given = ({"text": [wish.text]} if wish.text else {}) | {name: [Path(path)] for name, path in wish.files.items()}
    left_out = ("text", "files", "seed", "negative", "model")
    settings = {key: value for key, value in asdict(wish).items() if key not in left_out}
    return Statement.of(given, wish.negative or None, resolve(wish.model), wish.seed, settings)


def _write_report(
    folder: Path, wish: Wish, files: list[Path], credentials: dict[str, Any], watermark: bool
) -> None:
    settings = {key: value for key, value in asdict(wish).items() if key not in ("text", "files", "seed")}
    inputs = ({"text": [wish.text]} if wish.text else {}) | {name: [Path(path).name] for name, path in wish.files.items()}
    report = {
        "opencodi": __version__,
        "inputs": inputs,
        "settings": settings,
        "seed": wish.seed,
        "files": [file.name for file in files],
        "credentials": credentials,
        "watermark": written(watermark, wish.outputs),
    }
    (folder / "result.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
