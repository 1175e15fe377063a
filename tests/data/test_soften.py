"""Softened pictures: what changes, what stays, and that it is drawn from the generator alone."""

import numpy as np
import pytest
import torch

from opencodi.data.soften import blur_each, quantise_blocks, soften

STRENGTH = {"blur": 1.5, "quantisation": 0.1, "noise": 0.1, "colour": 0.2}
NONE = dict.fromkeys(STRENGTH, 0.0)


@pytest.fixture
def pictures() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(16, 3, 16, 24, generator=generator) * 2 - 1


def draw(pictures, share=1.0, seed=0, **strength):
    return soften(pictures, np.random.default_rng(seed), share=share, **{**NONE, **strength})


def test_nothing_changes_without_a_share_or_a_strength(pictures):
    torch.testing.assert_close(draw(pictures, share=0.0, **STRENGTH), pictures)
    torch.testing.assert_close(draw(pictures), pictures)


@pytest.mark.parametrize("name", STRENGTH)
def test_each_change_changes_its_share_of_the_pictures_within_the_range(name, pictures):
    changed = draw(pictures, share=0.5, **{name: STRENGTH[name]})
    count = ((changed - pictures).abs().amax((1, 2, 3)) > 1e-4).sum()
    assert 0 < count < len(pictures) and changed.abs().max() <= 1


def test_the_same_draw_gives_the_same_pictures(pictures):
    assert torch.equal(draw(pictures, **STRENGTH), draw(pictures, **STRENGTH))
    assert not torch.equal(draw(pictures, **STRENGTH), draw(pictures, seed=1, **STRENGTH))


def test_white_stays_white_whatever_the_inks_become():
    white = torch.ones(4, 3, 8, 8)
    assert torch.equal(draw(white, colour=0.5), white)


def test_each_picture_is_blurred_by_its_own_amount(pictures):
    blurred = blur_each(pictures[:3], torch.tensor([0.0, 1.0, 3.0]))
    torch.testing.assert_close(blurred[0], pictures[0])
    detail = [float(picture.diff(dim=-1).abs().mean()) for picture in blurred]
    assert detail[0] > 2 * detail[1] > 2 * detail[2]
    torch.testing.assert_close(blur_each(torch.ones(1, 3, 8, 16), torch.tensor([2.0])), torch.ones(1, 3, 8, 16))


def test_a_coarse_step_leaves_a_mean_for_each_block():
    block = torch.linspace(-1, 1, 64).view(1, 1, 8, 8)
    fine, coarse = (quantise_blocks(block, torch.tensor([step])) for step in (1e-4, 8.0))
    torch.testing.assert_close(fine, block, atol=2e-3, rtol=0)
    assert coarse.std() < 0.3 * block.std()
    assert torch.equal(quantise_blocks(block, torch.tensor([0.0])), block)
