"""The rules of what a call is given: inputs, weights, negative prompts, latents, and one value for each output.

Imports no library, so that the command line can check what it is given before anything is loaded.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

from .bounds import NUMBERS, finite_number, plain_text, short
from .errors import ArgumentError
from .modality import MODALITIES

T = TypeVar("T")

Inputs = dict[str, list[list[Any]]]
"""Conditions per modality; each condition is a list with one item per prompt, or a single item for all prompts."""


def collect_inputs(given: Mapping[str, Any]) -> tuple[Inputs, int]:
    """Sort what was passed per modality into conditions, and count the prompts.

    An item is one prompt; a *list* of items is a batch of prompts; a *tuple* of items is several conditions of that
    modality for one prompt. So ``image=(a, b)`` mixes two pictures, ``image=[a, b]`` makes two results, and
    ``image=[(a, b), (c, d)]`` makes two results of two pictures each. Single items serve every prompt of the batch.

    Returns:
        The conditions, in the order of the modalities, and the number of prompts (1 without any input).

    Raises:
        ArgumentError: if a modality is unknown, an item is of the wrong type, a list or tuple is empty, or the lengths
            disagree.
    """
    check_keys("inputs", given, MODALITIES, "")
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
            if media_type is str:
                plain_text(modality, item)
        inputs[modality] = [list(condition) for condition in zip(*prompts)]
    if len(set(batch_sizes.values())) > 1:
        sizes = ", ".join(f"{name} {size}" for name, size in batch_sizes.items())
        raise ArgumentError(f"inputs: the lists differ in length ({sizes}); give as many prompts in each, or one item")
    return inputs, next(iter(batch_sizes.values()), 1)


def collect_weights(
    weights: Mapping[str, float | Sequence[float]] | None, inputs: Mapping[str, Sequence[Any]]
) -> list[float]:
    """One weight per condition, in the order of ``inputs``; they need not add up to one.

    A number is the weight of its modality, shared equally among its conditions; a sequence weighs each of them. A
    modality that is not named weighs 1.

    Raises:
        ArgumentError: if a key is unknown or has no input, a sequence has the wrong length, a weight is negative, too large
            or not finite, or all are zero.
    """
    if not isinstance(weights, Mapping | None):
        raise ArgumentError(f"weights: expected a dictionary such as {{'text': 1, 'image': 0.5}}, got {short(weights)}")
    weights = dict(weights or {})
    check_keys("weights", weights, inputs, "which is not among the inputs")
    flat: list[float] = []
    for modality, conditions in inputs.items():
        weight = weights.get(modality, 1.0)
        if isinstance(weight, Sequence) and not isinstance(weight, str):
            shares = [_weight(modality, share) for share in weight]
        else:
            shares = [_weight(modality, weight) / len(conditions)] * len(conditions)
        if len(shares) != len(conditions):
            raise ArgumentError(
                f"weights: {modality} has {len(conditions)} conditions but {len(shares)} weights; give one for each"
            )
        flat += shares
    if flat and sum(flat) == 0:
        raise ArgumentError("weights: at least one must be larger than 0")
    return flat


def _weight(modality: str, value: Any) -> float:
    if isinstance(value, int | float) and value < 0:
        raise ArgumentError(
            f"weights: none may be negative, {modality} is {short(value)}; use negative_prompt to steer away from something"
        )
    return finite_number(f"weights: {modality}", value, NUMBERS["weights"])


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
    """The texts to steer away from: one for all prompts, or one for each prompt.

    Raises:
        ArgumentError: if an item is not a string, or the number of items is neither 1 nor the batch size.
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
    return [plain_text("negative_prompt", item) for item in listed]


def collect_latents(latents: Mapping[str, Any] | None, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Initial noise that the caller brings, by output.

    Raises:
        ArgumentError: if a key is unknown or not among the outputs, or a shape is not the one needed.
    """
    latents = dict(latents or {})
    check_keys("latents", latents, shapes, "which is not among the outputs")
    for modality, tensor in latents.items():
        if tuple(tensor.shape) != shapes[modality]:
            raise ArgumentError(f"latents: {modality} must be {list(shapes[modality])}, not {list(tensor.shape)}")
    return {str(modality): tensor for modality, tensor in latents.items()}


def per_output(
    argument: str,
    value: T | Mapping[str, T] | None,
    outputs: Iterable[str],
    defaults: Mapping[str, T | Mapping[str, T]],
    check: Callable[[str, Any], T],
) -> dict[str, T]:
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


def check_keys(argument: str, given: Iterable[str], allowed: Iterable[str], otherwise: str) -> None:
    """Refuse a key that is no modality (suggesting the nearest), or one that is not allowed here."""
    known = [str(modality) for modality in MODALITIES]
    allowed = set(allowed)
    for key in given:
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; choose from {', '.join(known)}"
            raise ArgumentError(f"{argument}: unknown modality {short(str(key))}{hint}")
        if key not in allowed:
            raise ArgumentError(f"{argument}: names {str(key)!r}, {otherwise}")
