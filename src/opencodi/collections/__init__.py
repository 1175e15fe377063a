"""Collections of training data and all that is known about them. Nothing below this package knows any collection."""

from difflib import get_close_matches
from importlib import import_module
from types import ModuleType

from ..errors import ConfigurationError

COLLECTIONS = {"stickers": "stickers.training_data", "own": "own.training_data"}
"""{what a recipe calls a collection: the module that says what its tasks are given}."""

_ADDED: dict[str, ModuleType] = {}


def add_collection(name: str, module: ModuleType) -> None:
    """Make a module of your own known to recipes by this name; see ``find_collection`` for what it must have."""
    _ADDED[name] = module


def find_collection(name: str) -> ModuleType:
    """The module of a recipe's ``collection`` value: ``DATA`` says what each task is given, ``TASKS`` names tasks of its own,
    and ``find_data`` finds its folder.

    Raises:
        ConfigurationError: if there is none of that name.
    """
    if name in _ADDED:
        return _ADDED[name]
    if name not in COLLECTIONS:
        near = get_close_matches(name, COLLECTIONS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(COLLECTIONS)}"
        raise ConfigurationError(f"collection: unknown collection {name!r}; {hint}")
    return import_module(f".{COLLECTIONS[name]}", __package__)
