"""Stickers as if photographed."""

import numpy as np
import pytest

from opencodi.collections.stickers.photographic import cloudy, photographic

from .drawn import DRAWN

NO_PHOTOS = np.zeros((0, 128, 128, 4), np.uint8)


def test_the_same_generator_takes_the_same_photograph_and_another_one_another():
    first, again, other = (photographic(DRAWN["house"], NO_PHOTOS, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first.shape == (128, 128, 3) and first.dtype == np.uint8
    assert (first == again).all() and np.abs(first.astype(int) - other).mean() > 10


@pytest.mark.parametrize("seed", range(4))
def test_without_strength_the_thing_stays_where_and_as_it_is(seed):
    picture = DRAWN["automobile"]
    made = photographic(picture, NO_PHOTOS, np.random.default_rng(seed), strength=0.0).astype(int)
    solid = picture[..., 3] == 255
    assert np.abs(made[solid] - picture[solid][:, :3]).mean() < 25


def test_with_strength_colours_are_no_longer_flat():
    made = [photographic(DRAWN["house"], NO_PHOTOS, np.random.default_rng(seed))[50:70, 50:70] for seed in range(6)]
    assert np.mean([part.std((0, 1)).mean() for part in made]) > 5
    assert np.std([part.mean() for part in made]) > 5


def test_textures_are_soft_and_of_mean_zero():
    texture = cloudy(128, np.random.default_rng(0))
    assert texture.shape == (128, 128) and abs(texture.mean()) < 0.3 and np.abs(np.diff(texture, axis=0)).mean() < 0.15
