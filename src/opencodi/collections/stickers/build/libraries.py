"""Libraries that only the making of the collection needs: the extra ``opencodi[data]``."""

import importlib
from importlib import metadata
from types import ModuleType

from ....errors import CollectionError


def require(module: str, purpose: str) -> ModuleType:
    """Import a library of the extra.

    Raises:
        CollectionError: if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise CollectionError(f"{purpose} needs {module.partition('.')[0]}: pip install 'opencodi[data]'") from error


def version(distribution: str) -> str:
    """``pillow 12.3.0``; results can change with it, so it is part of what a shard is made from."""
    return f"{distribution} {metadata.version(distribution)}"
