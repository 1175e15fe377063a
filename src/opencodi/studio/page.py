"""The page: one column of inputs, one of results."""

from collections.abc import Callable, Iterator
from pathlib import Path
from time import sleep
from typing import Any

import gradio as gr

from ..errors import OpenCoDiError
from ..models import installed
from ..trust import Credentials, prepare
from ..trust.keys import watermark_key
from . import render
from .checking import checking
from .examples import EXAMPLES, Example
from .inputs import clip_input, picture_input, sound_input
from .jobs import Job
from .theme import THEME
from .visits import Run, Visit, Visits, write_zip
from .wish import FILES, MAX_NUMBER, NAMES, Wish, read_file, read_wish
from .work import Done, Studio, takes_partner_guidance

_HERE = Path(__file__).parent
_BUTTONS = """
element.addEventListener('click', event => {
  const button = event.target.closest('[data-do]');
  if (button) trigger(button.dataset.do, {...button.dataset});
});
// The events of these buttons: 'use_result', 'restore_run', 'export_pack'
"""
_UPLOADS_KEPT = (3600, 24 * 3600)
"""Seconds between two looks for old uploads, and at what age they go; all go when the server stops."""
_HINTS = {
    "image": "Picture · upload, paste or webcam",
    "video": "Clip · upload or webcam",
    "audio": "Sound · upload or microphone",
}
_NAMED_AS_SEEN = """() => {
  // Gradio names its upload areas otherwise than they read, so that who speaks to the page cannot name what is seen there.
  const areas = () => document.querySelectorAll('.upload-container[aria-label]');
  const tidy = () => areas().forEach(area => area.removeAttribute('aria-label'));
  new MutationObserver(tidy).observe(document.body, {childList: true, subtree: true});
  tidy();
}"""
_TO_RESULTS = """() => {
  const results = document.querySelector('#oc-results');
  const {top} = results.getBoundingClientRect();
  if (top < 0 || top > innerHeight / 2) results.scrollIntoView({behavior: 'smooth'});
}"""
_TO_INPUTS = "() => { document.querySelector('#oc-inputs').scrollIntoView({behavior: 'smooth', block: 'start'}); }"



class Page:
    """The components of one page and what they do. Made once; every visitor gets the same page."""

    def __init__(self, studio: Studio, visits: Visits, model: str) -> None:
        self.studio, self.visits = studio, visits
        self.fields: dict[str, Any] = {}
        options = {"analytics_enabled": False, "fill_width": True, "delete_cache": _UPLOADS_KEPT}
        with gr.Blocks(title="OpenCoDi Studio", **options) as self.blocks:
            gr.HTML(render.header(), elem_id="oc-header")
            with gr.Tabs(elem_id="oc-tabs"):
                with gr.Tab("Make"), gr.Row(elem_id="oc-columns", equal_height=False):
                    with gr.Column(scale=5, min_width=320, elem_id="oc-inputs"):
                        self._inputs()
                        self._wanted(model)
                        self._examples()
                    with gr.Column(scale=8, min_width=320, elem_id="oc-results"):
                        self.stage = gr.HTML(render.empty(), elem_id="oc-stage", js_on_load=_BUTTONS)
                        self.history = gr.HTML("", elem_id="oc-history", js_on_load=_BUTTONS)
                with gr.Tab("Check"):
                    checking()
            self._listen()

    # What is on the page

    def _inputs(self) -> None:
        gr.HTML('<h2 class="oc-label">From</h2>')
        self.fields["text"] = gr.Textbox(
            label="Words",
            placeholder="a rooster, bouncing   (Shift + Enter generates)",
            lines=2,
            max_lines=5,
            max_length=1000,
            elem_id="oc-text",
        )
        self.fields["text_weight"] = self._weight("words")
        self.panels = {}
        with gr.Group(elem_id="oc-media"):
            for name, component in (("image", picture_input), ("video", clip_input), ("audio", sound_input)):
                title = NAMES[name].capitalize()
                panel = gr.Accordion(_HINTS[name], open=False, elem_id=f"oc-panel-{name}", elem_classes="oc-panel")
                self.panels[name] = panel
                with panel:
                    self.fields[name] = component(label=title, show_label=False, buttons=[], elem_id=f"oc-{name}")
                    self.fields[f"{name}_weight"] = self._weight(NAMES[name])
        self.note = gr.HTML("", elem_id="oc-note")

    def _weight(self, of: str) -> gr.Slider:
        label = f"Weight of the {of}"
        return gr.Slider(0, 2, value=1, step=0.05, label=label, visible=False, elem_classes="oc-weight")

    def _wanted(self, model: str) -> None:
        choices = [(NAMES[name].capitalize(), name) for name in render.ORDER]
        self.fields["outputs"] = gr.CheckboxGroup(choices, value=["image"], label="To", elem_id="oc-to")
        with gr.Row(elem_id="oc-go"):
            self.generate = gr.Button("Generate", variant="primary", elem_id="oc-generate", scale=3)
            self.cancel = gr.Button("Cancel", variant="stop", elem_id="oc-cancel", scale=1, visible=False)
        with gr.Accordion("More", open=False, elem_id="oc-more", elem_classes="oc-panel"):
            self.fields["negative"] = gr.Textbox(label="Steer away from", placeholder="nothing", max_length=1000, lines=1)
            with gr.Row():
                self.fields["steps"] = self._number("Steps", "the model's own")
                self.fields["guidance"] = self._number("Guidance", "the model's own")
                self.fields["partner_guidance"] = self._number(
                    "Partner guidance", "the model's own", visible=takes_partner_guidance()
                )
            with gr.Row():
                self.fields["seed"] = self._number("Seed", "a new one each time")
                self.fields["number"] = gr.Slider(1, MAX_NUMBER, value=1, step=1, label="Results", min_width=120)
            models = list(installed())
            models += [] if model in models else [model]
            self.fields["model"] = gr.Dropdown(models, value=model, label="Model", interactive=True)

    def _number(self, label: str, placeholder: str, **options: Any) -> gr.Textbox:
        """A number that may be left out; Gradio's own field for numbers turns an empty one into 0."""
        return gr.Textbox(label=label, placeholder=placeholder, min_width=120, lines=1, max_lines=1, max_length=20, **options)

    def _examples(self) -> None:
        gr.HTML('<h2 class="oc-label">Try</h2>')
        with gr.Row(elem_id="oc-examples"):
            self.examples = [gr.Button(example.title, size="sm", min_width=80) for example in EXAMPLES]

    # What it does

    def _listen(self) -> None:
        fields, work = list(self.fields.values()), [self.stage, self.history, self.generate, self.cancel]
        files = [self.fields[name] for name in FILES]
        gr.on(
            [self.generate.click, self.fields["text"].submit],
            self._generate,
            fields,
            work,
            concurrency_limit=32,  # they wait in our own line, which says how long it is
            show_progress="hidden",
            trigger_mode="once",
            api_visibility="private",
        )
        self.generate.click(None, js=_TO_RESULTS)
        quick = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        self.cancel.click(self._cancel, None, None, **quick)
        sliders = [self.fields[f"{name}_weight"] for name in ("text", *FILES)]
        shown = [*sliders, *self.panels.values()]
        for name in FILES:
            self.fields[name].change(
                lambda path, name=name: self._check_file(name, path), self.fields[name], [self.fields[name], self.note], **quick
            ).then(self._in_use, [self.fields["text"], *files], shown, **quick)
        self.fields["text"].blur(self._in_use, [self.fields["text"], *files], shown, **quick)
        everything = [*fields, *self.panels.values()]
        for button, example in zip(self.examples, EXAMPLES):
            button.click(lambda example=example: self._fill(_wish_of(example)), None, everything, **quick).then(
                self._in_use, [self.fields["text"], *files], shown, **quick
            )
        self.history.restore_run(self._restore, None, [self.stage, self.history, *everything], **quick).then(
            self._in_use, [self.fields["text"], *files], shown, **quick
        )
        self.stage.use_result(
            self._use, None, [self.fields["text"], *files, *self.panels.values()], js=_TO_INPUTS, **quick
        ).then(self._in_use, [self.fields["text"], *files], shown, **quick)
        self.stage.export_pack(self._export, None, [self.stage], show_progress="hidden", api_visibility="private")
        self.blocks.unload(self._leave)

    def _generate(self, request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        idle = gr.update(value="Generate", interactive=True), gr.update(visible=False)
        visit = self._visit(request)
        try:
            wish, folder = visit.keep_inputs(read_wish(dict(zip(self.fields, values))))
        except (OpenCoDiError, OSError) as error:
            yield render.problem(str(error)), gr.skip(), *idle
            return
        if visit.job:
            visit.job.cancel()  # one run at a time for each page
        visit.job = job = Job()
        try:
            yield render.starting(wish), gr.skip(), gr.update(value="Working …", interactive=False), gr.update(visible=True)
            picture = None
            for latest in self.studio.work(job, wish, folder):
                if isinstance(latest, Done):
                    run = visit.add(wish, latest.files, latest.seconds)
                    yield render.results(run), render.history(visit.runs, run.number), *idle
                else:
                    picture = getattr(latest, "picture", None) or picture
                    yield render.news(latest, wish, picture), gr.skip(), gr.skip(), gr.skip()
            if not isinstance(latest, Done):
                yield gr.skip(), gr.skip(), *idle
        finally:
            job.cancel()  # if the visitor has gone

    def _cancel(self, request: gr.Request) -> None:
        job = self._visit(request).job
        if job:
            job.cancel()

    def _check_file(self, name: str, path: str | None) -> tuple[Any, str]:
        """A file that cannot be read is taken out again, and one sentence says why."""
        if not path:
            return gr.skip(), gr.skip()
        try:
            read_file(name, path)
        except OpenCoDiError as error:
            return None, f'<p role="alert" class="oc-alert">{render.escape(str(error))}</p>'
        return gr.skip(), ""

    def _in_use(self, text: str, *paths: str | None) -> list[Any]:
        """Sliders of the inputs that are there, and titles that say so."""
        used = [bool(path) for path in paths]
        weights = [gr.update(visible=bool(text and text.strip()) and any(used)), *(gr.update(visible=each) for each in used)]
        titles = [f"{NAMES[name].capitalize()} · in use" if each else _HINTS[name] for name, each in zip(FILES, used)]
        return [*weights, *(gr.update(label=title) for title in titles)]

    def _fill(self, wish: Wish, seed: bool = False) -> list[Any]:
        """The form as a wish has it, with the panels of its files open."""
        values = {
            "text": wish.text,
            **{name: wish.files.get(name) for name in FILES},
            **{f"{name}_weight": wish.weights.get(name, 1.0) for name in ("text", *FILES)},
            "outputs": list(wish.outputs),
            "negative": wish.negative,
            "steps": _written(wish.steps),
            "guidance": _written(wish.guidance),
            "partner_guidance": _written(wish.partner_guidance),
            "seed": _written(wish.seed if seed else None),
            "number": wish.number,
            "model": wish.model if wish.model else gr.skip(),
        }
        panels = [gr.update(open=name in wish.files) for name in FILES]
        return [*(values[name] for name in self.fields), *panels]

    def _restore(self, event: gr.EventData, request: gr.Request) -> list[Any]:
        visit = self._visit(request)
        run = self._run(visit, event)
        if run is None:
            return [gr.skip()] * (2 + len(self.fields) + len(self.panels))
        return [render.results(run), render.history(visit.runs, run.number), *self._fill(run.wish, seed=True)]

    def _use(self, event: gr.EventData, request: gr.Request) -> list[Any]:
        """A result becomes the input of its modality; other inputs stay."""
        run, name = self._run(self._visit(request), event), str(event._data.get("modality"))
        index = str(event._data.get("index", ""))
        file = run.file(name, int(index)) if run and index.isdecimal() else None
        text: Any = gr.skip()
        values, panels = [gr.skip()] * len(FILES), [gr.skip()] * len(FILES)
        if file and name == "text":
            text = file.read_text(encoding="utf-8").strip()
        elif file and name in FILES:
            values[FILES.index(name)] = str(file)
            panels[FILES.index(name)] = gr.update(open=True)
        return [text, *values, *panels]

    def _export(self, event: gr.EventData, request: gr.Request) -> Any:
        """A run as a sticker pack, zipped; the button becomes a download."""
        from ..export import TARGETS, export_packs, find_stickers

        run, app = self._run(self._visit(request), event), str(event._data.get("app"))
        if run is None or app not in TARGETS:
            return gr.skip()
        folder = run.folder.parent / "packs" / app
        try:
            title, credentials = run.wish.summary()[:60], self.studio.credentials
            packs = export_packs(find_stickers(run.folder), TARGETS[app], folder / app, title, credentials=credentials)
        except OpenCoDiError as error:
            raise gr.Error(str(error), print_exception=False) from error
        run.packs[app] = write_zip(run.folder.parent / f"{app}-stickers.zip", folder)
        for pack in packs:
            if pack.note:
                gr.Info(pack.note.replace(str(pack.folder), "this one"))
        return render.results(run)

    def _leave(self, request: gr.Request) -> None:
        self.visits.end(str(request.session_hash))

    def _visit(self, request: gr.Request) -> Visit:
        return self.visits.of(str(request.session_hash))

    @staticmethod
    def _run(visit: Visit, event: gr.EventData) -> Run | None:
        number = str(event._data.get("run", ""))
        return visit.run(int(number)) if number.isdecimal() else None


def _wish_of(example: Example) -> Wish:
    return Wish(text=example.text, files=dict(example.files), weights=dict(example.weights), outputs=example.outputs, model="")


def _written(number: float | None) -> str:
    return "" if number is None else f"{number:g}" if isinstance(number, float) else str(number)


def build(studio: Studio, visits: Visits, model: str = "stickers") -> gr.Blocks:
    """The page, not yet served."""
    return Page(studio, visits, model).blocks


def launch(
    model: str = "stickers",
    device: str | None = None,
    host: str = "127.0.0.1",
    port: int | None = None,
    open_browser: bool = False,
    credentials: Credentials | None = None,
    watermark: bool = False,
) -> tuple[str, Callable[..., None]]:
    """Serve the studio in the background.

    Nothing is fetched from another machine, and nothing is sent to one. ``credentials`` signs results, by default
    with the key of this installation.

    Returns:
        Its address, and a function that waits until the program is interrupted and then stops it; with ``now=True`` it
        stops at once.

    Raises:
        ConfigurationError: if there is no such model.
        ArgumentError: if there is no such device.
        OSError: if the port is taken, or the address is not one of this machine.
    """
    from ..device import pick_device
    from ..models import resolve

    resolve(model)
    pick_device(device)
    if watermark:
        watermark_key()  # now, in case it cannot be used
    visits = Visits()
    blocks = build(Studio(device, credentials or prepare(), watermark), visits, model)
    blocks.queue(default_concurrency_limit=8)
    try:
        _, address, _ = blocks.launch(
            server_name=host,
            server_port=port,
            inbrowser=open_browser,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            show_error=False,
            footer_links=[],
            allowed_paths=[str(visits.root), str(_HERE / "examples")],
            max_file_size="256mb",
            ssr_mode=False,
            enable_monitoring=False,
            theme=THEME,
            css_paths=[_HERE / "style.css"],
            js=_NAMED_AS_SEEN,
        )
    except BaseException:
        visits.close()
        raise

    def wait(now: bool = False) -> None:
        try:
            while not now:
                sleep(1)
        except KeyboardInterrupt:
            pass
        finally:
            blocks.close(verbose=False)
            visits.close()

    return address, wait
