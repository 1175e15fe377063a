"""Whether the config values of a denoiser fit together, told before it is built."""

from diffusers.configuration_utils import FrozenDict

from ..errors import ConfigurationError


def check_configuration(config: FrozenDict, tokens_per_feature: int) -> None:
    """Refuse what no network can be built from; ``tokens_per_feature``: how many times its channels a feature has numbers.

    Raises:
        ConfigurationError: naming the config value to change.
    """
    num_levels = len(config.channel_mult)
    for name in ("num_res_blocks", "with_attention", "with_temporal", "with_alignment"):
        if len(config.get(name, config.channel_mult)) != num_levels:
            raise ConfigurationError(
                f"{name}: {len(config[name])} values for {num_levels} levels of channel_mult; give one per level"
            )
    if config.skip not in ("ordinary", "aliased"):
        raise ConfigurationError(f"skip: {config.skip!r} is unknown, choose 'ordinary' or 'aliased'")
    if config.environment_tokens < 1:
        raise ConfigurationError(f"environment_tokens: {config.environment_tokens} asked, give at least 1")
    if config.environment_tokens > 1 and not (config.get("seconds_per_frame") or config.get("seconds_per_row")):
        raise ConfigurationError(
            f"environment_tokens: {config.environment_tokens} lie along time, so a UNet must be told how it passes "
            "(seconds_per_frame or seconds_per_row); else use 1"
        )
    if config.with_environment_map and not config.prompt_map_dim:
        raise ConfigurationError("with_environment_map: draws with the prompt map; set prompt_map_dim as well")
    if config.with_environment_map and config.environment_dim != config.cross_attention_dim:
        raise ConfigurationError(
            f"with_environment_map: environment_dim is {config.environment_dim}, make it {config.cross_attention_dim} as "
            "cross_attention_dim is, since tokens are drawn like prompts"
        )
    widths = [config.model_channels * mult for mult in config.channel_mult]
    normed, attended = set(widths), set(widths)
    if config.alignment:
        environment = [config.environment_channels[0] // 2, *config.environment_channels]
        normed.update(width * tokens_per_feature for width in environment)
        normed.add(environment[-1])  # the head's norm runs over channels alone
        attended.update(int(width * config.alignment_width_mult) for width in widths)
    for name, divided in (("norm_num_groups", normed), ("num_attention_heads", attended)):
        for width in sorted(divided):
            if width % config[name]:
                raise ConfigurationError(f"{name}: {config[name]} must divide every width; {width} is not divided")
