"""Whether the config values of a denoiser fit together, told before it is built."""

from collections.abc import Iterable, Mapping

from diffusers.configuration_utils import FrozenDict

from ..errors import ConfigurationError


def check_configuration(config: FrozenDict) -> None:
    """Refuse what no denoiser can be built from.

    Raises:
        ConfigurationError: naming the config value to change.
    """
    num_levels = len(config.channel_mult)
    for name in ("num_res_blocks", "with_attention"):
        if len(config[name]) != num_levels:
            raise ConfigurationError(
                f"{name}: {len(config[name])} values for {num_levels} levels of channel_mult; give one per level"
            )
    if config.skip not in ("ordinary", "aliased"):
        raise ConfigurationError(f"skip: {config.skip!r} is unknown, choose 'ordinary' or 'aliased'")
    widths = [config.model_channels * mult for mult in config.channel_mult]
    check_divides("norm_num_groups", config.norm_num_groups, widths)
    check_divides("num_attention_heads", config.num_attention_heads, widths)


def check_divides(name: str, divisor: int, widths: Iterable[int]) -> None:
    """Refuse a number of groups or heads that does not divide every width.

    Raises:
        ConfigurationError: naming the first width that it does not divide.
    """
    for width in sorted(set(widths)):
        if width % divisor:
            raise ConfigurationError(f"{name}: {divisor} must divide every width; {width} is not divided")


def own_values(config: Mapping) -> dict:
    """The values of a config without what the library notes there."""
    return {name: value for name, value in config.items() if not name.startswith("_")}
