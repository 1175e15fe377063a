import numpy as np
import torch
from PIL import Image

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
