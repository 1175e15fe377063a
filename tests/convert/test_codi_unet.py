"""The published networks are configs of our classes: sizes, names and shapes, without their weights."""

import gzip
from pathlib import Path

import pytest
import torch

from opencodi.convert.codi_unet import convert_unet
from opencodi.denoisers import FlatUNet, UNet
from opencodi.errors import ConfigurationError
from tests.denoisers.reference import network, reference_state

MANIFESTS = Path(__file__).parents[1] / "goldens" / "manifests"
SHARED = {
    "channel_mult": (1, 2, 4, 4),
    "num_res_blocks": (2, 2, 2, 2),
    "with_attention": (True, True, True, False),
    "with_alignment": (True, True, True, False),
    "num_attention_heads": 8,
    "cross_attention_dim": 768,
    "environment_dim": 1280,
    "alignment": True,
    "skip": "aliased",
}
WITH_TEMPORAL = {"with_temporal": (True, True, True, True)}
PUBLISHED = {
    "image": (
        UNet,
        {"model_channels": 320, "environment_channels": (320, 640, 1280), "temporal": True, **WITH_TEMPORAL},
        1_772_784_247,
    ),
    "audio": (
        UNet,
        {
            "model_channels": 192,
            "environment_channels": (192, 384, 768),
            "in_channels": 8,
            "out_channels": 8,
            **WITH_TEMPORAL,
        },
        431_309_032,
    ),
    "text": (
        FlatUNet,
        {"model_channels": 320, "environment_channels": (320, 640, 1280), "in_channels": 768, "out_channels": 768},
        2_048_385_408,
    ),
}


def manifest(name: str) -> dict[str, torch.Tensor]:
    lines = gzip.decompress((MANIFESTS / f"unet_{name}.tsv.gz").read_bytes()).decode().splitlines()[1:]
    rows = (line.split("\t") for line in lines)
    prefix = f"model.diffusion_model.unet_{name}."
    return {
        key.removeprefix(prefix): torch.empty([*map(int, shape.split("x"))], device="meta") for key, shape, *_ in rows
    }


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_every_published_parameter_has_its_place(name):
    cls, config, num_parameters = PUBLISHED[name]
    with torch.device("meta"):
        net = cls(**SHARED, **config)
    assert sum(p.numel() for p in net.parameters()) == num_parameters
    net.load_state_dict(convert_unet(manifest(name), net), strict=True, assign=True)


def test_a_missing_unknown_or_misshapen_key_is_named():
    net = network("text")
    state = reference_state(net, "unet_text.")
    with pytest.raises(ConfigurationError, match=r"out\.2\.bias: is missing"):
        convert_unet({key: value for key, value in state.items() if key != "out.2.bias"}, net)
    with pytest.raises(ConfigurationError, match="surprise"):
        convert_unet({**state, "surprise": torch.zeros(1)}, net)
    with pytest.raises(ConfigurationError, match=r"out\.2\.bias: shape \[7\] does not fit"):
        convert_unet({**state, "out.2.bias": torch.zeros(7)}, net)
