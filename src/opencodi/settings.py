"""What a call works with: its steps, guidance and extras, from the call itself or else from the model."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from . import arguments
from .errors import ArgumentError
from .extras import EXTRAS, Extra, build, call_arguments, check_names
from .modality import MODALITIES
from .sampling import Guidance

DEFAULTS: dict[str, Any] = {
    "num_inference_steps": 20,
    "guidance_scale": 2.0,
    "guidance_interval": (0.0, 1.0),
    "modality_scale": None,
    "modality_interval": (0.0, 1.0),
}
"""What a call takes for each output unless the call or the model says otherwise."""

CHECKS = {
    "num_inference_steps": arguments.positive_integer,
    "guidance_scale": arguments.finite_number,
    "guidance_interval": arguments.interval,
    "modality_scale": arguments.optional_number,
    "modality_interval": arguments.interval,
}


def steps_and_guidance(
    config: Mapping[str, Any], makeable: Collection[str], outputs: Sequence[str], given: Mapping[str, Any]
) -> tuple[dict[str, int], dict[str, Guidance]]:
    """Steps and guidance for every modality that the model can make: a plan may make more than was asked for.

    Args:
        config: argument → value, or {modality: value}, as the model says.
        makeable: modalities that the model can make.
        outputs: modalities that were asked for.
        given: what the call says of them; None where it says nothing.

    Raises:
        ArgumentError: if a value is not a number that makes sense, or names what is not among the outputs.
    """
    values: dict[str, dict[str, Any]] = {}
    for name, check in CHECKS.items():
        usual = config[name]
        values[name] = {
            modality: usual.get(modality, DEFAULTS[name]) if isinstance(usual, Mapping) else usual
            for modality in makeable
        }
        values[name] |= arguments.per_output(name, given.get(name), outputs, config, check)
    steps = values.pop("num_inference_steps")
    return steps, {m: Guidance(**{name: each[m] for name, each in values.items()}) for m in steps}


def sort_arguments(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inputs by modality, and arguments of extras.

    Raises:
        ArgumentError: if a name is neither.
    """
    inputs = {name: value for name, value in given.items() if name in MODALITIES}
    options = {name: value for name, value in given.items() if name not in MODALITIES}
    known = call_arguments()
    for name in options:
        if name not in known:
            raise ArgumentError(
                f"{name}: is no argument of this call; besides its own it takes the modalities "
                f"{', '.join(MODALITIES)}, and of extras {', '.join(known)}"
            )
    return inputs, {name: value for name, value in options.items() if value is not None}


def extras_in_use(
    settings: Mapping[str, Mapping[str, Any]],
    names: Sequence[str] | None,
    options: Mapping[str, Any],
    components: Collection[str],
) -> dict[str, Extra]:
    """The extras of a call: those of the model, or those named; an argument of an extra puts it to use.

    Args:
        settings: of the model's extras.
        names: of those that the call wants; None: all of the model.
        options: arguments of extras that the call gives.
        components: that the model has; an extra of the model that needs another is left out.

    Raises:
        ArgumentError: if a name is unknown, the model lacks what a named extra needs, or an argument belongs to an extra
            that is left out.
    """
    wanted, known = dict(settings), call_arguments()
    if names is not None:
        check_names(names)
        wanted = {name: settings.get(name, {}) for name in names}
        for name in wanted:
            if missing := sorted(set(EXTRAS[name].needs) - set(components)):
                raise ArgumentError(f"extras: {name} needs {missing[0]}, which this model lacks; leave {name} out")
    for option in options:
        if names is not None and known[option] not in wanted:
            raise ArgumentError(f"{option}: belongs to the extra {known[option]!r}; name it in extras as well")
        wanted.setdefault(known[option], {})
    return {name: extra for name, extra in build(wanted).items() if set(extra.needs) <= set(components)}
