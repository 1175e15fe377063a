"""The reduced reference networks: their configs as ours, their weights by name hash, the stored cases."""

import json
from functools import cache
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from opencodi.convert.codi_unet import convert_unet, reference_keys
from opencodi.convert.hash_weights import hash_weight
from opencodi.denoisers import FlatUNet, UNet
from opencodi.denoisers.topology import Denoiser
from opencodi.modality import MODALITIES, Modality

FOLDER = Path(__file__).parents[1] / "goldens" / "unet_small"

SHARED = {
    "model_channels": 64,
    "channel_mult": (1, 1, 1, 1),
    "num_res_blocks": (1, 1, 1, 1),
    "with_attention": (True, True, True, False),
    "with_alignment": (True, True, True, False),
    "num_attention_heads": 8,
    "cross_attention_dim": 48,
    "alignment": True,
    "environment_dim": 96,
    "environment_channels": (64, 64, 64),
}
CONFIGS = {
    "image": (UNet, {"temporal": True, "with_temporal": (True,) * 4, "in_channels": 4, "out_channels": 4}),
    "audio": (UNet, {"with_temporal": (True,) * 4, "in_channels": 8, "out_channels": 8}),
    "text": (FlatUNet, {"feature_tokens": 2, "in_channels": 24, "out_channels": 24}),
}


@cache
def cases() -> dict[str, Tensor]:
    return load_file(FOLDER / "cases.safetensors")


@cache
def descriptions() -> dict[str, dict]:
    return json.loads((FOLDER / "cases.json").read_text())


def reference_state(net: Denoiser, prefix: str) -> dict[str, Tensor]:
    """What the reference's state dict of ``net`` would hold, by the hash formula; ``prefix`` is part of the key."""
    ours = net.state_dict()
    state = {}
    for key, names in reference_keys(net).items():
        rows = len(names) * ours[names[0]].shape[0]
        state[key] = hash_weight(prefix + key, (rows, *ours[names[0]].shape[1:]))
    return state


@cache
def network(name: str, skip: str = "aliased", temporal: bool = True) -> Denoiser:
    """The reference's ``unet_image``, ``unet_audio`` or ``unet_text`` with hash weights."""
    cls, config = CONFIGS[name]
    net = cls(**SHARED, **config, skip=skip)
    net.load_state_dict(convert_unet(reference_state(net, f"unet_{name}."), net))
    if not temporal:
        image = cls(**SHARED, **{**config, "temporal": False}, skip=skip)
        image.load_state_dict({key: value for key, value in net.state_dict().items() if key in image.state_dict()})
        net = image
    return net.eval().requires_grad_(False)


def denoisers(modalities: list[str], skip: str = "aliased") -> dict[Modality, Denoiser]:
    """A network per modality, in the given order; image and video share one."""
    named = [Modality(name) for name in modalities]
    return {m: network(MODALITIES[m].denoiser.removesuffix("_denoiser"), skip) for m in named}
