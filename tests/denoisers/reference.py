"""The reduced reference networks: their configs as ours, their weights by name hash, the stored cases."""

import json
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from opencodi.convert.codi_unet import convert_unet, reference_keys
from opencodi.convert.hash_weights import hash_weight
from opencodi.denoisers import AlignmentAdapter, ComposedDenoiser, FlatUNet, TemporalAdapter, UNet
from opencodi.denoisers.alignment import alignment_config
from opencodi.denoisers.temporal import temporal_config
from opencodi.modality import MODALITIES, Modality

FOLDER = Path(__file__).parents[1] / "goldens" / "unet_small"

SHARED = {
    "model_channels": 64,
    "channel_mult": (1, 1, 1, 1),
    "num_res_blocks": (1, 1, 1, 1),
    "with_attention": (True, True, True, False),
    "num_attention_heads": 8,
    "cross_attention_dim": 48,
    "norm_num_groups": 32,
}
CONFIGS = {
    "image": (UNet, {**SHARED, "in_channels": 4, "out_channels": 4}),
    "audio": (UNet, {**SHARED, "in_channels": 8, "out_channels": 8}),
    "text": (FlatUNet, {**SHARED, "feature_tokens": 2, "in_channels": 24, "out_channels": 24}),
}
TEMPORAL = temporal_config(
    CONFIGS["image"][1], num_heads=8, attention_mult=2.0, feed_forward_mult=8 / 3, max_frames=30, frame_rate=4
)
ALIGNMENT = {
    name: alignment_config(
        config,
        (True, True, True, False),
        environment_dim=96,
        environment_channels=(64, 64, 64),
        temporal=TEMPORAL if name == "image" else None,
    )
    for name, (_, config) in CONFIGS.items()
}


@cache
def cases() -> dict[str, Tensor]:
    return load_file(FOLDER / "cases.safetensors")


@cache
def descriptions() -> dict[str, dict]:
    return json.loads((FOLDER / "cases.json").read_text())


def reference_state(name: str) -> dict[str, Tensor]:
    """The state dict of the reference's ``unet_image``, ``unet_audio`` or ``unet_text``, by the hash formula."""
    state = {}
    for net in components(name).values():
        ours = net.state_dict()
        for key, names in reference_keys(net, TEMPORAL["block_names"] if name == "image" else ()).items():
            rows = len(names) * ours[names[0]].shape[0]
            state[key] = hash_weight(f"unet_{name}.{key}", (rows, *ours[names[0]].shape[1:]))
    return state


def components(name: str, skip: str = "aliased") -> dict[str, nn.Module]:
    """A denoiser and its adapters, without values."""
    cls, config = CONFIGS[name]
    with torch.device("meta"):
        made = {"denoiser": cls(**config, skip=skip), "alignment": AlignmentAdapter(**ALIGNMENT[name])}
        return made | ({"temporal": TemporalAdapter(**TEMPORAL)} if name == "image" else {})


@cache
def network(name: str, skip: str = "aliased") -> ComposedDenoiser:
    """The reference's ``unet_image``, ``unet_audio`` or ``unet_text`` with hash weights and all that it knows."""
    state, made = reference_state(name), {}
    for part, net in components(name, skip).items():
        net.to_empty(device="cpu").load_state_dict(convert_unet(state, net))
        made[part] = net.eval().requires_grad_(False)
    return ComposedDenoiser(**made)


def denoisers(modalities: list[str], skip: str = "aliased") -> dict[Modality, ComposedDenoiser]:
    """A network per modality, in the given order; image and video share one."""
    named = [Modality(name) for name in modalities]
    return {m: network(MODALITIES[m].denoiser.removesuffix("_denoiser"), skip) for m in named}
