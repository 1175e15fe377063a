"""The tab that says where a file comes from."""

from html import escape
from pathlib import Path

import gradio as gr

from ..errors import OpenCoDiError
from ..trust import Verification, verify

_ABOUT = (
    '<div class="oc-check"><h2>Where does a file come from?</h2><p>Its credentials say who made it, and whether it has changed '
    "since. They are easily removed: a file without any may be real or made.</p></div>"
)


def checking() -> None:
    """Put the tab's components on the page that is being built."""
    with gr.Row(elem_id="oc-check-columns", equal_height=False):
        with gr.Column(scale=5, min_width=320):
            file = gr.File(label="File", elem_id="oc-check-file", height=140)
            sidecar = gr.File(label="Credentials beside it (.c2pa), for texts", elem_id="oc-check-sidecar", height=140)
        with gr.Column(scale=8, min_width=320):
            said = gr.HTML(_ABOUT, padding=False, elem_id="oc-check-result")
    quick = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 2}
    gr.on([file.change, sidecar.change], _check, [file, sidecar], said, **quick)


def _check(file: str | None, sidecar: str | None) -> str:
    if not file:
        return _ABOUT
    try:
        return report(verify(file, sidecar=sidecar))
    except OpenCoDiError as error:
        said = str(error)
        for path in filter(None, (file, sidecar)):
            said = said.replace(str(path), Path(path).name)
        return f'<div class="oc-check" role="alert"><h2>That did not work</h2><p>{escape(said)}</p></div>'


def report(verification: Verification) -> str:
    """A verification as HTML; what files say is escaped."""
    found, mark = verification.credentials, verification.watermark
    rows = [("File", verification.file)]
    if found is None:
        rows.append(("Credentials", "none"))
    else:
        rows.append(("Credentials", f"{found.integrity}, {found.where}"))
        if found.signer.get("name"):
            rows.append(("Signer", f"{found.signer['name']}; authority: {found.signer.get('authority', 'not named')}"))
        if found.generator:
            rows.append(("Program", found.generator))
    marked = (
        f"found, p = {mark.p_value}" if mark.found else "not found" if mark.checked else f"not checked: {mark.reason}"
    )
    rows.append(("Watermark", marked))
    facts = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    title = f"<h2>{escape(verification.verdict.value.capitalize())}</h2><p>{escape(verification.sentence)}</p>"
    return f'<div class="oc-check"><div role="status">{title}</div><dl>{facts}</dl></div>'
