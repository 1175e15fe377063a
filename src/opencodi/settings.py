"""What a call works with besides its checked arguments: guidance for each output, and the extras in use."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .arguments import PER_OUTPUT, CallArguments
from .errors import ArgumentError
from .extras import EXTRAS, Extra, build, call_arguments, check_names
from .modality import MODALITIES
from .sampling import Guidance

DEFAULTS: dict[str, Any] = {name: usual for name, (usual, _) in PER_OUTPUT.items()}
"""What a call takes for each output unless the call or the model says otherwise."""


def guidance_of(arguments: CallArguments) -> dict[str, Guidance]:
    """The guidance of every output that the arguments name."""
    names = [name for name in PER_OUTPUT if name != "num_inference_steps"]
    return {m: Guidance(**{name: getattr(arguments, name)[m] for name in names}) for m in arguments.guidance_scale}


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
