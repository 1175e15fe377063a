"""What a user asks of the pipeline, checked once at the door and put into one shape. Imports no torch."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

from .errors import ArgumentError
from .modality import MODALITIES, Modality

T = TypeVar("T")

Inputs = dict[Modality, list[list[Any]]]
"""Conditions per modality; each condition is a list with one item per prompt, or a single item for all prompts."""


def collect_inputs(given: Mapping[Modality, Any]) -> tuple[Inputs, int]:
    """Sort what was passed per modality into conditions, and count the prompts.

    An item is one prompt; a *list* of items is a batch of prompts; a *tuple* of items is several conditions of that
    modality for one prompt. So ``image=(a, b)`` mixes two pictures, ``image=[a, b]`` makes two results, and
    ``image=[(a, b), (c, d)]`` makes two results of two pictures each. Single items serve every prompt of the batch.

    Returns:
        The conditions, in the order of the modalities, and the number of prompts (1 without any input).

    Raises:
        ArgumentError: if an item is of the wrong type, a list or tuple is empty, or the lengths disagree.
    """
    inputs: Inputs = {}
    batch_sizes: dict[str, int] = {}
    for modality in MODALITIES:
        value = given.get(modality)
        if value is None:
            continue
        if isinstance(value, list):
            batch_sizes[modality] = len(value)
        prompts = [
            list(item) if isinstance(item, tuple) else [item]
            for item in (value if isinstance(value, list) else [value])
        ]
        if not prompts or not all(prompts):
            raise ArgumentError(f"{modality}: the list is empty; leave the argument out instead")
        if len({len(prompt) for prompt in prompts}) > 1:
            raise ArgumentError(f"{modality}: every prompt of a batch needs the same number of conditions")
        media_type = MODALITIES[modality].media_type()
        for item in (item for prompt in prompts for item in prompt):
            if not isinstance(item, media_type):
                raise ArgumentError(
                    f"{modality}: expected {media_type.__name__} items, got {type(item).__name__}; "
                    "opencodi.media reads files"
                )
        inputs[modality] = [list(condition) for condition in zip(*prompts)]
    if len(set(batch_sizes.values())) > 1:
        sizes = ", ".join(f"{name} {size}" for name, size in batch_sizes.items())
        raise ArgumentError(f"inputs: the lists differ in length ({sizes}); give as many prompts in each, or one item")
    return inputs, next(iter(batch_sizes.values()), 1)


def collect_weights(weights: Mapping[str, float | Sequence[float]] | None, inputs: Inputs) -> list[float]:
    """One weight per condition, in the order of ``inputs``; they need not add up to one.

    A number is the weight of its modality, shared equally among its conditions; a sequence weighs each of them. A
    modality that is not named weighs 1.

    Raises:
        ArgumentError: if a key is unknown or has no input, a sequence has the wrong length, a weight is negative or not
            finite, or all are zero.
    """
    weights = dict(weights or {})
    check_keys("weights", weights, inputs, "which is not among the inputs")
    flat: list[float] = []
    for modality, conditions in inputs.items():
        weight = weights.get(modality, 1.0)
        if isinstance(weight, Sequence) and not isinstance(weight, str):
            shares = [finite_number(f"weights: {modality}", share) for share in weight]
        else:
            shares = [finite_number(f"weights: {modality}", weight) / len(conditions)] * len(conditions)
        if len(shares) != len(conditions):
            raise ArgumentError(
                f"weights: {modality} has {len(conditions)} conditions but {len(shares)} weights; give one for each"
            )
        flat += shares
    if any(share < 0 for share in flat):
        raise ArgumentError("weights: none may be negative; use negative_prompt to steer away from something")
    if flat and sum(flat) == 0:
        raise ArgumentError("weights: at least one must be larger than 0")
    return flat


def parse_weights(text: str) -> dict[str, float | tuple[float, ...]]:
    """Read ``"text=1,image=0.5"``; a name given twice weighs each input of that modality in turn.

    Raises:
        ArgumentError: if a part is not ``name=number``.
    """
    listed: dict[str, list[float]] = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        try:
            listed.setdefault(name.strip().lower(), []).append(float(number))
        except ValueError:
            raise ArgumentError(f"weight: {part.strip()!r} is not of the form text=1 or image=0.5") from None
    return {name: numbers[0] if len(numbers) == 1 else tuple(numbers) for name, numbers in listed.items()}


def collect_negatives(negative_prompt: str | list[str] | None, batch_size: int) -> list[str] | None:
    """The texts to steer away from: one, or one for each prompt.

    Raises:
        ArgumentError: if they are no texts, or as many as neither one nor the prompts.
    """
    if negative_prompt is None:
        return None
    listed = negative_prompt if isinstance(negative_prompt, list) else [negative_prompt]
    if not listed or not all(isinstance(item, str) for item in listed):
        raise ArgumentError("negative_prompt: expected text, or a list with one text for each prompt")
    if len(listed) not in (1, batch_size):
        raise ArgumentError(
            f"negative_prompt: {len(listed)} given for {batch_size} prompts; give one for all or for each"
        )
    return listed


def collect_latents(
    latents: Mapping[str, Any] | None, shapes: Mapping[Modality, tuple[int, ...]]
) -> dict[Modality, Any]:
    """Initial noise that the caller brings, by output.

    Raises:
        ArgumentError: if a key is unknown or not among the outputs, or a shape is not the one needed.
    """
    latents = dict(latents or {})
    check_keys("latents", latents, shapes, "which is not among the outputs")
    for modality, tensor in latents.items():
        if tuple(tensor.shape) != shapes[modality]:
            raise ArgumentError(f"latents: {modality} must be {list(shapes[modality])}, not {list(tensor.shape)}")
    return {Modality(modality): tensor for modality, tensor in latents.items()}


def per_output(
    argument: str,
    value: T | Mapping[str, T] | None,
    outputs: Iterable[Modality],
    defaults: Mapping[str, T | Mapping[str, T]],
    check: Callable[[str, Any], T],
) -> dict[Modality, T]:
    """Spread one value, or a dictionary of values, over the output modalities.

    Args:
        argument: its name.
        value: what was given; None for the default, and the default for outputs that a dictionary does not name.
        outputs: what is to be made.
        defaults: argument → value, or {modality: value}, where none is given.
        check: refuses a bad value.

    Raises:
        ArgumentError: if a key is unknown or not among the outputs, or ``check`` refuses a value.
    """
    outputs, default = list(outputs), defaults[argument]
    if value is not None and not isinstance(value, Mapping):
        return dict.fromkeys(outputs, check(argument, value))
    given = value or {}
    check_keys(argument, given, outputs, "which is not among the outputs")
    usual = default if isinstance(default, Mapping) else dict.fromkeys(outputs, default)
    return {modality: check(argument, given.get(modality, usual.get(modality))) for modality in outputs}


def check_keys(argument: str, given: Iterable[str], allowed: Iterable[Modality], otherwise: str) -> None:
    """Refuse a key that is no modality (suggesting the nearest), or one that is not allowed here."""
    known = [str(modality) for modality in MODALITIES]
    allowed = set(allowed)
    for key in given:
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; choose from {', '.join(known)}"
            raise ArgumentError(f"{argument}: unknown modality {str(key)!r}{hint}")
        if key not in allowed:
            raise ArgumentError(f"{argument}: names {str(key)!r}, {otherwise}")


def one_of(argument: str, value: Any, choices: Sequence[str]) -> str:
    """One of a few names.

    Raises:
        ArgumentError: if it is anything else.
    """
    if value not in choices:
        raise ArgumentError(f"{argument}: {value!r} is not one of {', '.join(choices)}")
    return value


def positive_integer(argument: str, value: Any) -> int:
    """A whole number of at least 1.

    Raises:
        ArgumentError: if it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ArgumentError(f"{argument}: must be a whole number of at least 1, got {value!r}")
    return value


def finite_number(argument: str, value: Any) -> float:
    """A finite number.

    Raises:
        ArgumentError: if it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ArgumentError(f"{argument}: must be a finite number, got {value!r}")
    return float(value)


def optional_number(argument: str, value: Any) -> float | None:
    """A finite number, or None.

    Raises:
        ArgumentError: if it is anything else.
    """
    return None if value is None else finite_number(argument, value)


def interval(argument: str, value: Any) -> tuple[float, float]:
    """A stretch ``(start, end)`` of a whole that is 1, 0 <= start < end <= 1.

    Raises:
        ArgumentError: if it is anything else.
    """
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
        raise ArgumentError(f"{argument}: must be two numbers, start and end, got {value!r}")
    start, end = (finite_number(argument, bound) for bound in value)
    if not 0 <= start < end <= 1:
        raise ArgumentError(f"{argument}: must lie in 0 <= start < end <= 1, got {value!r}")
    return start, end


def needed_parts(
    inputs: Iterable[Modality], outputs: Sequence[Modality], negative: bool = False, chosen: Iterable[Modality] = ()
) -> dict[str, str]:
    """{component: what for} of a call from ``inputs`` to ``outputs``, with a negative prompt or without.

    ``chosen``: outputs of which there are candidates.
    """
    return {
        **{MODALITIES[modality].prompt_encoder: f"to choose among candidates of {modality}" for modality in chosen},
        **{MODALITIES[modality].prompt_encoder: f"to read {modality}" for modality in inputs},
        **({MODALITIES[Modality.TEXT].prompt_encoder: "for negative_prompt"} if negative else {}),
        **{MODALITIES[modality].denoiser: f"to make {modality}" for modality in outputs},
        **{MODALITIES[modality].autoencoder: f"to make {modality}" for modality in outputs},
        **({"text_tokenizer": "to make text"} if Modality.TEXT in outputs else {}),
        **({"scheduler": "to make anything"} if outputs else {}),
    }
