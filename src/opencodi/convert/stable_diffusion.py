"""Bring your own diffuser: a Stable Diffusion 1.x folder of diffusers ↔ our ``UNet`` and autoencoder (SPEC §2.1, §4).

Both have the same layers under other names. Weights go over as they are, in the precision of the file, so that there and back
gives the same bits. What Stable Diffusion lacks for video and joint generation is in fresh adapters beside it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor

from ..denoisers import Adapter, AlignmentAdapter, TemporalAdapter, UNet
from ..latents import AudioAutoencoder, ImageAutoencoder
from ..pipeline import AnyToAnyPipeline
from .diffusers_folder import (
    fill,
    one_per_level,
    read_config,
    read_scheduler,
    read_weights,
    refuse_unusual,
    unfit,
    whole_number,
)

Autoencoder = ImageAutoencoder | AudioAutoencoder


class Kind(NamedTuple):
    """What a folder's diffuser makes, as the number of channels that its VAE reads tells."""

    denoiser: str
    autoencoder: str
    autoencoder_class: type[Autoencoder]
    fixed: dict[str, Any]
    """Config of our autoencoder that no diffusers folder has: the published spectrogram (SPEC §4)."""
    alignment: str
    temporal: str | None
    """Components of the fresh adapters."""


MEL = {"hop_length": 160, "waveform_peak": 0.5, "mel_mean": 0.0, "mel_std": 1.0, "sample_seconds": 10.24}
KINDS = {
    3: Kind(
        "image_denoiser", "image_autoencoder", ImageAutoencoder, {"patch_size": 1}, "image_alignment", "video_temporal"
    ),
    1: Kind("audio_denoiser", "audio_autoencoder", AudioAutoencoder, {"patch_size": 1, **MEL}, "audio_alignment", None),
}

SCHEDULER = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "steps_offset": 1,
    "set_alpha_to_one": False,
    "clip_sample": False,
}
"""DDIM on the schedule of Stable Diffusion 1.x, for folders without a scheduler."""

PROMPT_PARTS = ("text_encoder", "tokenizer", "image_encoder", "feature_extractor")
"""Folders beside the diffuser's that read prompts. CoDi's prompt encoders share one space (bridging); these do not."""


# ------------------------------------------------------------------ a whole folder


def from_stable_diffusion(folder: Path, environment_dim: int = 1280, seed: int = 0) -> AnyToAnyPipeline:
    """The diffuser of a diffusers folder: a pipeline with a denoiser, an autoencoder and a scheduler.

    Beside the denoiser there is an alignment adapter for joint generation and, if it makes images, a temporal adapter for
    video. They start as identities: until they are trained it denoises as before, a video frame by frame.

    Args:
        folder: holds ``unet/`` (UNet2DConditionModel), ``vae/`` (AutoencoderKL) and perhaps ``scheduler/``.
        environment_dim: size of an environment token; equal in all networks that are to generate together.
        seed: of the fresh adapters.

    Raises:
        ConfigurationError: if a file is missing or damaged, or a config value or a tensor does not fit.
    """
    unet_folder, vae_folder = folder / "unet", folder / "vae"
    unet_config, vae_config = read_config(unet_folder, UNet2DConditionModel), read_config(vae_folder, AutoencoderKL)
    unet_config_from(unet_config, unet_folder)  # refuses before anything large is read
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        autoencoder = autoencoder_from(vae_config, read_weights(vae_folder), vae_folder, unet_config["sample_size"])
        if unet_config["in_channels"] != autoencoder.config.latent_channels:
            expected = f"{autoencoder.config.latent_channels}, the latent_channels of {vae_folder / 'config.json'}"
            raise unfit(unet_folder, "in_channels", unet_config["in_channels"], expected)
        kind = KINDS[vae_config["in_channels"]]
        denoiser = unet_from(unet_config, read_weights(unet_folder), unet_folder)
        adapters = _fresh_adapters(denoiser, kind, environment_dim)
    scheduler = read_scheduler(folder / "scheduler") if (folder / "scheduler").is_dir() else DDIMScheduler(**SCHEDULER)
    return AnyToAnyPipeline(
        **{kind.denoiser: denoiser, kind.autoencoder: autoencoder, **adapters, "scheduler": scheduler}
    )


def prompt_parts(folder: Path) -> list[str]:
    """The parts of a diffusers folder that read prompts and are not converted."""
    return [name for name in PROMPT_PARTS if (folder / name).is_dir()]


def _fresh_adapters(unet: UNet, kind: Kind, environment_dim: int) -> dict[str, Adapter]:
    """New adapters, in the proportions of the published network (SPEC §3)."""
    attends = tuple(unet.config.with_attention)
    widths = [unet.config.model_channels * mult for mult in unet.config.channel_mult]
    channels = [width for width, attended in zip(widths, attends) if attended] or widths[:1]
    if channels[0] // 2 % unet.config.norm_num_groups:  # half of it is normalised
        channels[0] *= 2
    made: dict[str, Adapter] = {}
    if kind.temporal is not None:
        heads = unet.config.num_attention_heads
        made[kind.temporal] = TemporalAdapter.for_denoiser(unet.config, num_heads=heads).to(unet.dtype)
    made[kind.alignment] = AlignmentAdapter.for_denoiser(
        unet,
        attends,
        environment_dim=environment_dim,
        environment_channels=tuple(channels),
        temporal=made[kind.temporal].config if kind.temporal else None,
    )
    return made


# ------------------------------------------------------------------ the UNet

_DOWN, _UP = ("DownBlock2D", "CrossAttnDownBlock2D"), ("UpBlock2D", "CrossAttnUpBlock2D")
"""Block types of diffusers: without and with attention."""

_UNET_READ = {
    *("sample_size", "in_channels", "out_channels", "down_block_types", "up_block_types", "block_out_channels"),
    *("layers_per_block", "norm_num_groups", "cross_attention_dim", "attention_head_dim", "time_embedding_dim"),
}
"""Config values that are mapped. Every other one must have diffusers' default, as in Stable Diffusion 1.x."""

_ALWAYS = {"context_scale": 1.0, "feed_forward_mult": 4.0, "skip": "ordinary"}
"""What Stable Diffusion has no config values for."""

_REASONS = {
    "class_embed_type": "prompts must enter by cross-attention; AudioLDM 1 joins them to the time embedding instead, for "
    "which our blocks have no weights",
    "addition_embed_type": "prompts must enter by cross-attention; this is a Stable Diffusion XL layout",
    "use_linear_projection": "this is a Stable Diffusion 2.x layout",
}


def unet_from(config: Mapping[str, Any], state: Mapping[str, Tensor], source: str | Path = "unet") -> UNet:
    """Our ``UNet`` from a ``UNet2DConditionModel``.

    Args:
        config: all its config values (``read_config``).
        state: its tensors by name; they are taken over without a copy.
        source: its folder, named in errors.

    Raises:
        ConfigurationError: if a config value does not fit, or a tensor is missing, unknown or of another shape.
    """
    with torch.device("meta"):
        net = UNet(**unet_config_from(config, source))
    return fill(net, state, dict(unet_names(net)), source)


def unet_config_from(config: Mapping[str, Any], source: str | Path = "unet") -> dict[str, Any]:
    """The config of our ``UNet`` for that of a ``UNet2DConditionModel``.

    Raises:
        ConfigurationError: naming a value that does not fit, and what would.
    """
    refuse_unusual(config, UNet2DConditionModel, _UNET_READ, source, _REASONS)
    downs, ups = list(config["down_block_types"]), list(config["up_block_types"])
    if not downs or set(downs) - set(_DOWN):
        raise unfit(source, "down_block_types", downs, f"a list of {' and '.join(_DOWN)}")
    attends = [down == _DOWN[True] for down in downs]
    if ups != [_UP[attended] for attended in reversed(attends)]:
        raise unfit(source, "up_block_types", ups, "the mirror image of down_block_types")
    widths = one_per_level(config, "block_out_channels", len(downs), source)
    if any(width % widths[0] for width in widths):
        raise unfit(source, "block_out_channels", [*widths], "only whole multiples of the first")
    in_channels = whole_number(config, "in_channels", source)
    if config["out_channels"] != in_channels:
        raise unfit(source, "out_channels", config["out_channels"], f"{in_channels}, as many as in_channels")
    return {
        "in_channels": in_channels,
        "out_channels": in_channels,
        "model_channels": widths[0],
        "channel_mult": tuple(width // widths[0] for width in widths),
        "num_res_blocks": one_per_level(config, "layers_per_block", len(downs), source),
        "with_attention": tuple(attends),
        "num_attention_heads": whole_number(config, "attention_head_dim", source),
        "cross_attention_dim": whole_number(config, "cross_attention_dim", source),
        "norm_num_groups": whole_number(config, "norm_num_groups", source),
        "time_embedding_dim": config["time_embedding_dim"],
        **_ALWAYS,
    }


def unet_to(net: UNet, sample_size: int | None = None) -> UNet2DConditionModel:
    """Our ``UNet`` as a ``UNet2DConditionModel`` that shares its tensors.

    Args:
        net: a network of images or audio.
        sample_size: side of the latents that it makes by default.

    Raises:
        ConfigurationError: if a config value of ours has no counterpart.
    """
    config = net.config
    for name, supported in _ALWAYS.items():
        if config[name] != supported:
            raise unfit("UNet", name, config[name], supported)
    blocks = set(config.num_res_blocks)
    with torch.device("meta"):
        theirs = UNet2DConditionModel(
            sample_size=sample_size,
            in_channels=config.in_channels,
            out_channels=config.out_channels,
            down_block_types=tuple(_DOWN[attends] for attends in config.with_attention),
            up_block_types=tuple(_UP[attends] for attends in reversed(config.with_attention)),
            block_out_channels=tuple(config.model_channels * mult for mult in config.channel_mult),
            layers_per_block=blocks.pop() if len(blocks) == 1 else tuple(config.num_res_blocks),
            norm_num_groups=config.norm_num_groups,
            cross_attention_dim=config.cross_attention_dim,
            attention_head_dim=config.num_attention_heads,
            time_embedding_dim=config.time_embedding_dim,
        )
    shapes, tensors = {name: tensor.shape for name, tensor in theirs.state_dict().items()}, net.state_dict()
    state = {name: tensors[ours].reshape(shapes[name]) for ours, name in unet_names(net)}
    theirs.load_state_dict(state, assign=True)
    return theirs.train(net.training)


def unet_names(net: UNet) -> Iterator[tuple[str, str]]:
    """(our name, diffusers' name) of every tensor."""
    places = sorted(_places(net), key=lambda place: -len(place[0]))  # of the prefixes that fit the longest counts
    for name in net.state_dict():
        ours, theirs = next(place for place in places if name.startswith(place[0] + "."))
        yield name, theirs + name[len(ours) :]


def _places(net: UNet) -> Iterator[tuple[str, str]]:
    """(our prefix, diffusers' prefix) of every part."""
    yield "time_embedding.mlp", "time_embedding"
    yield "conv_in", "conv_in"
    yield "conv_out.norm", "conv_norm_out"
    yield "conv_out.proj", "conv_out"
    yield from _block("middle.0", "mid_block", 0)
    yield from _block("middle.1", "mid_block", 1)
    counts = list(net.config.num_res_blocks)
    position = 0
    for level, count in enumerate(counts):
        for i in range(count):
            yield from _block(f"encoder.{position + i}", f"down_blocks.{level}", i)
        yield f"encoder.{position + count}.resample", f"down_blocks.{level}.downsamplers.0"
        position += count + 1
    position = 0
    for level, count in enumerate(reversed(counts)):
        for i in range(count + 1):
            yield from _block(f"decoder.{position + i}", f"up_blocks.{level}", i)
        yield f"decoder.{position + count}.resample", f"up_blocks.{level}.upsamplers.0"
        position += count + 1


def _block(ours: str, theirs: str, i: int) -> Iterator[tuple[str, str]]:
    yield f"{ours}.residual", f"{theirs}.resnets.{i}"
    yield f"{ours}.attention", f"{theirs}.attentions.{i}.transformer_blocks.0"
    for part in ("norm", "proj_in", "proj_out"):
        yield f"{ours}.attention.{part}", f"{theirs}.attentions.{i}.{part}"


# ------------------------------------------------------------------ the VAE

_SHARED = (
    *("latent_channels", "block_out_channels", "layers_per_block", "norm_num_groups", "mid_block_add_attention"),
    *("scaling_factor", "latents_mean", "latents_std"),
)
"""Config values that our autoencoders and ``AutoencoderKL`` have in common."""

_VAE_READ = {
    *(*_SHARED, "in_channels", "out_channels", "down_block_types", "up_block_types", "sample_size"),
    "force_upcast",  # a precaution for half precision, which leaves results as they are
}
_OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Attention layers of the VAE: names in the first files, names now."""


def autoencoder_from(
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
    source: str | Path = "vae",
    latent_size: int | list[int] | None = None,
) -> Autoencoder:
    """Our autoencoder of images (3 channels) or mel spectrograms (1 channel), from an ``AutoencoderKL``.

    Args:
        config: all its config values (``read_config``).
        state: its tensors by name; they are taken over without a copy.
        source: its folder, named in errors.
        latent_size: side or sides of the latents that the denoiser makes by default; None: see the VAE's config.

    Raises:
        ConfigurationError: if a config value does not fit, or a tensor is missing, unknown or of another shape.
    """
    refuse_unusual(config, AutoencoderKL, _VAE_READ, source, {})
    channels = config["in_channels"]
    if channels not in KINDS:
        raise unfit(source, "in_channels", channels, "3 (images) or 1 (mel spectrograms)")
    levels = len(config["down_block_types"])
    for name, supported in {
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "out_channels": channels,
    }.items():
        if config[name] not in (supported, tuple(supported) if isinstance(supported, list) else supported):
            raise unfit(source, name, config[name], supported)
    kind = KINDS[channels]
    values = {name: config[name] for name in _SHARED} | kind.fixed
    values["block_out_channels"] = one_per_level(config, "block_out_channels", levels, source)
    if kind.autoencoder_class is ImageAutoencoder:
        values["sample_size"] = _pixels(config["sample_size"], latent_size, 2 ** (levels - 1))
    net = kind.autoencoder_class(**values)
    names = {name: name.removeprefix("vae.") for name in net.state_dict()}
    return fill(net, {_renamed(name): tensor for name, tensor in state.items()}, names, source)


def autoencoder_to(net: Autoencoder) -> AutoencoderKL:
    """The ``AutoencoderKL`` inside our autoencoder, which shares its tensors, with the config that diffusers expects.

    Raises:
        ConfigurationError: if a config value of ours has no counterpart.
    """
    config = net.config
    for name, supported in {"patch_size": 1, "mel_mean": 0.0, "mel_std": 1.0}.items():
        if config.get(name, supported) != supported:
            raise unfit(type(net).__name__, name, config[name], supported)
    blocks = ("in_channels", "out_channels", "down_block_types", "up_block_types")
    sizes = {"sample_size": config.sample_size} if "sample_size" in config else {}
    with torch.device("meta"):
        theirs = AutoencoderKL(
            **{name: net.vae.config[name] for name in blocks}, **{name: config[name] for name in _SHARED}, **sizes
        )
    theirs.load_state_dict(net.vae.state_dict(), assign=True)
    return theirs.train(net.training)


def _pixels(pixels: int | list[int], latents: int | list[int] | None, factor: int) -> int:
    """The side of a picture, from the longest side of its latents if that is known."""
    side = pixels if latents is None else latents
    side = max(side) if isinstance(side, list | tuple) else side
    return side if latents is None else side * factor


def _renamed(name: str) -> str:
    """A tensor's name as it is now."""
    *place, end = name.split(".")
    return ".".join([*place[:-1], *(_OLD_NAMES.get(layer, layer) for layer in place[-1:]), end])
