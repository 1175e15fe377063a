"""Runs and news → HTML. Whatever came from a visitor or a model is escaped."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from ..export.targets import TARGETS
from .icons import ICONS, icon
from .previews import data_address
from .visits import Run
from .wish import NAMES, Wish
from .work import Cancelled, Failed, Loading, News, Waiting, Working

ORDER = ("image", "video", "audio", "text")


def header() -> str:
    """The top of the page."""
    shapes = "".join(f'<span class="oc-dot oc-{name}">{ICONS[name]}</span>' for name in ("text", "image", "video", "audio"))
    return (
        '<header class="oc-header"><div class="oc-marks" aria-hidden="true">'
        f"{shapes}</div><div><h1>OpenCoDi Studio</h1>"
        "<p>Any mixture of words, pictures, clips and sounds in. Any of them out, made together.</p></div></header>"
    )


def empty() -> str:
    """The place of results before there are any."""
    ghosts = "".join(
        f'<div class="oc-ghost oc-{name}">{icon(name)}<span>{NAMES[name].capitalize()}</span></div>' for name in ORDER
    )
    return _stage(
        f'<div class="oc-empty"><div class="oc-ghosts" aria-hidden="true">{ghosts}</div>'
        "<h2>Your results appear here</h2><p>Say what you want, tick what to make, and press <b>Generate</b>. "
        "Or start from one of the examples.</p></div>"
    )


def news(latest: News, wish: Wish, picture: object = None) -> str:
    """What goes on, while it does; ``picture`` is the newest there is so far."""
    if isinstance(latest, Waiting):
        said = "Someone else is first" if latest.before == 1 else f"{latest.before} others are first"
        place = f"<p>You are number {latest.before + 1} in the line. It begins by itself.</p>"
        body = f'<div role="status"><h2>{said}</h2></div>{place}'
        return _stage(f'<div class="oc-busy oc-waiting">{_queue(latest.before)}{body}</div>')
    if isinstance(latest, Loading):
        body = f'<div role="status"><h2>Loading the model</h2></div><p>{escape(latest.model)}, only this once</p>'
        return _stage(f'<div class="oc-busy">{_canvas(None)}{body}{_bar(None, None)}</div>')
    if isinstance(latest, Working):
        making = escape(_listed(wish.outputs))
        left = "" if latest.seconds_left is None else f"about {_seconds(latest.seconds_left)} left"
        body = (
            f"<h2>Making {making}</h2>{_bar(latest.step, latest.steps)}"
            f'<p class="oc-steps"><span>Step {latest.step} of {latest.steps}</span><span>{left}</span></p>'
        )
        return _stage(f'<div class="oc-busy">{_canvas(picture)}{body}</div>')
    if isinstance(latest, Failed):
        return problem(latest.reason)
    assert isinstance(latest, Cancelled)
    said = '<div role="status"><h2>Cancelled</h2></div><p>Nothing was kept. Change what you like and try again.</p>'
    return _stage(f'<div class="oc-empty">{said}</div>')


def starting(wish: Wish) -> str:
    """The moment between the press of the button and the first news."""
    said = f'<div role="status"><h2>Making {escape(_listed(wish.outputs))}</h2></div>'
    return _stage(f'<div class="oc-busy">{_canvas(None)}{said}{_bar(None, None)}</div>')


def problem(reason: str) -> str:
    """What went wrong, in the place of results."""
    return _stage(f'<div class="oc-problem" role="alert"><h2>That did not work</h2><p>{escape(reason)}</p></div>')


def results(run: Run) -> str:
    """Everything a run made, each with what can be done with it."""
    cards = []
    for index in range(run.wish.number):
        made = [(name, file) for name in ORDER if (file := run.file(name, index))]
        figures = "".join(_figure(run, name, index, file) for name, file in made)
        few = "oc-one" if len(made) == 1 else ""
        label = f"Result {index + 1} of {run.wish.number}" if run.wish.number > 1 else "Result"
        cards.append(f'<section class="oc-card {few}" aria-label="{label}">{figures}</section>')
    facts = [_seconds(run.seconds), f"seed {run.wish.seed}", escape(run.wish.model)]
    title = f'<div role="status"><h2>{escape(run.wish.summary())}</h2></div><p>{" · ".join(facts)}</p>'
    head = (
        f'<div class="oc-head"><div>{title}</div>'
        f'{_download(run.folder.parent / "opencodi.zip", "opencodi.zip", "Download all")}</div>'
    )
    singles = " oc-singles" if run.wish.number > 1 and len(run.wish.outputs) == 1 else ""
    return _stage(f'{head}<div class="oc-cards{singles}">{"".join(cards)}</div>{_export(run)}')


def history(runs: Sequence[Run], shown: int | None) -> str:
    """The runs of this visit, the newest first."""
    if not runs:
        return ""
    entries = []
    for run in reversed(runs):
        if run.picture:
            image = f'<img src="{_address(run.picture)}" alt="" loading="lazy">'
        else:
            image = f'<span class="oc-thumb">{icon(next(n for n in ORDER if n in run.wish.outputs))}</span>'
        current = ' aria-current="true"' if run.number == shown else ""
        title = escape(run.wish.summary())
        entries.append(
            f'<li><button type="button" data-do="restore_run" data-run="{run.number}"{current} '
            f'><span class="oc-unseen">Restore run {run.number}:</span>{image}<span class="oc-title">{title}</span>'
            f"<span class=\"oc-small\">{escape(_listed(run.wish.outputs))}</span></button></li>"
        )
    return (
        '<section class="oc-history" aria-labelledby="oc-history-title"><h2 id="oc-history-title">This visit</h2>'
        f"<p>A click brings back a result and its settings.</p><ul>{''.join(entries)}</ul></section>"
    )


def _figure(run: Run, name: str, index: int, file: Path) -> str:
    address, what = _address(file), NAMES[name]
    numbered = f"{what} {index + 1}" if run.wish.number > 1 else what
    said = escape(run.wish.summary())
    if name == "text":
        words = escape(file.read_text(encoding="utf-8").strip()) or "<i>(no words)</i>"
        media = f'<blockquote class="oc-words">{words}</blockquote>'
    elif name == "image":
        media = f'<img class="oc-picture" src="{address}" alt="Picture made from: {said}">'
    elif name == "video":
        player = f'src="{address}" controls loop playsinline preload="auto" aria-label="The {numbered}"'
        media = f'<video class="oc-clip" {player}></video>'
    else:
        player = f'src="{address}" controls preload="auto" aria-label="The {numbered}"'
        media = f'<div class="oc-wave">{_wave(file)}<audio {player}></audio></div>'
    use = (
        f'<button type="button" class="oc-button" data-do="use_result" data-run="{run.number}" data-modality="{name}" '
        f'data-index="{index}" aria-label="Use as input: the {numbered}">{icon("use")}Use as input</button>'
    )
    save = _download(file, file.name, "Download", f"Download the {numbered}")
    title = f'<figcaption>{icon(name)}{numbered.capitalize()}</figcaption>'
    return f'<figure class="oc-figure oc-{name}">{title}{media}<div class="oc-actions">{use}{save}</div></figure>'


def _export(run: Run) -> str:
    if not {"image", "video"} & set(run.wish.outputs):
        return ""
    buttons = []
    for app, target in TARGETS.items():
        if app in run.packs:
            label = f"{target.title} pack"
            buttons.append(_download(run.packs[app], f"{app}-stickers.zip", label, f"Download the {label}"))
        else:
            buttons.append(
                f'<button type="button" class="oc-button" data-do="export_pack" data-run="{run.number}" data-app="{app}" '
                f'aria-label="Make a sticker pack for {target.title}">{target.title}</button>'
            )
    return (
        f'<div class="oc-export"><span id="oc-export-label">{icon("sticker")}Export as stickers</span>'
        f'<div role="group" aria-labelledby="oc-export-label">{"".join(buttons)}</div></div>'
    )


def _wave(file: Path, bars: int = 72) -> str:
    """The loudness of a sound along time, as a drawing."""
    import numpy as np
    import soundfile

    samples, _ = soundfile.read(file, dtype="float32", always_2d=True)
    parts = np.array_split(np.abs(samples.max(1)), bars)
    heights = np.array([part.max() if len(part) else 0.0 for part in parts])
    heights = heights / max(heights.max(), 1e-6) * 44
    marks = "".join(
        f'<rect x="{4 * place}" y="{24 - height / 2:.1f}" width="2.4" height="{max(height, 1.6):.1f}" rx="1.2"/>'
        for place, height in enumerate(heights)
    )
    return f'<svg viewBox="0 0 {4 * bars} 48" preserveAspectRatio="none" aria-hidden="true">{marks}</svg>'


def _download(file: Path, name: str, label: str, spoken: str | None = None) -> str:
    says = f' aria-label="{escape(spoken)}"' if spoken else ""
    return f'<a class="oc-button" href="{_address(file)}" download="{escape(name)}"{says}>{icon("save")}{escape(label)}</a>'


def _address(file: Path) -> str:
    return f"./gradio_api/file={quote(str(file))}"


def _canvas(picture: object) -> str:
    if picture is None:
        return '<div class="oc-canvas oc-shimmer" aria-hidden="true"></div>'
    return f'<div class="oc-canvas"><img src="{data_address(picture)}" alt="The picture so far"></div>'


def _bar(step: int | None, steps: int | None) -> str:
    if step is None or not steps:
        return '<progress class="oc-bar" aria-label="Progress"></progress>'
    return f'<progress class="oc-bar" aria-label="Progress" max="{steps}" value="{step}"></progress>'


def _queue(before: int) -> str:
    others = '<span class="oc-person"></span>' * min(before, 8)
    return f'<div class="oc-queue" aria-hidden="true">{others}<span class="oc-person oc-you"></span></div>'


def _stage(content: str) -> str:
    return f'<div class="oc-stage">{content}</div>'


def _listed(names: Sequence[str]) -> str:
    words = [f"a {NAMES[name]}" for name in ORDER if name in names]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
