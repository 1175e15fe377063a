"""Gradio's inputs without what it does to files: ours are read by ``opencodi.media``, which says what is wrong."""

from typing import Any

import gradio as gr

from gradio.events import Dependency

class PictureInput(gr.Image):
    """Upload, paste or webcam → the path of the file."""

    def preprocess(self, payload: Any) -> str | None:
        """The file as it came."""
        return payload.path if payload else None
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


class ClipInput(gr.Video):
    """Upload or webcam → the path of the file."""

    def preprocess(self, payload: Any) -> str | None:
        """The file as it came."""
        return getattr(payload, "video", payload).path if payload else None
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component


class SoundInput(gr.Audio):
    """Upload or microphone → the path of the file."""

    def preprocess(self, payload: Any) -> str | None:
        """The file as it came."""
        return payload.path if payload else None
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component