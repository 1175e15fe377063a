"""Gradio's inputs without what it does to files: ours are read by ``opencodi.media``, which says what is wrong."""

from typing import Any

import gradio as gr


def picture_input(**options: Any) -> gr.Image:
    """Upload, paste or webcam → the path of the file."""
    return _untouched(gr.Image(sources=["upload", "clipboard", "webcam"], type="filepath", **options))


def clip_input(**options: Any) -> gr.Video:
    """Upload or webcam → the path of the file."""
    return _untouched(gr.Video(sources=["upload", "webcam"], include_audio=True, **options))


def sound_input(**options: Any) -> gr.Audio:
    """Upload or microphone → the path of the file."""
    return _untouched(gr.Audio(sources=["upload", "microphone"], type="filepath", **options))


def _untouched(component: Any) -> Any:
    """The component with its file handed on as it came: Gradio would decode and rewrite it first, and fail without a reason.

    Set on the object, since the browser takes a subclass for a component of somebody else's that it has to fetch.
    """
    component.preprocess = lambda payload: getattr(payload, "video", payload).path if payload else None
    return component
