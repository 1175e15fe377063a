import numpy as np
import pytest
import torch
from PIL import Image

from opencodi.errors import ConfigurationError
from opencodi.prompts import ImagePromptEncoder


def picture(rng, width=32, height=32) -> Image.Image:
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_pictures_become_unit_tokens_that_do_not_depend_on_their_batch(make_image):
    encoder, rng = make_image(), np.random.default_rng(0)
    pictures = [picture(rng) for _ in range(3)]
    tokens = encoder.encode(pictures).tokens
    assert tokens.shape == (3, 1, 16)
    torch.testing.assert_close(tokens.norm(dim=-1), torch.ones(3, 1))
    torch.testing.assert_close(encoder.encode(pictures[1:2]).tokens, tokens[1:2])
    assert (tokens[0] - tokens[1]).abs().max() > 1e-4


def test_a_wide_picture_is_seen_whole_on_white(make_image):
    values = make_image().preprocess([Image.new("RGB", (64, 32), "black")])["pixel_values"][0]
    assert values.shape == (3, 32, 32)
    assert values[:, :8].min() == 1 and values[:, -8:].min() == 1 and values[:, 8:24].max() == -1


def test_a_moved_detail_changes_the_embedding(make_image):
    left, right = Image.new("RGB", (32, 32), "white"), Image.new("RGB", (32, 32), "white")
    left.paste("red", (0, 12, 8, 20))
    right.paste("red", (24, 12, 32, 20))
    one, other = make_image().encode([left, right]).tokens
    assert (one - other).abs().max() > 1e-4


def test_a_saved_encoder_returns(make_image, tmp_path):
    encoder, rng = make_image(), np.random.default_rng(0)
    encoder.save_pretrained(tmp_path)
    again = ImagePromptEncoder.from_pretrained(tmp_path)
    pictures = [picture(rng)]
    torch.testing.assert_close(again.encode(pictures).tokens, encoder.encode(pictures).tokens)


VISION = {"layout": [[3, 2, 1, 8], [3, 2, 2, 16]], "stem_channels": 8, "head_channels": 32, "classes": 4}
LOOKING = {"vision": VISION, "patch_size": 1, "block_out_channels": (16,), "layers_per_block": (1,)}


def test_regions_follow_the_embedding_of_a_picture_seen_through_a_vision_network(make_image, tmp_path):
    encoder, rng = make_image(**LOOKING), np.random.default_rng(0)
    pictures = [picture(rng), picture(rng)]
    condition = encoder.encode(pictures)
    assert condition.tokens.shape == (2, 1 + 4 * 4, 16) and condition.mask.all()
    torch.testing.assert_close(condition.tokens.norm(dim=-1), torch.ones(2, 17))
    pixel_values = encoder.preprocess(pictures)["pixel_values"]
    from_maps = encoder(maps=encoder.sight.maps(pixel_values))
    torch.testing.assert_close(from_maps.tokens, condition.tokens)
    encoder.save_pretrained(tmp_path)
    loaded = ImagePromptEncoder.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded.encode(pictures).tokens, condition.tokens)
    for each in (encoder, loaded):
        assert not any(parameter.requires_grad for parameter in each.sight.network.parameters())
        assert each.projection.weight.requires_grad


def test_a_detail_changes_its_own_region_most(make_image):
    encoder = make_image(**LOOKING)
    plain, marked = Image.new("RGB", (32, 32), "white"), Image.new("RGB", (32, 32), "white")
    marked.paste("black", (24, 24, 32, 32))
    maps = [encoder.sight.maps(encoder.preprocess([each])["pixel_values"]) for each in (plain, marked)]
    change = (maps[0] - maps[1]).abs().sum(1)[0]
    assert change.argmax() == 15


def test_classes_that_the_network_is_sure_of_move_the_embedding(make_image):
    encoder, rng = make_image(**LOOKING), np.random.default_rng(0)
    pictures = [picture(rng)]
    before = encoder.encode(pictures).tokens[0, 0]
    with torch.no_grad():
        encoder.sight.certainty.zero_()
    assert not torch.allclose(encoder.encode(pictures).tokens[0, 0], before)


def test_a_size_that_the_vision_network_cannot_divide_is_refused(make_image):
    with pytest.raises(ConfigurationError, match="sample_size: must be a multiple of 8"):
        make_image(**{**LOOKING, "sample_size": 36})
