"""Whether the parts of a model folder fit one another, seen from their configs alone when the folder is opened."""

from collections.abc import Iterator, Mapping, Sequence
from inspect import signature
from typing import Any

from ..denoisers.topology import residual_widths
from ..errors import ConfigurationError
from ..modality import MODALITIES
from .stored import StoredPart

Size = tuple[str, Sequence[str]]
"""A part and a size in its config, by the names that it may have there."""

_LATENTS = ("latent_channels", "latent_dim")
_OF_SOUNDS = ("sample_rate", "hop_length", "num_mel_bins")
"""What an autoencoder and a vocoder must agree on."""


def check_sizes(parts: Mapping[str, Any]) -> None:
    """Refuse parts whose sizes differ where one hands its result to another.

    Only parts that are still in their folder are compared: who gives a part has seen to it. A config that cannot be read is
    left to the loading of its part.

    Args:
        parts: by name.

    Raises:
        ConfigurationError: naming two parts and their sizes.
    """
    stored = {name: part for name, part in parts.items() if isinstance(part, StoredPart)}
    configs = {name: _config(part) for name, part in stored.items()}
    for sizes in _alike():
        sizes = [(part, names) for part, names in sizes if configs.get(part)]
        if any(name in configs[part] for part, names in sizes for name in names):
            found = [(part, *_size(stored[part], configs[part], names)) for part, names in sizes]
            known = [each for each in found if isinstance(each[2], int)]
            for each in known[1:]:
                _compare(stored, known[0], each)
    for record in MODALITIES.values():
        for adapter in (record.temporal, record.alignment):
            if adapter in configs and record.denoiser in configs:
                _check_widths(stored, configs, record.denoiser, adapter)


def _alike() -> Iterator[list[Size]]:
    """Sizes that must be the same."""
    records = MODALITIES.values()
    for record in records:
        ends = [(record.denoiser, ["in_channels"]), (record.denoiser, ["out_channels"])]
        yield [(record.autoencoder, _LATENTS), *ends, (record.alignment or "", ["in_channels"])]
        for name in _OF_SOUNDS:
            yield [(part, [name]) for part in record.codec_parts.values()]
    readers = [(record.prompt_encoder, ["projection_dim"]) for record in records]
    yield [*readers, *((record.denoiser, ["cross_attention_dim"]) for record in records)]
    yield [(record.alignment or "", ["environment_dim"]) for record in records]


def _check_widths(parts: Mapping[str, StoredPart], configs: Mapping[str, Any], denoiser: str, adapter: str) -> None:
    """An adapter's layers must be as wide as the blocks of the denoiser that they follow."""
    try:
        levels = [True] * len(configs[denoiser]["channel_mult"])
        blocks = residual_widths(configs[denoiser], levels, middle=True)
        names, widths = configs[adapter]["block_names"], configs[adapter]["channels"]
        pairs = [(name, blocks[name.removesuffix(".residual")], width) for name, width in zip(names, widths)]
    except (AttributeError, KeyError, TypeError):  # of another class, or left to the loading of the part
        return
    for place, (name, block, width) in enumerate(pairs):
        _compare(parts, (denoiser, f"the width of {name}", block), (adapter, f"channels[{place}]", width))


def _compare(parts: Mapping[str, StoredPart], one: tuple[str, str, Any], other: tuple[str, str, Any]) -> None:
    (part, name, value), (second, second_name, second_value) = one, other
    if value != second_value:
        raise ConfigurationError(
            f"{parts[part].folder.parent}: {name} of {part} is {value}, but {second_name} of {second} is {second_value}, "
            "so they are not of one model; restore their config.json"
        )


def _config(part: StoredPart) -> Mapping[str, Any]:
    try:
        return part.config
    except ConfigurationError:
        return {}


def _size(part: StoredPart, config: Mapping[str, Any], names: Sequence[str]) -> tuple[str, Any]:
    """The name and value of a size in a config; the default of the part's class where the config does not say it."""
    for name in names:
        if name in config:
            return name, config[name]
    try:
        known = signature(part.kind.__init__).parameters
    except ConfigurationError:
        return names[0], None
    return next(((name, known[name].default) for name in names if name in known), (names[0], None))
