"""Model folders of before → folders in which time, alignment and extras are components of their own; same numbers.

Before, a denoiser held temporal blocks, alignment sub-layers, maps and the manner embedding among its own weights, and a
video prompt encoder held (or pointed to) the image prompt encoder.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from ..denoisers.alignment import alignment_config
from ..denoisers.temporal import TemporalAdapter, temporal_config
from ..errors import ArgumentError, ConfigurationError
from ..models import INDEX, check_files, components
from ..models.schema import read_config, read_object
from .diffusers_folder import defaults

WEIGHTS = "diffusion_pytorch_model.safetensors"
UNETS = ("UNet", "FlatUNet")
Config, State = dict[str, Any], dict[str, Tensor]
Made = dict[str, tuple[str, str, Config, State]]
"""Component → (module, class, config, weights)."""

KEPT = (
    *("in_channels", "out_channels", "feature_tokens", "model_channels", "channel_mult", "num_res_blocks"),
    *("with_attention", "num_attention_heads", "cross_attention_dim", "context_scale", "feed_forward_mult"),
    *("norm_num_groups", "time_embedding_dim", "skip"),
)
"""Config values that the plain denoiser keeps."""

ADAPTER_EXTRAS = ("manner_embedding", "prompt_map", "motion_map", "environment_map")
"""Extras that attach what was part of a denoiser."""

INSIDE_VIDEO = {"VideoPromptEncoder": "image.", "ClipVideoPromptEncoder": "vision."}
"""Class of a video prompt encoder → how the names of the image network in it began."""


def convert_folder(old: Path, new: Path, progress: Callable[[str], None] = lambda name: None) -> list[str]:
    """Write the model of the folder ``old`` as folders are now; everything else in it is copied.

    Args:
        old: a model folder of before.
        new: a folder that does not exist yet, or is empty.
        progress: called with the name of each component before it is written.

    Returns:
        The names of the components that were written anew.

    Raises:
        ArgumentError: if ``new`` holds something.
        ConfigurationError: if ``old`` cannot be read, or is already as folders are now.
    """
    if new.exists() and any(new.iterdir()):
        raise ArgumentError(f"output: {new} is not empty; give a new folder")
    index = read_object(old / INDEX)
    names = [part.name for part in components(old)]
    for name in names:
        if (old / name / "config.json").is_file():
            check_files(old / name)
    made: Made = {}
    for name in names:
        config = _read_config(old / name)
        if config.get("_class_name") in UNETS and "alignment" in config:
            made |= split_denoiser(name, config, _weights(old / name))
        elif config.get("_class_name") in INSIDE_VIDEO and _is_older_video(config, old / name):
            made[name] = _without_image(index[name], config, _weights(old / name))
    if not made:
        raise ConfigurationError(f"{old}: is already as model folders are now; use it as it is")
    partial = new.with_name(f".{new.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        shutil.copytree(
            old, partial, ignore=lambda folder, found: made.keys() & set(found) if folder == str(old) else ()
        )
        used = {module.rpartition(".")[2] for module, *_ in made.values()}
        maps = {name: {} for name in ADAPTER_EXTRAS if name in used}
        if maps:
            index["extras"] = {**maps, **index.get("extras", {})}
        for name, (module, kind, config, state) in made.items():
            progress(name)
            _write(partial / name, kind, config, state)
            index[name] = [module, kind]
        text = json.dumps(dict(sorted(index.items())), indent=2) + "\n"
        (partial / INDEX).write_text(text, encoding="utf-8")
        if new.exists():
            new.rmdir()
        partial.rename(new)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return sorted(made)


def split_denoiser(name: str, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> Made:
    """What was one denoiser (``text_denoiser``, …) as a plain one and its adapters."""
    kind = name.removesuffix("_denoiser")
    state, made = dict(state), {}

    def taken(prefix: str) -> State:
        return {key.removeprefix(prefix): state.pop(key) for key in [*state] if key.startswith(prefix)}

    flat = config["_class_name"] == "FlatUNet"
    size = () if flat else tuple(config["prompt_map_size"])
    features = config["model_channels"] * (config["feature_tokens"] if flat else 1)
    drawn = {"in_channels": config["in_channels"], "size": size, "features": features}
    width, time_dim = config["cross_attention_dim"], config["time_embedding_dim"] or 4 * config["model_channels"]
    embedding = {"embedding_dim": width, "quantized": bool(config.get("quantized_maps"))}
    if config.get("prompt_map_dim"):
        values = {**embedding, "dim": config["prompt_map_dim"], "manner_dim": config.get("manner_dim"), **drawn}
        made[f"{kind}_prompt_map"] = ("prompt_map", "PromptMap", values, taken("prompt_map."))
    if config.get("manner_dim"):
        values = {"manner_dim": config["manner_dim"], "time_embedding_dim": time_dim}
        weights = {f"linear.{key}": value for key, value in taken("manner_embedding.").items()}
        made[f"{kind}_manner_embedding"] = ("manner_embedding", "MannerEmbedding", values, weights)
    if config.get("temporal") and config.get("motion_map_dim"):
        values = {"dim": config["motion_map_dim"], "harmonics": config["motion_map_harmonics"], **embedding, **drawn}
        made["video_motion_map"] = ("motion_map", "MotionMap", values, taken("motion_map."))
    if config["alignment"] and config.get("with_environment_map"):
        values = {**drawn, "time_embedding_dim": time_dim, "context_scale": config["context_scale"]}
        made[f"{kind}_environment_map"] = ("environment_map", "EnvironmentMap", values, taken("environment_map."))
    made = {key: (f"opencodi.extras.{module}", *rest) for key, (module, *rest) in made.items()}

    temporal = _temporal_values(config) if config.get("temporal") else None
    if config["alignment"]:
        values = _alignment_values(config, temporal)
        weights = {f"environment_encoder.layers.{key}": value for key, value in taken("environment_encoder.").items()}
        start = "time_embedding."  # the encoder had the denoiser's; now it has one of its own
        weights |= {f"environment_encoder.{key}": value for key, value in state.items() if key.startswith(start)}
        for number, block in enumerate(values["block_names"]):
            weights |= {f"blocks.{number}.{key}": value for key, value in taken(f"{block}.alignment.").items()}
        made[f"{kind}_alignment"] = ("opencodi.denoisers.alignment", "AlignmentAdapter", values, weights)
    if temporal is not None:
        weights = {}
        for number, block in enumerate(temporal["block_names"]):
            before = block.removesuffix("residual") + "temporal."
            weights |= {f"blocks.{number}.{key}": value for key, value in taken(before).items()}
        made["video_temporal"] = ("opencodi.denoisers.temporal", "TemporalAdapter", temporal, weights)
    plain = {key: config[key] for key in KEPT if key in config}
    module = "opencodi.denoisers.flat_unet" if flat else "opencodi.denoisers.unet"
    return {name: (module, config["_class_name"], plain, state), **made}


def _temporal_values(config: Mapping[str, Any]) -> Config:
    names = {f"temporal_{name}": name for name in ("num_heads", "attention_mult", "feed_forward_mult")}
    names |= {name: name for name in ("max_frames", "frame_rate", "shared_frame_noise", "seconds_per_frame")}
    usual = {name: value for name, value in defaults(TemporalAdapter).items() if name in names.values()}
    values = usual | {ours: config[theirs] for theirs, ours in names.items() if theirs in config}
    return temporal_config(config, tuple(config["with_temporal"]), **values)


def _alignment_values(config: Mapping[str, Any], temporal: Config | None) -> Config:
    names = {f"alignment_{name}": name for name in ("width_mult", "feed_forward_mult")}
    environment = ("dim", "channels", "num_res_blocks", "tokens")
    names |= {f"environment_{name}": f"environment_{name}" for name in environment}
    names |= {"seconds_per_row": "seconds_per_row"}
    values = {ours: config[theirs] for theirs, ours in names.items() if theirs in config}
    return alignment_config(config, tuple(config["with_alignment"]), temporal, **values)


def _is_older_video(config: Mapping[str, Any], folder: Path) -> bool:
    holds_image = any(key.startswith(INSIDE_VIDEO[config["_class_name"]]) for key in _weights(folder))
    return holds_image or "sample_size" in config or "image_size" in config  # or stored beside it


def _without_image(entry: list[str], config: Config, state: State) -> tuple[str, str, Config, State]:
    """A video prompt encoder whose image network is the image prompt encoder's."""
    kind = entry[1]
    values = {name: value for name, value in config.items() if not name.startswith("_")}
    if kind == "VideoPromptEncoder":
        values["feature_dim"] = values.pop("block_out_channels")[-1]
        names = ("num_frames", "feature_dim", "projection_dim", "unconditional")
        values = {name: value for name, value in values.items() if name in names or name.startswith("temporal_")}
    else:
        gone = ("image_size", "patch_size", "intermediate_size")
        values = {name: value for name, value in values.items() if name not in gone}
    kept = {key: value for key, value in state.items() if not key.startswith(INSIDE_VIDEO[kind])}
    return entry[0], kind, values, kept


def _read_config(part: Path) -> Config:
    """The ``config.json`` of a component; empty if it has none."""
    path = part / "config.json"
    return read_config(path) if path.is_file() else {}


def _weights(part: Path) -> State:
    return {key: value for path in sorted(part.glob("*.safetensors")) for key, value in load_file(path).items()}


def _write(part: Path, kind: str, config: Config, state: State) -> None:
    from diffusers import __version__

    part.mkdir(parents=True)
    head = {"_class_name": kind, "_diffusers_version": __version__}
    (part / "config.json").write_text(json.dumps({**head, **config}, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    contiguous = {key: value.contiguous() for key, value in state.items()}
    save_file(contiguous, part / WEIGHTS, metadata={"format": "pt"})
