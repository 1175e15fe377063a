"""Recipes: one YAML per training run, every default written out, unknown keys refused."""

import dataclasses
import typing
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigurationError


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a run does. The values under ``settings`` belong to the task and are checked by it.

    Attributes:
        task: name of the task, a key of ``opencodi.training.tasks.TASKS``.
        model_folder: where earlier components are read from and the trained one is written to.
        settings: the task's own values (network widths, loss weights, shards).
        initial_weights: a model folder whose components the run starts from instead of random weights; empty: none.
        fresh_weights: beginnings of the names of those that stay random nevertheless, such as layers of another width.
        seed: of initial weights, data order, augmentation and noise.
        steps: optimiser steps of the whole run.
        batch_size: items per forward pass.
        gradient_accumulation_steps: forward passes per optimiser step.
        learning_rate: peak, for AdamW.
        learning_rate_schedule: a name known to ``diffusers.optimization.get_scheduler``.
        warmup_steps: optimiser steps from zero to the peak.
        weight_decay: of AdamW.
        adam_betas: of AdamW.
        max_gradient_norm: gradients are clipped to this norm.
        ema_decay: of the averaged weights, which are validated and shipped.
        mixed_precision: ``auto`` (bf16 where the device multiplies it fast), ``no``, ``bf16`` or ``fp16``.
        report_every: steps between log lines.
        validate_every: steps between validations and sample pictures.
        checkpoint_minutes: minutes between checkpoints.
    """

    task: str
    model_folder: str
    settings: dict[str, Any]
    initial_weights: str = ""
    fresh_weights: tuple[str, ...] = ()
    seed: int = 0
    steps: int = 10_000
    batch_size: int = 64
    gradient_accumulation_steps: int = 1
    learning_rate: float = 3e-4
    learning_rate_schedule: str = "cosine"
    warmup_steps: int = 200
    weight_decay: float = 0.01
    adam_betas: tuple[float, float] = (0.9, 0.99)
    max_gradient_norm: float = 1.0
    ema_decay: float = 0.999
    mixed_precision: str = "auto"
    report_every: int = 20
    validate_every: int = 1000
    checkpoint_minutes: float = 5.0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "gradient_accumulation_steps", "report_every", "validate_every"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name}: {getattr(self, name)} is not a positive number; give one")
        if not self.learning_rate > 0:
            raise ConfigurationError(f"learning_rate: {self.learning_rate} is not a positive number; give one")


def from_mapping(kind: type, values: dict[str, Any], where: str) -> Any:
    """Build the dataclass ``kind`` from YAML values; the message names ``where`` they stand.

    Raises:
        ConfigurationError: for an unknown key (the nearest known one is suggested), a missing one, or a wrong type.
    """
    if not isinstance(values, dict):
        raise ConfigurationError(f"{where}: expected 'key: value' lines, found {type(values).__name__}")
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in values:
        if key not in fields:
            near = get_close_matches(str(key), fields, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(fields)}"
            raise ConfigurationError(f"{where}: unknown key {key!r}{hint}")
    required = [
        n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING and n not in values
    ]
    if required:
        raise ConfigurationError(f"{where}: {', '.join(required)} missing; add them")
    return kind(**{key: _checked(value, hints[key], f"{where}: {key}") for key, value in values.items()})


def _checked(value: Any, hint: Any, where: str) -> Any:
    origin = typing.get_origin(hint) or hint
    if origin is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 3e-4 as a string
        except ValueError as error:
            raise ConfigurationError(f"{where} is {value!r}, expected a number") from error
    if origin in (int, str, bool) and type(value) is not origin:
        raise ConfigurationError(f"{where} is {value!r}, expected {origin.__name__}")
    if origin in (tuple, list):
        if not isinstance(value, list | tuple):
            raise ConfigurationError(f"{where} is {value!r}, expected a list")
        return origin(value)
    if origin is dict and not isinstance(value, dict):
        raise ConfigurationError(f"{where} is {value!r}, expected 'key: value' lines")
    return value


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe.

    Raises:
        ConfigurationError: if the file is missing, is not YAML, or holds an unknown, missing or wrongly typed key.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigurationError(f"{path}: no such recipe; recipes/stickers has one for every stage")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not a YAML file, correct it: {str(error).splitlines()[0]}") from error
    return from_mapping(Recipe, values, str(path))
