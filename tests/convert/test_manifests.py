"""The published model at full size, from its manifests: every key has a place or a reason, sums agree. No weights."""

import gzip
import json
from functools import cache
from pathlib import Path

import pytest
import torch

from opencodi.convert import published
from opencodi.convert.codi import PARTS
from opencodi.convert.published import CONFIGS
from opencodi.convert.strict import why_dropped
from opencodi.errors import ConfigurationError
from opencodi.latents import AudioAutoencoder, ImageAutoencoder, codecs
from opencodi.modality import Modality

MANIFESTS = Path(__file__).parents[1] / "goldens" / "manifests"


def manifest(name: str) -> dict[str, tuple[torch.Tensor, str]]:
    """Key → a tensor of its shape on the meta device, and whether it is a param or a buffer."""
    lines = gzip.decompress((MANIFESTS / f"{name}.tsv.gz").read_bytes()).decode().splitlines()[1:]
    rows = (line.split("\t") for line in lines)
    return {
        key: (torch.empty([] if shape == "scalar" else [*map(int, shape.split("x"))], device="meta"), kind)
        for key, shape, kind, _ in rows
    }


ALL = {
    key: entry
    for path in sorted(MANIFESTS.glob("*.tsv.gz"))
    for key, entry in manifest(path.name.split(".")[0]).items()
}


@cache
def meta_network(name: str) -> torch.nn.Module:
    with torch.device("meta"):
        return PARTS[name].build(**published.CONFIGS[name])


@pytest.mark.parametrize("name", list(PARTS))
def test_every_published_parameter_has_its_place(name):
    part, net = PARTS[name], meta_network(name)
    state = {key.removeprefix(part.prefix): entry for key, entry in ALL.items() if key.startswith(part.prefix)}
    converted = part.convert({key: tensor for key, (tensor, _) in state.items()}, net)
    made = {key for key, _ in net.named_buffers()}
    assert set(net.state_dict()) - set(converted) <= made
    assert all(converted[key].shape == tensor.shape for key, tensor in net.state_dict().items() if key in converted)
    theirs = sum(
        tensor.numel()
        for key, (tensor, kind) in state.items()
        if kind == "param" and not why_dropped(key, part.dropped)
    )
    assert sum(parameter.numel() for parameter in net.parameters()) == theirs


def test_every_key_belongs_to_a_component_or_to_the_schedule():
    for key in ALL:
        owners = [
            name
            for name, part in PARTS.items()
            if key.startswith(part.prefix) and not why_dropped(key.removeprefix(part.prefix), part.dropped)
        ]
        reasons = [
            why_dropped(key.removeprefix(part.prefix), part.dropped)
            for part in PARTS.values()
            if key.startswith(part.prefix)
        ]
        assert owners or any(reasons) or why_dropped(key, published.DROPPED), key
        # No key is left to a component that does not take it either.
        assert owners or not reasons or not all(reason.startswith("belongs to") for reason in reasons), key


def test_the_published_model_has_5_7_billion_parameters():
    summary = json.loads((MANIFESTS / "summary.json").read_text())
    tied = ALL["optimus.decoder.lm_head.weight"][0].numel()
    total = sum(tensor.numel() for tensor, kind in ALL.values() if kind == "param") - tied
    assert total == summary["total_params"] == 5_706_973_240


@pytest.mark.parametrize("name", [name for name, part in PARTS.items() if "denoiser" not in name])
def test_a_missing_unknown_or_misshapen_key_is_named(name):
    part, net = PARTS[name], meta_network(name)
    state = {key.removeprefix(part.prefix): entry[0] for key, entry in ALL.items() if key.startswith(part.prefix)}
    taken = next(key for key in state if not why_dropped(key, part.dropped) and state[key].ndim == 1)
    with pytest.raises(ConfigurationError, match=f"^{taken}: is missing"):
        part.convert({key: tensor for key, tensor in state.items() if key != taken}, net)
    with pytest.raises(ConfigurationError, match=r"^surprise: is not a parameter"):
        part.convert({**state, "surprise": torch.empty(1, device="meta")}, net)
    with pytest.raises(ConfigurationError, match=rf"^{taken}: shape \[3, 5\] does not fit"):
        part.convert({**state, taken: torch.empty(3, 5, device="meta")}, net)


def test_by_default_the_published_model_makes_256_pixels_8_frames_and_10_24_seconds():
    with torch.device("meta"):
        image, audio = (
            ImageAutoencoder(**CONFIGS["image_autoencoder"]),
            AudioAutoencoder(**CONFIGS["audio_autoencoder"]),
        )
    codec = codecs({"image_autoencoder": image, "audio_autoencoder": audio})
    assert codec[Modality.IMAGE].latent_shape(1) == (1, 4, 32, 32)
    assert codec[Modality.VIDEO].latent_shape(1) == (1, 4, 8, 32, 32)
    assert codec[Modality.AUDIO].latent_shape(1) == (1, 8, 256, 16)
    assert audio.config.sample_seconds == 10.24
