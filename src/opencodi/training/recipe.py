"""Recipes: one YAML per training run, checked before anything is loaded; unknown keys are refused."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError

from ..errors import ConfigurationError

Count = Annotated[StrictInt, Field(ge=1)]
"""A whole number, at least 1."""


class Values(BaseModel):
    """Base of everything that a recipe says: unknown keys are refused, values cannot be changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Kind = TypeVar("Kind", bound=Values)


class Recipe(Values):
    """What a run does.

    Attributes:
        task: name of the task, see ``opencodi.training.tasks.TASKS``.
        collection: which collection the data is from, see ``opencodi.collections``.
        model_folder: where earlier components are read from and the trained one is written to.
        base_model: an installed model or a model folder that has what ``model_folder`` lacks, to fine-tune or to add to; it
            stays as it is. Empty: none.
        reads: components of earlier stages that the run needs; they must be in the model folder.
        writes: components that the run makes or replaces.
        data: which of the collection's data the task is given; checked by the collection.
        settings: the task's own values (network widths, loss weights); checked by the task.
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
    collection: str = "stickers"
    model_folder: str
    base_model: str = ""
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...]
    data: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any]
    initial_weights: str = ""
    fresh_weights: tuple[str, ...] = ()
    seed: Annotated[StrictInt, Field(ge=0)] = 0
    steps: Count = 10_000
    batch_size: Count = 64
    gradient_accumulation_steps: Count = 1
    learning_rate: Annotated[float, Field(gt=0)] = 3e-4
    learning_rate_schedule: str = "cosine"
    warmup_steps: Annotated[StrictInt, Field(ge=0)] = 200
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    adam_betas: tuple[float, float] = (0.9, 0.99)
    max_gradient_norm: Annotated[float, Field(gt=0)] = 1.0
    ema_decay: Annotated[float, Field(ge=0, le=1)] = 0.999
    mixed_precision: str = "auto"
    report_every: Count = 20
    validate_every: Count = 1000
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 5.0


REPORTING = {"model_folder", "report_every", "validate_every", "checkpoint_minutes"}
"""Keys of a recipe that change nothing of what is learned."""


def changes_since(stored: Mapping[str, Any], recipe: Recipe) -> list[str]:
    """What a recipe says otherwise than ``stored``, the values of a run: "seed is 1 and was 0" for each.

    Keys that only say where the model is and what is reported are left out. What ``stored`` does not have had its default.
    """
    defaults = {name: field.default for name, field in Recipe.model_fields.items() if not field.is_required()}
    now = _flat(recipe.model_dump(mode="json", exclude=REPORTING))
    before = _flat({key: value for key, value in {**defaults, **stored}.items() if key in Recipe.model_fields})
    return [
        f"{key} is {now.get(key, 'missing')} and was {before.get(key, 'missing')}"
        for key in dict.fromkeys([*now, *before])
        if key.partition(".")[0] not in REPORTING and now.get(key) != before.get(key)
    ]


def comparable(stored: Mapping[str, Any], recipe: Recipe) -> bool:
    """Whether measures of a run with the values ``stored`` mean the same as those of ``recipe``: same data and settings."""
    now = recipe.model_dump(mode="json")
    return all(stored.get(key) == now[key] for key in ("task", "collection", "data", "settings"))


def _flat(values: Any, name: str = "") -> dict[str, Any]:
    """{name with dots: value}, as JSON would have it."""
    if isinstance(values, Mapping) and (values or not name):
        return dict(_flat_items(values, name))
    return {name: list(values) if isinstance(values, tuple) else values}


def _flat_items(values: Mapping[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        yield from _flat(value, f"{name}.{key}" if name else str(key)).items()


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
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{path} is not a YAML file, correct it: {str(error).splitlines()[0]}") from error
    return checked(Recipe, values, str(path))


def checked(kind: type[Kind], values: Any, where: str) -> Kind:
    """Build ``kind`` from YAML values; a message says ``where`` they stand, and the key.

    Raises:
        ConfigurationError: for an unknown key (the nearest known one is suggested), a missing one, or a wrong value.
    """
    if not isinstance(values, dict):
        raise ConfigurationError(f"{where}: expected 'key: value' lines, found {type(values).__name__}; correct it")
    try:
        return kind(**{str(key): value for key, value in values.items()})
    except ValidationError as error:
        raise ConfigurationError(f"{where}: {_sentence(kind, error)}") from error


def _sentence(kind: type[Values], error: ValidationError) -> str:
    """What is wrong first: keys that are unknown, then keys that are missing, then values."""
    found = error.errors(include_url=False)
    unknown = [str(each["loc"][0]) for each in found if each["type"] == "extra_forbidden"]
    missing = [str(each["loc"][0]) for each in found if each["type"] == "missing"]
    if unknown:
        near = get_close_matches(unknown[0], kind.model_fields, n=1)
        known = ", ".join(kind.model_fields) or "none"
        hint = f"did you mean {near[0]!r}?" if near else f"known are: {known}"
        return f"unknown key {unknown[0]!r}; {hint}"
    if missing:
        return f"{', '.join(missing)} missing; add {'it' if len(missing) == 1 else 'them'}"
    first = found[0]
    key = ".".join(map(str, first["loc"])) or "values"
    reason = str(first["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return f"{key}: {first['input']!r} {reason}; correct it"
