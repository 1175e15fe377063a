"""RGBA pictures and the four channels that an autoencoder sees of them."""

import numpy as np
import pytest
import torch
from PIL import Image

from opencodi.data.augment import over_white
from opencodi.latents.image import ImageAutoencoder
from opencodi.latents.transparent import TransparentImageCodec, over, to_channels, to_rgba


@pytest.fixture
def rgba() -> np.ndarray:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (2, 16, 16, 4), np.uint8)
    picture[:, :4, :, 3] = 0
    picture[:, 8:, :, 3] = 255
    picture[:, 4:8, :, 3] = 128
    return picture


def test_opaque_and_clear_parts_come_back_exactly_and_what_is_half_clear_nearly(rgba):
    back = to_rgba(to_channels(rgba))
    assert (back[:, 8:] == rgba[:, 8:]).all()
    assert (back[:, :4, :, 3] == 0).all() and (back[:, :4] == 0).all()
    assert np.abs(back[:, 4:8].astype(int) - rgba[:, 4:8]).max() <= 2


def test_channels_over_white_are_the_picture_over_white(rgba):
    assert torch.allclose(over(to_channels(rgba), 1.0), over_white(rgba), atol=1e-6)
    black = over(to_channels(rgba), -1.0)
    assert (black[:, :, :4] == -1).all() and torch.equal(black[:, :, 8:], over_white(rgba)[:, :, 8:])


def test_where_nothing_is_no_ground_is_nearer_than_another(rgba):
    clear = to_channels(rgba)[:, :, :4]
    assert (clear[:, :3] == 0).all() and (clear[:, 3] == -1).all()


def test_faint_grain_is_gone_from_flat_parts_but_edges_keep_their_softness():
    channels = torch.zeros(4, 2, 4)
    channels[3] = torch.tensor([[-0.98, -0.95, 0.0, 0.97], [-1.0, -0.5, 0.5, 1.0]])
    alpha = to_rgba(channels)[..., 3]
    assert alpha[0, 0] == 0 and alpha[0, 1] == 0 and alpha[0, 3] == 255
    assert 100 < alpha[0, 2] < 155 and 0 < alpha[1, 1] < alpha[1, 2] < 255


def test_the_codec_keeps_transparency_and_lays_other_sizes_over_white():
    torch.manual_seed(0)
    autoencoder = ImageAutoencoder(
        patch_size=2, latent_channels=4, block_out_channels=(8, 8), norm_num_groups=4, sample_size=32, image_channels=4
    )
    codec = TransparentImageCodec(autoencoder.eval())
    free, plain = Image.new("RGBA", (32, 32), (200, 30, 30, 0)), Image.new("RGB", (40, 20), (200, 30, 30))
    with torch.no_grad():
        latents = codec.encode([free, plain])
        pictures = codec.decode(latents)
        arrays = codec.decode_arrays(latents)
        white = codec.encode([Image.new("RGB", (32, 32), "white")])
    assert latents.shape == codec.latent_shape(2) == (2, 4, 8, 8)
    assert [picture.mode for picture in pictures] == ["RGBA", "RGBA"] and pictures[0].size == (32, 32)
    assert arrays.shape == (2, 32, 32, 4) and arrays.min() >= 0 and arrays.max() <= 1
    assert not torch.allclose(latents[:1], white), "a clear picture is not a white one"


def test_the_autoencoder_of_three_channels_is_what_it_was():
    config = ImageAutoencoder(patch_size=2, latent_channels=4, block_out_channels=(8, 8), norm_num_groups=4)
    assert config.config.image_channels == 3
    assert config.vae.config.in_channels == config.vae.config.out_channels == 12
