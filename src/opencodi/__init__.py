"""OpenCoDi: composable diffusion from any combination of text, image, video and audio to any combination of them.

The names below are imported when first used, so that ``import opencodi`` (and ``opencodi --help``) loads no torch.
"""

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself takes a tenth of the time that ``opencodi --help`` does
    from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "AnyToAnyPipeline": "opencodi.pipeline",
    "AnyToAnyOutput": "opencodi.pipeline",
    "Audio": "opencodi.media",
    "Video": "opencodi.media",
    "Modality": "opencodi.modality",
    "OpenCoDiError": "opencodi.errors",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> "Any":
    """Import a public name from the room it lives in, on first use."""
    if name not in _WHERE:
        raise AttributeError(f"module 'opencodi' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
