"""The studio: a page in the browser for all that the pipeline can do."""

from .page import build, launch

__all__ = ["build", "launch"]
