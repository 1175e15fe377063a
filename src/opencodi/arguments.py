"""What a user asks of the pipeline, checked once at the door and put into one shape. Imports no torch.

The whole check is one call. It returns every argument in the shape that the pipeline works with::

    request = CallArguments.check(
        {"text": text, "image": image, "video": video, "audio": audio},  # any modality in MODALITIES
        self.defaults,                                                   # the model's own steps, guidance, ...
        outputs=outputs, weights=weights, num_inference_steps=num_inference_steps, ...  # the rest, as it was given
    )
    request.inputs, request.batch_size, request.weights, request.num_inference_steps["image"], request.extras, ...
    request = request.including(["text"], self.defaults)  # a further output, with the model's own settings
    latents = collect_latents(request.latents, shapes)    # once the shapes are known

Every refusal is an ``ArgumentError`` of one sentence that names the argument, the value and the limit, before any part of
a model is loaded. ``bounds`` holds the limits of numbers, ``argument_rules`` the rules of everything else.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, PlainValidator, StrictBool, ValidationError, ValidationInfo

from .argument_rules import (
    Inputs,
    check_keys,
    collect_inputs,
    collect_latents,
    collect_negatives,
    collect_weights,
    parse_weights,
    per_output,
)
from .bounds import PIXELS, finite_number, interval, one_of, optional_number, positive_integer, short
from .errors import ArgumentError
from .modality import MODALITIES, Modality, parse_modalities

__all__ = [
    "CallArguments",
    "Inputs",
    "check_keys",
    "collect_inputs",
    "collect_latents",
    "collect_negatives",
    "collect_weights",
    "finite_number",
    "interval",
    "needed_parts",
    "one_of",
    "optional_number",
    "parse_weights",
    "per_output",
    "positive_integer",
]


def _rule(check: Callable[[str, Any], Any], optional: bool = True) -> PlainValidator:
    """The rule of a field: ``check(argument, value)``, which may refuse. None stays None if the field is optional."""

    def validate(value: Any, info: ValidationInfo) -> Any:
        return None if value is None and optional else check(str(info.field_name), value)

    return PlainValidator(validate)


def _rule_per_output(check: Callable[[str, Any], Any]) -> PlainValidator:
    """The same for one value or a dictionary of values; an entry that is None counts as not given."""

    def validate(value: Any, info: ValidationInfo) -> Any:
        argument = str(info.field_name)
        if isinstance(value, Mapping):
            return {key: check(argument, each) for key, each in value.items() if each is not None}
        return None if value is None else check(argument, value)

    return PlainValidator(validate)


def _names(argument: str, value: Any) -> tuple[str, ...]:
    """Several names; a single string would be taken apart into letters and is refused."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ArgumentError(f"{argument}: expected a list of names, got {short(value)}")
    names = tuple(value)
    if not all(isinstance(name, str) for name in names):
        raise ArgumentError(f"{argument}: expected a list of names, got {short(value)}")
    return names


def _outputs(argument: str, value: Any) -> list[str]:
    return parse_modalities(value if isinstance(value, str) else _names(argument, value), argument)


def _tensors(argument: str, value: Any) -> dict[str, Any]:
    """Tensors by output, all finite."""
    if not isinstance(value, Mapping):
        raise ArgumentError(f"{argument}: expected a dictionary with a tensor for each output, got {short(value)}")
    for modality, tensor in value.items():
        if not hasattr(tensor, "isfinite"):
            raise ArgumentError(f"{argument}: {modality} must be a tensor, got {type(tensor).__name__}")
        if not bool(tensor.isfinite().all()):
            raise ArgumentError(f"{argument}: {modality} holds NaN or infinity; every value must be finite")
    return dict(value)


def _generators(argument: str, value: Any) -> Any:
    listed = value if isinstance(value, list) else [value]
    for each in listed:
        if not hasattr(each, "initial_seed"):
            raise ArgumentError(f"{argument}: expected a torch.Generator or a list of them, got {short(each)}")
    return value


def _callback(argument: str, value: Any) -> Any:
    if not callable(value):
        raise ArgumentError(f"{argument}: expected a function, got {short(value)}")
    return value


def _offered_tensors(argument: str, value: Any) -> tuple[str, ...]:
    return tuple(one_of(argument, name, ("latents",)) for name in _names(argument, value))


Whole = Annotated[int | None, _rule(positive_integer)]
WholePerOutput = Annotated[Any, _rule_per_output(positive_integer)]
NumberPerOutput = Annotated[Any, _rule_per_output(finite_number)]
IntervalPerOutput = Annotated[Any, _rule_per_output(interval)]

PER_OUTPUT: dict[str, tuple[Any, Callable[[str, Any], Any]]] = {
    "num_inference_steps": (20, positive_integer),
    "guidance_scale": (2.0, finite_number),
    "guidance_interval": ((0.0, 1.0), interval),
    "modality_scale": (None, optional_number),
    "modality_interval": ((0.0, 1.0), interval),
}
"""Argument with one value per output → what holds where neither the call nor the model says otherwise, and its rule."""


class CallArguments(BaseModel):
    """The arguments of one call; ``AnyToAnyPipeline.__call__`` says what each means. Made by ``check``.

    Attributes:
        inputs, batch_size: conditions per modality, and the number of prompts (see ``collect_inputs``).
        weights: one number per condition, in the order of ``inputs``.
        negative_prompt: a list of one text, or of one per prompt; None without any.
        num_inference_steps, guidance_scale, guidance_interval, modality_scale, modality_interval:
            ``{output: value}`` with an entry for each output. A ``modality_scale`` of None: as the model says.
        extras: names, or None for those that the model lists.
        latents: ``{output: tensor}``, empty if none are given.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    inputs: Any = {}
    batch_size: int = 1
    outputs: Annotated[Any, _rule(_outputs, optional=False)] = ["image"]
    weights: Any = None
    negative_prompt: Any = None
    num_inference_steps: WholePerOutput = None
    guidance_scale: NumberPerOutput = None
    guidance_interval: IntervalPerOutput = None
    modality_scale: NumberPerOutput = None
    modality_interval: IntervalPerOutput = None
    num_outputs_per_prompt: Annotated[int, _rule(positive_integer, optional=False)] = 1
    generator: Annotated[Any, _rule(_generators)] = None
    latents: Annotated[Any, _rule(_tensors)] = None
    height: Whole = None
    width: Whole = None
    num_frames: Whole = None
    seconds: Annotated[float | None, _rule(finite_number)] = None
    extras: Annotated[tuple[str, ...] | None, _rule(_names)] = None
    text_decoding: Literal["greedy", "sample"] = "greedy"
    output_type: Literal["pil", "np", "latent"] = "pil"
    return_dict: StrictBool = True
    callback_on_step_end: Annotated[Any, _rule(_callback)] = None
    callback_on_step_end_tensor_inputs: Annotated[Any, _rule(_offered_tensors, optional=False)] = ("latents",)

    @classmethod
    def check(cls, given: Mapping[str, Any], defaults: Mapping[str, Any], **arguments: Any) -> Self:
        """Check everything that a call takes.

        Args:
            given: modality → what to generate from, None where there is nothing (see ``collect_inputs``).
            defaults: the model's own values of the arguments in ``PER_OUTPUT``, one for all outputs or one for each.
            **arguments: the other arguments, as they were given.

        Raises:
            ArgumentError: for the first argument that is unknown, contradictory or out of range.
        """
        for name in arguments:
            if name not in cls.model_fields or name in ("inputs", "batch_size"):
                near = get_close_matches(name, cls.model_fields, n=1)
                raise ArgumentError(f"{name}: unknown argument" + (f"; did you mean {near[0]!r}?" if near else ""))
        try:
            request = cls.model_validate(arguments)
        except ValidationError as error:
            raise _refusal(error) from None
        request.inputs, request.batch_size = collect_inputs(given)
        request.weights = collect_weights(request.weights, request.inputs)
        request.negative_prompt = collect_negatives(request.negative_prompt, request.batch_size)
        for argument, (usual, rule) in PER_OUTPUT.items():
            own = _usual(defaults.get(argument, usual), usual, request.outputs)
            value = getattr(request, argument)
            setattr(request, argument, per_output(argument, value, request.outputs, {argument: own}, rule))
        request.latents = request.latents or {}
        check_keys("latents", request.latents, request.outputs, "which is not among the outputs")
        request._check_size()
        request._check_generators()
        return request

    def including(self, outputs: Iterable[str], defaults: Mapping[str, Any]) -> Self:
        """The same request with further outputs, which take the model's own settings.

        ``outputs`` of the result stay what was asked for; the dictionaries of ``PER_OUTPUT`` name the further ones too,
        in the order of the modalities.
        """
        further = [modality for modality in outputs if modality not in self.outputs]
        update = {}
        for argument, (usual, rule) in PER_OUTPUT.items():
            own = _usual(defaults.get(argument, usual), usual, further)
            merged = per_output(argument, None, further, {argument: own}, rule) | getattr(self, argument)
            update[argument] = {modality: merged[modality] for modality in MODALITIES if modality in merged}
        return self.model_copy(update=update)

    def _check_size(self) -> None:
        pixels = (self.height or 1) * (self.width or 1) * (self.num_frames or 1)
        if pixels > PIXELS:
            asked = f"{self.height or '…'} x {self.width or '…'} pixels in {self.num_frames or 1} frames"
            raise ArgumentError(
                f"height, width, num_frames: {asked} are {pixels:,} pixels; give at most {PIXELS:,} in all"
            )

    def _check_generators(self) -> None:
        number = self.batch_size * self.num_outputs_per_prompt
        if isinstance(self.generator, list) and len(self.generator) != number:
            raise ArgumentError(
                f"generator: {len(self.generator)} given for {number} outputs; give one for each, or one"
            )


def _usual(own: Any, usual: Any, outputs: Iterable[str]) -> Any:
    """A model's own values; what holds everywhere for outputs that it does not name, such as a modality added later."""
    return {output: own.get(output, usual) for output in outputs} if isinstance(own, Mapping) else own


def _refusal(error: ValidationError) -> ArgumentError:
    """The first thing that pydantic found, as a sentence of ours."""
    first = error.errors(include_url=False)[0]
    if isinstance(first.get("ctx", {}).get("error"), ArgumentError):
        return first["ctx"]["error"]
    argument, value = ".".join(map(str, first["loc"])), short(first["input"])
    if first["type"] == "literal_error":
        return ArgumentError(f"{argument}: {value} is not one of {first['ctx']['expected'].replace(chr(39), '')}")
    return ArgumentError(f"{argument}: {first['msg'][0].lower()}{first['msg'][1:]}, got {value}")


def needed_parts(
    inputs: Iterable[str], outputs: Sequence[str], negative: bool = False, chosen: Iterable[str] = ()
) -> dict[str, str]:
    """Which components a call needs: {component: what for}.

    Args:
        inputs: modalities that are read.
        outputs: modalities that are made.
        negative: whether there is a negative prompt.
        chosen: outputs of which there are several candidates to choose from.
    """
    read = [*chosen, *inputs]
    beside = {part: each for each in read for part in MODALITIES[each].prompt_encoder_parts.values()}
    return {
        **{name: f"to read {modality}" for name, modality in beside.items()},
        **{MODALITIES[modality].prompt_encoder: f"to choose among candidates of {modality}" for modality in chosen},
        **{MODALITIES[modality].prompt_encoder: f"to read {modality}" for modality in inputs},
        **({MODALITIES[Modality.TEXT].prompt_encoder: "for negative_prompt"} if negative else {}),
        **{MODALITIES[modality].denoiser: f"to make {modality}" for modality in outputs},
        **{name: f"to make {each}" for each in outputs for name in needed_adapters(each, len(outputs) > 1)},
        **{MODALITIES[modality].autoencoder: f"to make {modality}" for modality in outputs},
        **({"text_tokenizer": "to make text"} if Modality.TEXT in outputs else {}),
        **({"scheduler": "to make anything"} if outputs else {}),
    }


def needed_adapters(output: Modality, together: bool) -> list[str]:
    """Components that a denoiser cannot make this output without; ``together``: with others beside it."""
    record = MODALITIES[output]
    return [name for name in (record.temporal, record.alignment if together else None) if name is not None]
