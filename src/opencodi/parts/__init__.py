"""The parts of a model: which there are, loaded when they are first needed, placed, and let go of."""

import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ..errors import ArgumentError
from ..modality import Modality
from .placing import CPU, Placement
from .stored import StoredPart
from .turns import computing, loading


class Parts:
    """The parts of a model by name, in memory or still in their folder.

    Names are not a fixed list: whatever a ``model_index.json`` names with a class is a part. All methods may be called from
    several threads; a part is loaded once.

    Example:
        >>> pipe.parts.config("image_denoiser")["sample_size"]  # nothing is loaded
        >>> pipe.parts.get("image_denoiser")  # loaded now, and kept
        >>> pipe.parts.unload("image_denoiser")
    """

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._stored: dict[str, StoredPart] = {}
        self._loaded: dict[str, Any] = {}
        self._calls = threading.RLock()
        self.placement = Placement()
        self.kept = True
        """Whether parts stay in memory once a call has used them."""

    def __getstate__(self) -> dict[str, Any]:
        """For copies: locks stay behind."""
        return {name: value for name, value in self.__dict__.items() if name != "_calls"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _calls=threading.RLock())

    # ------------------------------------------------------------------ which there are

    @property
    def names(self) -> list[str]:
        """Every name this model knows, those of parts that it does without too."""
        return list(self._names)

    def __contains__(self, name: str) -> bool:
        """Whether this model has that part, in memory or in its folder."""
        return name in self._stored or self._loaded.get(name) is not None

    def loaded(self) -> dict[str, Any]:
        """The parts that are in memory."""
        return dict(self._loaded)

    def set(self, name: str, part: Any) -> None:
        """Give the model a part, a ``StoredPart`` to load when it is needed, or None to do without."""
        with loading():
            before = self._loaded.pop(name, None)
            if isinstance(before, nn.Module):
                self.placement.remove(name, before)
            self._stored.pop(name, None)
            self._names[name] = None
            if isinstance(part, StoredPart):
                self._stored[name] = part
            elif part is not None:
                self._loaded[name] = part
                if isinstance(part, nn.Module) and not self.placement.shared:
                    self.placement.place(name, part)

    # ------------------------------------------------------------------ what they are

    def get(self, name: str) -> Any:
        """A part, loaded and placed if it was not yet; None for one that the model does without.

        Raises:
            KeyError: if no part has that name.
            ConfigurationError: if its files are missing or damaged.
        """
        if name not in self._names:
            raise KeyError(name)
        part = self._loaded.get(name)
        return self._load(name) if part is None and name in self._stored else part

    def config(self, name: str) -> Mapping[str, Any]:
        """The config of a part, without loading it.

        Raises:
            ConfigurationError: if it cannot be read.
        """
        part, stored = self._loaded.get(name), self._stored.get(name)
        return stored.config if part is None and stored is not None else self.get(name).config

    def skeleton(self, name: str) -> Any:
        """A part for its config and shapes: itself if it is in memory, else without weights; None without one.

        Raises:
            ConfigurationError: if its config cannot be read.
        """
        part, stored = self._loaded.get(name), self._stored.get(name)
        return stored.skeleton() if part is None and stored is not None else self.get(name)

    def size(self, name: str) -> int:
        """Bytes of a part's weights in its precision, without loading it."""
        part, stored = self._loaded.get(name), self._stored.get(name)
        if part is None and stored is not None:
            return stored.size
        return sum(p.numel() * p.element_size() for p in part.parameters()) if isinstance(part, nn.Module) else 0

    def handed_on(self) -> dict[str, Any]:
        """Every part as it is, for another pipeline: what is in memory, or where it is stored."""
        return {name: self._loaded.get(name, self._stored.get(name)) for name in self.names}

    def load_all(self) -> dict[str, Any]:
        """Every part by name, None for those that the model does without."""
        return {name: self.get(name) for name in self.names}

    # ------------------------------------------------------------------ letting go

    def unload(self, *names: str) -> None:
        """Take parts out of memory; when next needed they are loaded from the model folder again, as they are there.

        Args:
            names: of parts; without any, all that came from a folder.

        Raises:
            ArgumentError: if a part did not come from a folder.
        """
        for name in names:
            if name not in self._stored:
                raise ArgumentError(
                    f"unload: {name!r} cannot be loaded from a model folder again; set the attribute to None"
                )
        with loading():
            for name in names or list(self._stored):
                self._loaded.pop(name, None)
                self.placement.forget(name)

    def done_with(self, *names: str) -> None:
        """A call needs these no more: with disk offload they leave memory."""
        if not self.kept:
            self.unload(*(name for name in names if name in self._stored))

    @contextmanager
    def whole(self, name: str) -> Iterator[Any]:
        """A part with all its weights in memory, to look at or to save; one that was not in memory leaves it again."""
        with self._loading(name):
            before = name in self._loaded
            part = self.get(name)
            offloaded = isinstance(part, nn.Module) and not self.placement.shared
            if offloaded:
                self.placement.remove(name, part)
            try:
                yield part
            finally:
                if offloaded:
                    self.placement.place(name, part)
                if not before and name in self._stored:
                    self.unload(name)

    # ------------------------------------------------------------------ placing

    def place(self, placement: Placement, dtype: torch.dtype | None = None) -> None:
        """Place every part anew, those in memory now and the others when they are loaded.

        Args:
            placement: how.
            dtype: precision of all parts; None leaves it.
        """
        with loading():
            for name, part in self._networks():
                self.placement.remove(name, part)
                if dtype is not None:
                    part.to(dtype)
            if dtype is not None:
                self._stored = {name: replace(part, dtype=dtype) for name, part in self._stored.items()}
            self.placement = placement
            for name, part in self._networks():
                placement.place(name, part)

    @property
    def device(self) -> torch.device:
        """Where parts are, or will be: an accelerator if one is there, as diffusers answers."""
        devices = [part.device for _, part in self._networks()]
        devices = [device for device in devices if device.type != "meta"]
        if not self.placement.shared:
            return next((device for device in devices if device.type != "cpu"), CPU)
        return next((device for device in devices if device.type != "cpu"), (*devices, self.placement.device)[0])

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the first network in alphabetical order, loaded or not, as diffusers answers."""
        for name in sorted(self._names):
            part, stored = self._loaded.get(name), self._stored.get(name)
            if isinstance(part, nn.Module):
                return part.dtype
            if part is None and stored is not None and stored.is_network:
                return stored.dtype
        return torch.float32

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Around a call. Calls run side by side, but one at a time where parts are offloaded: hooks serve one call."""
        turn = nullcontext() if self.placement.shared and self.kept else self._calls
        with turn, computing():
            try:
                yield
            finally:
                self.placement.after_call()

    # ------------------------------------------------------------------ inside

    def _loading(self, name: str) -> Any:
        stored = self._stored.get(name)
        return loading(stored.dtype) if stored is not None and self._loaded.get(name) is None else loading()

    def _networks(self) -> list[tuple[str, nn.Module]]:
        return [(name, part) for name, part in self.loaded().items() if isinstance(part, nn.Module)]

    def _load(self, name: str) -> Any:
        with self._loading(name):
            if (part := self._loaded.get(name)) is None and name in self._stored:
                part = self._stored[name].load()
                if isinstance(part, nn.Module):
                    self.placement.place(name, part)
                self._loaded[name] = part
            return part


class PartsByModality(Mapping):
    """Modality → part, for the parts a model has; looking one up loads it."""

    def __init__(self, parts: Parts, names: Mapping[Modality, str]):
        self._parts = parts
        self._names = {modality: name for modality, name in names.items() if name in parts}

    def __getitem__(self, modality: Modality) -> Any:
        return self._parts.get(self._names[modality])

    def __iter__(self) -> Iterator[Modality]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class PartAttribute:
    """``pipe.image_denoiser`` for ``pipe.parts.get("image_denoiser")``; assigned to, the part is replaced."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, pipeline: Any, owner: type | None = None) -> Any:
        if pipeline is None:
            return self
        try:
            return pipeline.parts.get(self._name)
        except KeyError:
            raise AttributeError(f"this model has no part {self._name!r}") from None

    def __set__(self, pipeline: Any, value: Any) -> None:
        pipeline.register_modules(**{self._name: value})


def one_at_a_time_if_needed(call: Callable) -> Callable:
    """Decorates a pipeline's call, see ``Parts.in_use``."""

    @functools.wraps(call)
    def guarded(pipeline: Any, *args: Any, **kwargs: Any) -> Any:
        with pipeline.parts.in_use():
            return call(pipeline, *args, **kwargs)

    return guarded
